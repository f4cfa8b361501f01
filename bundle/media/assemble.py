"""Putting together what there is of one bundle: copies on a medium, and parts that wait here.

Parts of a bundle wait in one file, which holds all that came so far. Where two imports at once
leave two such files, the next to come puts them together: none is removed before its chunks lie
in another.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.ids import BundleId
from bundle.media.copy import Advance, Unreadable, lay
from bundle.media.errors import MediumFailed, NoRoom
from bundle.media.facts import Facts
from bundle.media.room import free_bytes
from bundle.media.sight import Sight, check_signature, look, sound_places
from bundle.wire import thin
from bundle.wire.errors import (
    BundleRefused,
    ChunkMismatch,
    NotOneBundle,
    TrailingBytes,
    Truncated,
)


@dataclass(frozen=True, slots=True)
class Found:
    """One file that is a copy of a bundle, under the name to tell it by.

    `claims`: how many chunks it says to hold; `is_torn`: it was cut short, or runs on.
    """

    path: Path
    name: str
    file_bytes: int
    claims: int
    is_torn: bool


@dataclass(slots=True)
class Group:
    """Copies of one bundle with one set of signatures, small whatever they hold.

    `signed`: as in `Sight`.
    """

    facts: Facts
    signed: bytes
    copies: list[Found] = field(default_factory=list)

    @property
    def files(self) -> tuple[str, ...]:
        """Their names on the medium."""
        return tuple(sorted(one.name for one in self.copies))

    @property
    def bytes_max(self) -> int:
        """How large what they make together may be."""
        sizes = [one.file_bytes for one in self.copies]
        whole = [one.file_bytes for one in self.copies if one.claims == self.facts.chunks]
        return max(whole) if whole else sum(sizes)

    def is_same(self, sight: Sight) -> bool:
        """Whether a file is a copy of this bundle with these signatures."""
        return (sight.facts.id, sight.signed) == (self.facts.id, self.signed)


Groups = dict[tuple[BundleId, bytes], Group]


def add_copy(groups: Groups, path: Path, name: str) -> None:
    """Add a file to the copies of its bundle, also where it was cut short. Raises BundleRefused."""
    is_torn = False
    try:
        sight = look(path)
    except (Truncated, TrailingBytes) as error:
        is_torn = True
        try:
            sight = look(path, is_torn=True)
        except BundleRefused:
            raise error from None
    check_signature(path)
    key = sight.facts.id, sight.signed
    group = groups.setdefault(key, Group(sight.facts, sight.signed))
    group.copies.append(Found(path, name, sight.file_bytes, len(sight.sizes), is_torn))


def kept_name(group: Group) -> str:
    """Return a new name for what waits of a bundle."""
    return f"{group.facts.id}-{os.urandom(8).hex()}.pulk"


def kept_of(parts: Path, bundle: BundleId) -> list[Path]:
    """Return the files that wait of a bundle, whatever its signatures."""
    return sorted(parts.glob(f"{bundle}-*.pulk"))


def head_of(group: Group, to: Path) -> Path:
    """Return a file with the group's manifest and signatures, in one piece: `to` where it must.

    Raises BundleRefused, OSError.
    """
    for one in group.copies:
        if not one.is_torn:
            return one.path
    thin.write_thin(group.copies[0].path, to, frozenset(), is_torn=True)
    return to


def assemble(group: Group, kept: Sequence[Path], made: Path, advance: Advance) -> list[int]:
    """Write all there is of a bundle; return the chunks that are absent. All was verified.

    Raises NoRoom; MediumFailed where the medium changes while it is read; BundleRefused where a
    file can't be read any more; OSError.
    """
    need, free = group.bytes_max, free_bytes(made.parent)
    if need > free:
        raise NoRoom(where=str(made.parent), need=need, free=free)
    whole = next(
        (one for one in group.copies if one.claims == group.facts.chunks and not one.is_torn), None
    )
    if whole is not None and _lay(whole.path, made, advance):
        return _checked(group, made, [])
    try:
        absent = thin.join(made, [*(one.path for one in group.copies), *kept], advance)
    except (ChunkMismatch, NotOneBundle) as error:
        raise MediumFailed(where=error.where, action="taking", reason=_CHANGED) from error
    return _checked(group, made, absent)


_CHANGED = "it changes while it is read"


def _lay(path: Path, made: Path, advance: Advance) -> bool:
    """Copy a file that claims to be whole; return whether it is."""
    try:
        lay(path, made, advance)
        sight = look(made)
    except (Unreadable, BundleRefused):
        return False
    return len(sound_places(made)) == sight.facts.chunks


def _checked(group: Group, made: Path, absent: list[int]) -> list[int]:
    if not group.is_same(look(made)):
        where = str(group.copies[0].path)
        raise MediumFailed(where=where, action="taking", reason=_CHANGED)
    return absent


def harmed_of(group: Group, absent: frozenset[int]) -> tuple[str, ...]:
    """Return the names of files that are torn, or claim chunks which nothing holds whole."""
    found = []
    for one in group.copies:
        try:
            is_harmed = one.is_torn or not absent.isdisjoint(look(one.path).sizes)
        except BundleRefused:
            is_harmed = True
        if is_harmed:
            found.append(one.name)
    return tuple(found)
