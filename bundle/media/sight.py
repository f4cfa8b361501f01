"""Looking at files that may be bundles: content decides, never the name. Nothing is believed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.media import facts as manifests
from bundle.media.choose import Ware
from bundle.media.copy import lay
from bundle.media.facts import Facts
from bundle.trust.keys import verify
from bundle.wire import thin
from bundle.wire.admit import read_signatures
from bundle.wire.errors import BadSignature, BundleRefused, TrailingBytes, Truncated
from bundle.wire.header import MAGIC, Codec
from bundle.wire.manifest import bundle_id
from bundle.wire.preauth import bundle_type, pae

_ENDINGS = (".pulk", ".pul")  # the second after tools that shorten names to 8.3


@dataclass(frozen=True, slots=True)
class Sight:
    """A file whose head reads as a bundle's. `signed`: SHA-256 of manifest and signatures."""

    path: Path
    facts: Facts
    signed: bytes
    file_bytes: int
    head_bytes: int
    sizes: dict[int, int]  # stored bytes of the chunks that it claims to hold

    @property
    def claims_all(self) -> bool:
        """Whether it claims to hold every chunk."""
        return len(self.sizes) == self.facts.chunks

    @property
    def ware(self) -> Ware:
        """What there is to carry in it."""
        return Ware(self.facts, self.file_bytes, self.head_bytes, self.sizes)


def look(path: Path) -> Sight:
    """Read a bundle's head without verifying it. Raises BundleRefused."""
    with thin.opened(path) as copy:
        found = bundle_id(copy.signed[: copy.head.manifest_bytes])
        return Sight(
            path=path,
            facts=manifests.of(found, copy.manifest),
            signed=hashlib.sha256(copy.signed).digest(),
            file_bytes=copy.head.total_bytes,
            head_bytes=copy.head.bodies_at,
            sizes={
                place: one.stored_bytes
                for place, one in enumerate(copy.places)
                if one.codec is not Codec.ABSENT
            },
        )


def sound_places(path: Path) -> list[int]:
    """Return the places whose chunks are there and whole, reading all of them."""
    with thin.opened(path) as copy:
        return [place for place in range(len(copy.places)) if copy.holds(place)]


def plain_files(folder: Path, passed_over: Callable[[Path, str], None]) -> Iterator[Path]:
    """Yield every plain file below a folder, sorted; links and the like are told, not followed.

    What goes away meanwhile, as on a stick that is pulled out, is told too.
    """

    def unreadable(error: OSError) -> None:
        passed_over(Path(error.filename or folder), error.strerror or str(error))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names + [one for one in folders if Path(here, one).is_symlink()]):
            path = Path(here, name)
            try:
                mode = path.lstat().st_mode
            except OSError as error:
                unreadable(error)
                continue
            if stat.S_ISREG(mode):
                yield path
            else:
                passed_over(path, "a link" if stat.S_ISLNK(mode) else "no plain file")


def looks_like_ours(path: Path) -> bool:
    """Return whether content or name claims to be a bundle's."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return True
    except OSError:
        pass
    name = path.name.lower()
    return name.endswith(_ENDINGS) and not name.startswith(".")


def mend(path: Path, error: BundleRefused, to: Path) -> bool:
    """Write a copy of a file that was cut short, or runs on, in the length that it declares.

    What was cut off are holes, which no chunk's digest fits. False for any other damage.
    Raises OSError.
    """
    if not isinstance(error, (Truncated, TrailingBytes)):
        return False
    lay(path, to)
    os.truncate(to, int(error.fields["declared_bytes"]))
    return True


def check_signature(path: Path) -> None:
    """Raise BadSignature unless one signature fits the manifest, whoever made it.

    That shows damage without any trust; who may sign is another question. Raises BundleRefused.
    """
    with thin.opened(path) as copy:
        size = copy.head.manifest_bytes
        message = pae(bundle_type(copy.head.kind), copy.signed[:size])
        signatures = read_signatures(copy.signed[size:], str(path))
        if not any(verify(one.key, message, one.signature) for one in signatures):
            raise BadSignature(where=str(path), key=signatures[0].key.hex())
