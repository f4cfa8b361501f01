"""Reading a medium back: what is whole on it, and what the source may therefore let go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bundle.ids import BundleId
from bundle.intervals import IntervalSet
from bundle.media import card as cards
from bundle.media.card import CARD, LIMITS, Card, Row
from bundle.media.copy import Progress, digest_of, failing, must_be_folder, read_back, silent
from bundle.media.errors import CustodyHeld, NoCard, SameFolder
from bundle.media.goods import Good, goods_in
from bundle.media.sight import look, sound_places
from bundle.spool import publish
from bundle.wire.errors import BundleRefused


class Checked(NamedTuple):
    """One file of the card; `problem` is empty where it reads back as written."""

    row: Row
    problem: str


def read_card(medium: Path) -> Card:
    """Return a medium's card. Raises NoCard, MediumFailed."""
    must_be_folder(medium)
    path = medium / CARD
    if path.is_symlink() or not path.is_file():
        raise NoCard(where=str(path), reason="there is none")
    with failing("reading the card", path), path.open("rb") as file:
        raw = file.read(LIMITS.bytes_max + 1)
    return cards.decode(raw, where=str(path))


def check(medium: Path, rows: Sequence[Row], progress: Progress = silent) -> list[Checked]:
    """Read back every file of the card, byte by byte, from the medium itself."""
    found = []
    with progress("reading back", sum(row.size_bytes for row in rows)) as advance:
        for row in rows:
            path, problem = medium / row.name, ""
            try:
                if path.is_symlink() or not path.is_file():
                    problem = "it is not there"
                elif path.stat().st_size != row.size_bytes:
                    problem = f"it has {path.stat().st_size} bytes, not {row.size_bytes}"
                elif not read_back(path, row.sha256, advance):
                    problem = "it reads back other than written"
            except OSError as error:
                problem = error.strerror or str(error)
            found.append(Checked(row, problem))
    return found


def covered(checked: Iterable[Checked]) -> dict[BundleId, IntervalSet]:
    """Return the chunks of each bundle that the card says are in files that read back whole."""
    places: dict[BundleId, IntervalSet] = {}
    for row, problem in checked:
        if not problem:
            held = places.get(row.facts.id, IntervalSet())
            places[row.facts.id] = held | places_of(row)
    return places


def places_of(row: Row) -> IntervalSet:
    """Return the chunks in a file of the card."""
    return IntervalSet.spanning([(0, row.facts.chunks)]) if row.keep is None else row.keep


def free(
    medium: Path, source: Path, checked: Sequence[Checked], progress: Progress = silent
) -> list[BundleId]:
    """Remove from a folder the bundles that are whole on a medium that was just read back.

    The card only says where to look: what goes was compared byte by byte, or, where it lies there
    in parts, chunk by chunk. Raises CustodyHeld for a program's own folder, SameFolder,
    MediumFailed.
    """
    refuse_custody(source)
    refuse_same(medium, source, "freeing")
    goods = goods_in(source)
    freed = []
    with (
        failing("freeing", source),
        progress("comparing", sum(good.ware.file_bytes for good in goods)) as advance,
    ):
        for good in goods:
            rows = [row for row, problem in checked if not problem]
            rows = [row for row in rows if row.facts.id == good.ware.facts.id]
            if rows and _is_whole_there(medium, good, rows):
                good.path.unlink()
                freed.append(good.ware.facts.id)
            advance(good.ware.file_bytes)
        if freed:
            publish.fsync_folder(source)
    return freed


def refuse_same(medium: Path, source: Path, action: str) -> None:
    """Raise SameFolder where both names are of one folder, or one that cannot be told apart."""
    with failing("opening", source):
        if medium.samefile(source):
            raise SameFolder(where=str(source), action=action)


def refuse_custody(folder: Path) -> None:
    """Raise CustodyHeld where a folder is part of a relay's spool or of central's archive.

    Neither a link nor `..` leads around it.
    """
    named, real = folder.absolute(), folder.resolve()
    for above in (named, *named.parents, real, *real.parents):
        if (above / "streams").is_dir() and (above / "claimed").is_dir():
            raise CustodyHeld(where=str(folder), owner="relay")
        if (above / "pulk.sqlite").exists():
            raise CustodyHeld(where=str(folder), owner="central")


def _is_whole_there(medium: Path, good: Good, rows: list[Row]) -> bool:
    rows = [row for row in rows if not _is_same(good.path, medium / row.name)]
    if not rows:
        return False
    sha256 = digest_of(good.path)
    if any(row.sha256 == sha256 for row in rows):
        return True
    there = IntervalSet()
    for row in rows:
        try:
            sight = look(medium / row.name)
            if (sight.facts.id, sight.signed) == (good.ware.facts.id, good.signed):
                there = there | IntervalSet.of(sound_places(medium / row.name))
        except (BundleRefused, OSError):
            continue
    return not good.ware.places - there and set(sound_places(good.path)) <= set(there)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, of which there is no second copy then."""
    try:
        return one.samefile(other)
    except OSError:
        return False
