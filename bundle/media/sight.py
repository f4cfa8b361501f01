"""Looking at files that may be bundles: content decides, never the name. Nothing is believed."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.media import facts as manifests
from bundle.media.choose import Ware
from bundle.media.facts import Facts
from bundle.trust.keys import verify
from bundle.wire import thin
from bundle.wire.admit import read_signatures
from bundle.wire.errors import BadSignature, BundleRefused
from bundle.wire.header import MAGIC, Codec
from bundle.wire.manifest import bundle_id
from bundle.wire.preauth import bundle_type, pae
from bundle.wire.read import open_plain

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


def look(path: Path, *, is_torn: bool = False) -> Sight:
    """Read a bundle's head without verifying it. Raises BundleRefused.

    With `is_torn` the file may end before or after the length that it declares.
    """
    with thin.opened(path, is_torn=is_torn) as copy:
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
    """Return the places whose chunks are there and whole, reading all of them, also if torn."""
    with thin.opened(path, is_torn=True) as copy:
        return [place for place in range(len(copy.places)) if copy.holds(place)]


def is_sound(path: Path) -> bool:
    """Return whether a file is a bundle whose every chunk that it claims is whole; reads it all."""
    try:
        return len(sound_places(path)) == len(look(path).sizes)
    except BundleRefused:
        return False


def plain_files(folder: Path, passed_over: Callable[[Path, str], None]) -> Iterator[Path]:
    """Yield every plain file below a folder, sorted; links and the like are told, not followed.

    What goes away meanwhile, as on a stick that is pulled out, is told too, and so is what lies
    deeper than a path can name.
    """
    waiting = [folder]
    while waiting:
        here, below = waiting.pop(), []
        try:
            entries = _entries(here, is_first=here is folder)
        except OSError as error:
            passed_over(here, error.strerror or str(error))
            continue
        for name, mode in entries:
            path = here / name
            if stat.S_ISREG(mode):
                yield path
            elif stat.S_ISDIR(mode):
                below.append(path)
            else:
                passed_over(path, "a link" if stat.S_ISLNK(mode) else "no plain file")
        waiting += reversed(below)


def _entries(folder: Path, *, is_first: bool) -> list[tuple[str, int]]:
    """Return name and mode of all that lies in a folder; only the first may be a link to one."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if is_first else os.O_NOFOLLOW)
    descriptor = os.open(folder, flags)
    found = []
    try:
        with os.scandir(descriptor) as rows:
            names = sorted(one.name for one in rows)
        for name in names:
            try:
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue  # it went away meanwhile
            found.append((name, mode))
    finally:
        os.close(descriptor)
    return found


def looks_like_ours(path: Path) -> bool:
    """Return whether content or name claims to be a bundle's. Links and pipes are not opened."""
    try:
        descriptor, _ = open_plain(path, sys.maxsize)
        try:
            if os.read(descriptor, len(MAGIC)) == MAGIC:
                return True
        finally:
            os.close(descriptor)
    except (BundleRefused, OSError):
        pass
    name = path.name.lower()
    return name.endswith(_ENDINGS) and not name.startswith(".")


def check_signature(path: Path) -> None:
    """Raise BadSignature unless one signature fits the manifest, whoever made it.

    That shows damage without any trust; who may sign is another question. The file may be torn.
    Raises BundleRefused.
    """
    with thin.opened(path, is_torn=True) as copy:
        size = copy.head.manifest_bytes
        message = pae(bundle_type(copy.head.kind), copy.signed[:size])
        signatures = read_signatures(copy.signed[size:], str(path))
        if not any(verify(one.key, message, one.signature) for one in signatures):
            raise BadSignature(where=str(path), key=signatures[0].key.hex())
