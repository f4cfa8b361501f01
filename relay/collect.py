"""Collecting seals: each is checked, what it says of its shard is noted, a bad one is set aside.

Writes only what may be written twice: marks, digests of outputs, the next turn of a shard. The
seal itself moves when the result bundle that carries it has its number (`relay.stream`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.fates import Fate
from bundle.ids import BundleId, LeaseId, PilotRun
from bundle.limits import SEAL_LIMITS
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.lease import Lease
from bundle.records.seal import SEAL_PAYLOAD_TYPE, Seal
from bundle.records.segment import Segment
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import SealName
from bundle.trust.keys import verify
from bundle.wire.errors import BundleRefused
from bundle.wire.preauth import pae
from relay import claims, offer, quarantine, state, works
from relay.errors import SealRefused
from relay.home import Home
from relay.listing import names
from relay.sources import Sources
from relay.turns import Turns
from relay.works import Work

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """A checked seal that waits in `sealed/`; its bytes are read again when it is packed."""

    path: Path
    work: BundleId
    lease: LeaseId
    pilot_run: PilotRun
    batch_id: str
    digest: bytes
    attempts: int
    size_bytes: int
    outputs: tuple[tuple[bytes, int], ...]  # (file digest, size) that travel home, each once


def collect(home: Home, live: list[Work], sources: Sources) -> list[Collected]:
    """Check every waiting seal and return the good ones in order of name."""
    by_lease = {plan.lease: work for work in live for plan in work.plans}
    collected = []
    turns = Turns(home.spool, live)
    for file in names(home.spool.folder("sealed")):
        path = home.spool.folder("sealed") / file
        name = SealName.parse(file)
        try:
            if name is None:
                raise SealRefused(where=str(path), reason="its name is not that of a seal")
            work = by_lease.get(name.shard.lease)
            if work is None:
                raise SealRefused(where=str(path), reason="its lease is not held here")
            collected.append(_collect(home, path, name, work, sources, turns))
        except FileNotFoundError:
            continue  # another tick moved it
        except BundleRefused as error:
            # The seal is not at fault (say, a key was revoked since): it waits where it is.
            _LOG.warning("seal waits", extra={"seal": file, "reason": error.text()})
        except PulkError as error:
            _set_aside(home, path, name, by_lease, error, turns)
    return collected


def _collect(
    home: Home, path: Path, name: SealName, work: Work, sources: Sources, turns: Turns
) -> Collected:
    raw = read_bounded(path, SEAL_LIMITS)
    seal = seals.decode(raw, where=str(path))
    segment = segments.decode(seal.segment)
    lease = sources.lease(work.id, name.shard.lease)
    digest = segments.segment_digest(seal.segment)
    claim = claims.read(home.spool, name.pilot_run)
    if problem := _problem(name, work, lease, seal, segment):
        raise SealRefused(where=str(path), reason=problem)
    if claim is not None and claim.pilot_key != seal.pilot_key:
        raise SealRefused(where=str(path), reason="the key is not that of the pilot's claim")
    made = [one for a in segment.attempts if a.fate is Fate.SUCCESS for one in a.outputs]
    works.add_outputs(home.spool, work.id, dict.fromkeys(file for file, _ in made))
    if segment.complete:
        works.note_ended(home.spool, work.id, name.shard.lease, complete=True)
    else:
        offer.offer_again(home, work, name.shard, turns)
    return Collected(
        path=path,
        work=work.id,
        lease=name.shard.lease,
        pilot_run=name.pilot_run,
        batch_id=seal.batch_id,
        digest=digest,
        attempts=len(segment.attempts),
        size_bytes=len(raw),
        outputs=_returned(segment, lease),
    )


def _problem(name: SealName, work: Work, lease: Lease, seal: Seal, segment: Segment) -> str:
    """Return why a seal can't be used, or nothing."""
    header = segment.header
    named = (name.shard.lease, name.shard.turn, name.pilot_run)
    if (header.lease, header.turn, header.pilot_run) != named:
        return "its segment is of another shard, turn or pilot than its name"
    if (header.work, header.dataset, header.dataset_digest, header.shard) != (
        work.id,
        lease.dataset,
        lease.dataset_digest,
        lease.shard,
    ):
        return "its segment names another work bundle, dataset or shard than its lease"
    if any(lease.generation_of(a.job, a.step) != a.generation for a in segment.attempts):
        return "an attempt is at a task that the lease does not hold"
    if not seal.signature:
        return "" if segment.salvaged_at is not None else "it is not signed"
    message = pae(SEAL_PAYLOAD_TYPE, segments.segment_digest(seal.segment))
    if not verify(seal.pilot_key, message, seal.signature):
        return "the pilot's signature does not fit"
    return ""


def _returned(segment: Segment, lease: Lease) -> tuple[tuple[bytes, int], ...]:
    steps = frozenset(lease.returns)
    files = {
        file: size
        for attempt in segment.attempts
        if attempt.fate is Fate.SUCCESS and attempt.step in steps
        for file, size in attempt.outputs
    }
    return tuple(sorted(files.items()))


def _set_aside(
    home: Home,
    path: Path,
    name: SealName | None,
    by_lease: dict[LeaseId, Work],
    error: PulkError,
    turns: Turns,
) -> None:
    """Quarantine a bad seal, after its shard has another trace: its next turn."""
    work = by_lease.get(name.shard.lease) if name is not None else None
    if work is not None and name is not None:
        offer.offer_again(home, work, name.shard, turns)
    quarantine.put(home.spool, path, error)
    state.note_refusal(home.spool, path.name, error.code)
