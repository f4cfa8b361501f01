"""What the archive asks of a blob store. `tests/blob` holds every one to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bundle.errors import PulkError


class BlobTrouble(PulkError):
    """The blob store did not take or give what was asked: full, cut off, or no longer permitted.

    Nothing that rests on it was acknowledged: sites keep what they have and try again.
    """

    code = "blob-trouble"
    transient = True
    what = "{action} {name}: {reason}"
    remedy = "look after the store that [archive] in central.toml names, then try again"


class BlobMissing(PulkError):
    """The blob store has nothing under a name. What the archive lists must never be missing."""

    code = "blob-missing"
    what = "there is no {name}"
    remedy = "run `pulk central fsck`; put the bundle back from a backup's `archive/`"


class BlobDamaged(PulkError):
    """The blob store holds other bytes than it was given, or not all of them."""

    code = "blob-damaged"
    transient = True
    what = "{name} is not what was put there: {reason}"
    remedy = "look after the store that [archive] in central.toml names, then try again"


class Blobs(Protocol):
    """Immutable blobs by name; a name is text like `ab/abcd.pulk` and stands for one content.

    Every method raises BlobTrouble where the store can't be used.
    """

    @property
    def place(self) -> str:
        """What tells two places apart that are not lost together: a device, or a bucket."""

    def put(self, source: Path, name: str) -> None:
        """Keep a file's bytes: durable and compared when this returns; repeating changes nothing.

        Whole or not at all, whatever is killed. Raises BlobDamaged where what is there differs
        in size.
        """

    def size(self, name: str) -> int | None:
        """Return how many bytes lie under a name; None where nothing does."""

    def read(self, name: str, first: int, count: int) -> bytes:
        """Return a range of bytes, shorter at the end. Raises BlobMissing."""

    def fetch(self, name: str, target: Path) -> None:
        """Write a blob into a new file, whole or not at all. Raises BlobMissing, BlobDamaged."""

    def names(self) -> Iterator[str]:
        """Yield all names, sorted."""

    def remove(self, name: str) -> None:
        """Forget a name, durably; one that is not there changes nothing."""
