"""`pulk relay doctor --rebuild`: what a relay remembered, made again from what lies in the spool.

Login nodes are re-imaged, scratch is purged in part. `state/` and `streams/` are memory: bundles,
work and seals say again what they need of it. Only adds; doing it again changes nothing. What can't
be known again costs a repetition, never a result: that a retired bundle was here before.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import BundleId
from bundle.limits import SEAL_LIMITS
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.spool import edits as edited
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.spool.edits import Named
from bundle.spool.layout import SealName, ShardName
from bundle.wire.manifest import SITES_OWN, Kind, Manifest
from bundle.wire.read import open_bundle
from relay import calling_off, chains, edits, state, stream, works
from relay.core.custody import Place
from relay.home import Home
from relay.listing import names
from relay.stream import Record
from relay.turns import Turns
from relay.works import Work

_NAME = re.compile(r"([0-9]{8,19})-([0-9a-f]{64})\.pulk")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made again: numbers of bundles, words of central, ends of shards, shards."""

    numbers: int = 0
    heard: int = 0
    ended: int = 0
    shards: int = 0
    unreadable: tuple[str, ...] = ()


def rebuild(home: Home) -> Rebuilt:
    """Make again what is missing; under the tick's lock."""
    live = works.live(home.spool)
    numbers, unreadable = _numbers(home, {one.id for one in live})
    heard = ended = offered = 0
    turns = Turns(home.spool, live)
    for work in live:
        heard += _hear(home, work)
    for one in edited.every(home.spool.edits):
        heard += _hear_edit(home, one)
    for work in live:
        ended += _end(home, work)
        offered += _offer(home, work, turns)
    stream.current(home.spool)
    return Rebuilt(numbers, heard, ended, offered, tuple(unreadable))


def _numbers(home: Home, live: set[BundleId]) -> tuple[int, list[str]]:
    """Write the records of bundles whose numbers nobody remembers: else they never leave."""
    made, unreadable = 0, []
    for path in _own(home):
        try:
            with open_bundle(path, home.trust(), audience=None, kinds=SITES_OWN) as bundle:
                manifest, own = bundle.manifest, bundle.id
        except (PulkError, OSError):
            unreadable.append(path.name)
            continue
        folder = home.spool.stream(manifest.stream)
        target = folder / f"{manifest.sequence:08d}"
        if target.exists():
            continue
        publish.make_folder(folder)
        record = _record(manifest, own)
        with contextlib.suppress(publish.AlreadyThere):
            publish.write_new_file(home.tmp, target, stream.encode(record))
            made += 1
        gone = {one.lease for one in manifest.segments if one.work not in live}
        if gone:
            state.note_ended_leases(home.spool, sorted(gone))
    return made, unreadable


def _own(home: Home) -> Iterator[Path]:
    for place in Place:
        folder = home.spool.folder(place)
        yield from (folder / name for name in names(folder) if _NAME.fullmatch(name))


def _record(manifest: Manifest, own: BundleId) -> Record:
    return Record(
        stream=manifest.stream,
        sequence=manifest.sequence,
        id=own,
        kind=manifest.kind,
        works=tuple(sorted({one.work for one in manifest.segments})),
    )


def _hear(home: Home, work: Work) -> bool:
    """Hear again what central said with a work bundle; return whether it was forgotten."""
    path, kinds = home.spool.work_bundle(work.id), frozenset({Kind.WORK})
    try:
        with open_bundle(path, home.trust(), audience=home.site, kinds=kinds) as bundle:
            manifest = bundle.manifest
            if not home.config.trust.cosignatures_required:  # else they are told again, with them
                edits.take(home, bundle, edits.check(home, bundle, None))
    except (PulkError, OSError):
        return False
    return _hear_manifest(home, manifest, work.id, work.accepted_us)


def _hear_edit(home: Home, named: Named) -> bool:
    """Hear again what came with a bundle that only told of an edit."""
    path, kinds = home.spool.edits / str(named), frozenset({Kind.WORK})
    try:
        with open_bundle(path, home.trust(), audience=home.site, kinds=kinds) as bundle:
            return _hear_manifest(home, bundle.manifest, bundle.id, 0)
    except (PulkError, OSError):
        return False


def _hear_manifest(home: Home, manifest: Manifest, own: BundleId, at_us: int) -> bool:
    came = state.read_received(home.spool).get(manifest.stream)
    if state.is_seen(home.spool, own) and came and manifest.sequence in came:
        return False
    state.note_seen(home.spool, own)
    with contextlib.suppress(PulkError):
        chains.check(home.spool, manifest, own)
    heard_us = max(at_us, state.read_central(home.spool).at_us)
    state.hear_central(home.spool, manifest, heard_us)
    state.note_received(home.spool, manifest.stream, manifest.sequence)
    state.note_withdrawn(home.spool, manifest.stream, manifest.withdrawn)
    calling_off.hear(home.spool, manifest)
    return True


def _end(home: Home, work: Work) -> int:
    """Note again which leases a seal that travels has ended."""
    known, made = works.ended(home.spool, work.id).all(), 0
    folder = home.spool.kept_seals(work.id)
    for name in names(folder):
        seal = SealName.parse(name)
        if seal is None or seal.shard.lease in known:
            continue
        with contextlib.suppress(OSError, PulkError):
            raw = seals.decode(read_bounded(folder / name, SEAL_LIMITS), where=name)
            if segments.decode(raw.segment).complete:
                works.note_ended(home.spool, work.id, seal.shard.lease, complete=True)
                made += 1
    return made


def _offer(home: Home, work: Work, turns: Turns) -> int:
    """Let shards wait again of which no trace is left."""
    ended = works.ended(home.spool, work.id).all()
    made = 0
    for plan in work.plans:
        if plan.lease not in ended and not turns.leaves_trace(plan.lease):
            works.set_waiting(home.spool, work.id, plan, ShardName(plan.lease, 1))
            made += 1
    return made
