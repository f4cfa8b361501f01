"""Starting pilots for the shards on offer, and forgetting those that are gone."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bundle.ids import PilotRun
from bundle.spool.layout import Spool
from relay import config as configs
from relay import handing, state, works
from relay.core.staffing import Staff, plan_starts
from relay.home import Home, now_us
from relay.roster import Roster
from relay.salvage import state_of
from relay.works import Work
from site_adapters.contract import Ending, PilotRequest, PilotState, PilotView, SubmitFailed
from site_adapters.local import pilot_command

_LOG = logging.getLogger(__name__)
GONE_KEPT = 10  # folders of ended pilots, with their logs
ALIVE = frozenset(PilotState) - {PilotState.ABSENT}


@dataclass(frozen=True, slots=True)
class _Memory:
    """What staffing remembers between ticks: how often it started since the offers changed."""

    offers: bytes = b""
    barren_starts: int = 0
    started_us: int = 0
    proven: int = 0


def staff(home: Home, views: Mapping[str, PilotView], live: Sequence[Work], here: Roster) -> int:
    """Start as many pilots as the shards on offer need; none while the site drains.

    Returns how many were started.
    """
    if home.spool.drain.exists():
        return 0
    offers = sorted(str(shard) for shard in works.shards_in(home.spool.folder("claimable")))
    if not offers:
        return 0
    digest = hashlib.sha256("\n".join(_changing(home, offers, live)).encode()).digest()
    memory = _read(home.spool)
    if memory.offers != digest:
        memory = replace(memory, offers=digest, barren_starts=0)
    batch = home.config.batch
    is_proven = bool(memory.proven) or batch.adapter == "local" or not batch.canary
    alive, by_hand = _alive(views, here)
    if is_proven and len(alive) >= home.config.pilots.count:
        return 0  # whatever they hold, no more may be started
    busy, idle = _count(home, alive, by_hand, here)
    if not memory.proven and _is_proof(home, busy, views, live):
        memory = replace(memory, proven=1)
        _write(home.spool, memory)
    number = plan_starts(
        Staff(
            claimable=-(-len(offers) // (1 if batch.shared_filesystem else batch.shards)),
            busy=busy,
            idle=idle,
            pilots_max=home.config.pilots.count,
            pilots_each=home.adapter.pilots_each,
            is_proven=is_proven or bool(memory.proven),
            barren_starts=memory.barren_starts,
            since_start_ms=(now_us() - memory.started_us) // 1000,
        )
    )
    if number:  # before they start: a crash must not let them be started without end
        starts = memory.barren_starts + number * home.adapter.pilots_each
        _write(home.spool, replace(memory, barren_starts=starts, started_us=now_us()))
    if not number:
        return 0
    if not batch.shared_filesystem:
        return handing.hand(home, live, number)
    return _start(home, number)


def _changing(home: Home, offers: Sequence[str], live: Sequence[Work]) -> list[str]:
    """Return what changes when pilots get on: the offers; where they are handed out, the seals.

    A shard that was handed out in vain is offered again as its next turn, and that is no progress.
    """
    if home.config.batch.shared_filesystem:
        return list(offers)
    seals = set(map(str, works.seals(home.spool, (work.id for work in live))))
    return sorted({offer.partition("-")[0] for offer in offers} | seals)


def _is_proof(home: Home, busy: int, views: Mapping[str, PilotView], live: Sequence[Work]) -> bool:
    """Return whether pilots work here: one took a shard, or, being handed it, sealed it."""
    if home.config.batch.shared_filesystem:
        return bool(busy)
    if any(view.ending is Ending.COMPLETED for view in views.values()):
        return True
    return any(works.seals(home.spool, (work.id for work in live)))


def drop_gone(home: Home, views: Mapping[str, PilotView], here: Roster) -> None:
    """Forget ended pilots beyond the newest few, whose logs may still be read."""
    held = {claim.batch_id for claim in here.claims.values()}
    gone = [
        view
        for view in views.values()
        if view.state is PilotState.ABSENT and view.batch_id not in held
    ]
    for view in sorted(gone, key=lambda view: view.submitted_us)[:-GONE_KEPT]:
        home.adapter.forget(view.batch_id)


def _alive(
    views: Mapping[str, PilotView], here: Roster
) -> tuple[frozenset[str], tuple[PilotRun, ...]]:
    """Return the pilots of the adapter that are not gone, and those that it does not know."""
    alive = frozenset(view.batch_id for view in views.values() if view.state in ALIVE)
    others = (one for one in here.claims.values() if one.batch_id not in alive)
    by_hand = (one.pilot_run for one in others if state_of(one, views) in ALIVE)
    return alive, tuple(by_hand)


def _count(
    home: Home, alive: frozenset[str], by_hand: Iterable[PilotRun], here: Roster
) -> tuple[int, int]:
    """Return how many pilots hold a shard, and how many wait or run without one."""
    busy = {
        claim.batch_id
        for run, claim in here.claims.items()
        if claim.batch_id in alive and _holds(home, run)
    }
    return len(busy), len(alive - busy) + sum(not _holds(home, run) for run in by_hand)


def _holds(home: Home, run: PilotRun) -> bool:
    return any(works.shards_in(home.spool.claimed(run)))


def _start(home: Home, jobs: int) -> int:
    """Submit batch jobs at once, as an array where there is one; return how many pilots start."""
    name = f"{home.site}-{now_us() // 1_000_000}-{os.urandom(5).hex()}"
    pilots = home.config.pilots
    program: tuple[str, ...] = ("-I", "-m", "bundle.cli", "pilot")
    if pilots.folder:
        program = ("-I", str(home.folder / pilots.folder))
    told = {"slots": home.slots, "idle-s": pilots.idle_s, "jitter-s": pilots.jitter_s}
    command = pilots.command or pilot_command(home.spool.root, program, told)
    argv = (*command, "--config", str(home.folder / configs.NAME))
    try:
        batch_ids = home.adapter.submit(PilotRequest(name, argv, home.folder, jobs=jobs))
    except SubmitFailed as error:
        _LOG.error("pilot not started", extra={"reason": error.text()})
        return 0
    for batch_id in batch_ids:
        _LOG.info("pilot started", extra={"batch_id": batch_id})
    return len(batch_ids)


def _read(spool: Spool) -> _Memory:
    value = state.read_map(state.folder(spool) / "staff")
    if value is None:
        return _Memory()
    proven = value.count("proven") if value.has("proven") else 0
    return _Memory(
        value.bytes("offers"), value.count("barren_starts"), value.count("started_us"), proven
    )


def _write(spool: Spool, memory: _Memory) -> None:
    value = {name: getattr(memory, name) for name in _Memory.__slots__}
    state.write_map(spool, state.folder(spool) / "staff", value)
