"""The contract of every carrier: it moves files and believes nothing it hears.

Only a receipt inside a signed work bundle frees anything; what `send` returns merely decides when
to send again. `tests/relay/carriers` holds each of them to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bundle.ids import BundleId

SLOWEST_BYTES_PER_S = 2_000  # a transfer slower than this on the whole is given up


class Answer(StrEnum):
    """What came back for one bundle that was sent."""

    MERGED = "merged"
    PARKED = "parked"
    REFUSED = "refused"
    CARRIED = "carried"  # taken by somebody on the way
    COPIED = "copied"  # lies on a medium, read back; nobody can answer yet


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A bundle file to be sent. `again`: it was sent before, so it may be there."""

    id: BundleId
    path: Path
    again: bool = False


class Passing(Protocol):
    """Says of a bundle that there is whether to pass it over: it is known here, or has no room."""

    def __call__(self, bundle: BundleId, size_bytes: int = 0, /) -> bool:
        """Return True where it is not to be fetched now; `size_bytes` 0: not known."""


class Carrier(Protocol):
    """One way to central and back.

    A transfer that breaks off goes on where it stopped, in this process or in a later one.
    """

    def send(self, bundle: Outgoing) -> Answer | None:
        """Hand one bundle over; sending it again is harmless.

        Returns None where this bundle was not taken: it then counts as not sent. Raises CarryFailed
        where nothing more can be sent now, as where a captive portal answers.
        """

    def fetch(self, is_known: Passing, into: Path) -> Iterator[Path]:
        """Yield new files in folder `into`, synced, whole or not: nothing of them is verified.

        `is_known` saves fetching again. The name's stem is the id that the carrier was told.
        Raises CarryFailed; what was yielded before is good.
        """
