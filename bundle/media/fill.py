"""Filling a medium: choose, write, label, read back, and only then count as carried."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.ids import BundleId
from bundle.intervals import IntervalSet
from bundle.limits import MIB
from bundle.media import card as cards
from bundle.media import carried as memories
from bundle.media.card import CARD, LABEL, ROW_BYTES, Absent, Card, Row
from bundle.media.carried import NEVER, Carriage
from bundle.media.choose import PART_BYTES_MAX, Left, Load, Plan, Room, Ware, plan_loads
from bundle.media.copy import (
    Progress,
    clear_under_way,
    failing,
    lay,
    lay_part,
    must_be_folder,
    silent,
    write_small,
)
from bundle.media.eject import Checked, check, covered, read_card
from bundle.media.errors import MediumFailed, NoCard
from bundle.media.goods import Good
from bundle.media.label import label
from bundle.media.sight import look, sound_places
from bundle.wire.errors import BundleRefused

RESERVE_BYTES = 4 * MIB  # of a medium, for its own folders and whatever else
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Filled:
    """What a medium holds now. All of it was read back.

    `laid`: files written now; `carried`: bundles of which every chunk has been carried by now,
    on this medium or on those before; `bad`: files that do not read back, which count for nothing.
    """

    laid: tuple[Row, ...]
    carried: frozenset[BundleId]
    left: tuple[Left, ...]
    bad: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class Filling:
    """How to fill a medium.

    `memory` is the file that remembers what was carried, of what is to be carried now and of the
    `known`; `by` says who fills; `once` leaves out what was carried before; `size_bytes`: how much
    of the medium to use, None: what is free.
    """

    memory: Path
    by: str
    known: frozenset[BundleId] = frozenset()
    once: bool = False
    size_bytes: int | None = None
    part_bytes: int = PART_BYTES_MAX
    progress: Progress = field(default=silent)


def fill(goods: Sequence[Good], medium: Path, how: Filling) -> Filled:
    """Write as much as fits to a medium, label it, read it all back. Raises MediumFailed."""
    must_be_folder(medium)
    carried = _remember(how.memory)
    wares = [good.ware for good in goods]
    if how.once:
        wares = [ware for ware in wares if not carried.get(ware.facts.id, NEVER).times]
    with failing("filling", medium):
        clear_under_way(medium)
        there = _there(medium, how.progress)
        held = _held(medium, there, goods)
        here = _union(held)
        todo = [ware for ware in wares if _lacks(ware, here)]
        plan = plan_loads(todo, carried, _room(medium, there, how, len(wares)))
        paths = {good.ware.facts.id: good.path for good in goods}
        laid = _write(plan, paths, medium, how.progress)
        card = _card(there, laid, plan.left, how.by)
        write_small(medium, LABEL, label(card))
        write_small(medium, CARD, cards.encode(card))
    checked = check(medium, laid, how.progress)
    for row in laid:
        held.pop(row.name, None)
    here = _union(held, covered(checked))
    done = _count(carried, wares, here)
    _keep(how.memory, carried, {*how.known, *paths})
    bad = tuple(one for one in checked if one.problem)
    return Filled(tuple(laid), done, tuple(plan.left), bad)


def _remember(memory: Path) -> dict[BundleId, Carriage]:
    try:
        return memories.decode(memory.read_bytes())
    except FileNotFoundError:
        return {}


def _keep(memory: Path, carried: dict[BundleId, Carriage], kept: Iterable[BundleId]) -> None:
    with failing("noting what was carried", memory):
        clear_under_way(memory.parent)
        write_small(memory.parent, memory.name, memories.encode(carried, kept))


def forget(memory: Path) -> None:
    """Forget what was carried, so that all of it goes again. Raises MediumFailed."""
    with failing("forgetting what was carried", memory):
        memory.unlink(missing_ok=True)


def _there(medium: Path, progress: Progress) -> list[Checked]:
    """Return what an earlier export wrote to this medium, read back."""
    try:
        rows = read_card(medium).rows
    except NoCard:
        return []
    return check(medium, rows, progress)


def _held(
    medium: Path, there: Iterable[Checked], goods: Iterable[Good]
) -> dict[str, tuple[BundleId, IntervalSet]]:
    """Return which chunks of what is to be carried lie on the medium, by file.

    The card only says where to look: each file's own manifest and chunks decide.
    """
    by_id = {good.ware.facts.id: good for good in goods}
    found = {}
    for row, problem in there:
        good = by_id.get(row.facts.id)
        if problem or good is None:
            continue
        try:
            if look(medium / row.name).signed == good.signed:
                places = IntervalSet.of(sound_places(medium / row.name))
                found[row.name] = (good.ware.facts.id, places)
        except BundleRefused:
            continue
    return found


def _union(
    held: dict[str, tuple[BundleId, IntervalSet]],
    more: dict[BundleId, IntervalSet] | None = None,
) -> dict[BundleId, IntervalSet]:
    places = dict(more or {})
    for bundle, found in held.values():
        places[bundle] = places.get(bundle, IntervalSet()) | found
    return places


def _lacks(ware: Ware, here: dict[BundleId, IntervalSet]) -> bool:
    if ware.facts.id not in here:
        return True
    return bool(ware.places - here[ware.facts.id])


def _room(medium: Path, there: Sequence[Checked], how: Filling, bundles: int) -> Room:
    disk = os.statvfs(medium)
    free, empty = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    block = min(max(512, disk.f_frsize), 64 * 1024)
    cards_bytes = (bundles + len(there)) * ROW_BYTES + 4 * block
    free, empty = free - RESERVE_BYTES - cards_bytes, empty - RESERVE_BYTES - cards_bytes
    if how.size_bytes is not None:
        used = sum(row.size_bytes for row, problem in there if not problem)
        free = min(free, how.size_bytes - used - cards_bytes)
        empty = min(empty, how.size_bytes - cards_bytes)
    return Room(max(0, free), max(0, empty), how.part_bytes, block)


def _write(plan: Plan, paths: dict[BundleId, Path], medium: Path, progress: Progress) -> list[Row]:
    """Write the planned files; where the medium is full before its time the rest is left."""
    rows: list[Row] = []
    with progress("writing", sum(load.size_bytes for load in plan.loads)) as advance:
        for at, load in enumerate(plan.loads):
            target = medium / load.name
            source = paths[load.ware.facts.id]
            try:
                if load.keep is None:
                    sha256 = lay(source, target, advance)
                else:
                    sha256 = lay_part(source, target, frozenset(load.keep))
                    advance(load.size_bytes)
            except OSError as error:
                if error.errno == errno.EFBIG:
                    reason = f"no file of {load.size_bytes} bytes there; name a --part-size"
                    raise MediumFailed(
                        where=str(target), action="filling", reason=reason
                    ) from error
                if error.errno not in _FULL:
                    raise
                rest = plan.loads[at:]
                plan.left += [Left(one.ware, one.places) for one in rest if one.copy == 1]
                break
            except BundleRefused:
                plan.left.append(Left(load.ware, load.places))
                continue
            rows.append(_row(load, sha256, target.stat().st_size))
    return rows


def _row(load: Load, sha256: bytes, size_bytes: int) -> Row:
    is_all = len(load.places) == load.ware.facts.chunks
    keep = None if is_all else load.places
    return Row(load.name, size_bytes, sha256, load.ware.facts, keep)


def _kept(there: Sequence[Checked], laid: Sequence[Row]) -> list[Checked]:
    """Return the files of earlier exports that still stand."""
    replaced = {row.name for row in laid}
    return [one for one in there if one.row.name not in replaced and not one.problem]


def _card(there: Sequence[Checked], laid: list[Row], left: Iterable[Left], by: str) -> Card:
    rows = (*(one.row for one in _kept(there, laid)), *laid)
    absent = tuple(Absent(one.ware.facts, one.places) for one in left)
    return Card(by, time.time_ns() // 1000, rows, absent)


def _count(
    carried: dict[BundleId, Carriage], wares: Iterable[Ware], here: dict[BundleId, IntervalSet]
) -> frozenset[BundleId]:
    """Note what this medium carries; return the bundles that are carried wholly by now."""
    done = set()
    for ware in wares:
        one = ware.facts.id
        if one not in here:
            continue
        before = carried.get(one, NEVER)
        carried[one] = memories.note(before, ware.places, here[one])
        if carried[one].times > before.times:
            done.add(one)
    return frozenset(done)
