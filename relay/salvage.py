"""Salvage: what a dead pilot had journaled counts, and its shards are offered again.

Only once the adapter has confirmed that the pilot and its tasks are gone. What it had begun and not
ended is stated as lost: so a task that takes down its pilots is known by them. Order for each
pilot: the seal from its journal (exclusive name, the same bytes each time), the shard's next turn
where no seal will bring it, and last the pilot's folder. So after a crash the next tick repeats all
of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

from bundle import canonical
from bundle.errors import PulkError
from bundle.ids import LeaseId, PilotRun
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.seal import Claim, Seal
from bundle.records.segment import Segment
from bundle.spool import publish, records
from bundle.spool.journal import read_journal
from bundle.spool.layout import SealName, ShardName
from relay import claims, offer, quarantine, roster, state, works
from relay.core import losses
from relay.core.losses import Over
from relay.errors import JournalRefused
from relay.home import Home
from relay.roster import Roster
from relay.turns import Turns
from relay.works import Work
from site_adapters import process
from site_adapters.contract import Ending, PilotState, PilotView

_LOG = logging.getLogger(__name__)
ENDING = "ending"  # in a dead pilot's folder: how its batch job ended
FORLORN_S = 3600  # a folder without a claim is left alone so long: a pilot may be starting


def salvage(
    home: Home, live: list[Work], views: Mapping[str, PilotView], here: Roster | None = None
) -> int:
    """Salvage every pilot that is confirmed gone; return how many."""
    here = here or roster.read(home.spool)
    salvaged = 0
    turns = Turns(home.spool, live)
    for pilot_run in here.forlorn:
        _drop_forlorn(home, pilot_run)
    for pilot_run, known in here.claims.items():
        if _is_gone(home, known, views):
            with contextlib.suppress(FileNotFoundError):  # another tick was first
                claim = claims.read(home.spool, pilot_run) or known
                _salvage_pilot(home, live, claim, _over(home, claim, views), turns)
                salvaged += 1
    return salvaged


def state_of(claim: Claim, views: Mapping[str, PilotView]) -> PilotState:
    """Return the state of the pilot behind a claim: the adapter's word, else this machine's."""
    view = views.get(claim.batch_id)
    if view is not None and view.state is not PilotState.UNKNOWN:
        return view.state
    if claim.host != platform.node():
        return PilotState.UNKNOWN
    if claim.boot_id != process.boot_id():
        return PilotState.ABSENT
    is_alive = process.is_alive(claim.pid, claim.start_ticks)
    return PilotState.RUNNING if is_alive else PilotState.ABSENT


def _is_gone(home: Home, claim: Claim, views: Mapping[str, PilotView]) -> bool:
    """Return whether nothing of the pilot runs any more; stops what its tasks left behind."""
    if state_of(claim, views) is not PilotState.ABSENT:
        return False
    view = views.get(claim.batch_id)
    if view is None:
        return True  # started by hand: its own word is all there is
    if view.state is not PilotState.ABSENT:
        return False  # its process is gone, but how its batch job ended only the scheduler can tell
    return home.adapter.clear(claim.batch_id, mark=f":{claim.pilot_run.hex()}:")


def _over(home: Home, claim: Claim, views: Mapping[str, PilotView]) -> Over:
    """Return how a pilot's batch job ended, as the first tick that looked wrote it down.

    So that every tick makes the same seal of the same journal, whatever the scheduler says later.
    """
    view = views.get(claim.batch_id)
    path = home.spool.claimed(claim.pilot_run) / ENDING
    if view is not None and view.ending is not None:
        said = {"ending": view.ending.value, "job": view.job, "word": view.reason}
        with contextlib.suppress(publish.AlreadyThere):
            publish.write_new_file(home.tmp, path, canonical.encode(said))
    value = state.read_map(path)
    if value is None or value.text("ending") not in set(Ending):
        return Over()
    return Over(Ending(value.text("ending")), value.text("job"), value.text("word"))


def _salvage_pilot(home: Home, live: list[Work], claim: Claim, over: Over, turns: Turns) -> None:
    folder = home.spool.claimed(claim.pilot_run)
    by_lease = {plan.lease: work for work in live for plan in work.plans}
    sealed: set[ShardName] = set()
    for path in sorted(folder.glob("*.journal")):
        shard = ShardName.parse(path.stem)
        work = by_lease.get(shard.lease) if shard is not None else None
        if work is None or shard is None:
            _keep_tail(home, path, 0, "its lease is not held here")
        elif _seal_journal(home, work, (claim, over), shard, path):
            sealed.add(shard)
    for shard in sorted(works.shards_in(folder), key=str):
        work = by_lease.get(LeaseId(shard.lease))
        # A seal, ours or the pilot's, brings the next turn when it is collected.
        if work is not None and shard not in sealed and not _has_seal(home, work, claim, shard):
            offer.offer_again(home, work, shard, turns)
    _LOG.warning("pilot salvaged", extra={"pilot": claim.pilot_run.hex(), "seals": len(sealed)})
    _remove(home, claim.pilot_run)


def _remove(home: Home, pilot_run: PilotRun) -> None:
    """Take a pilot's folder away by one rename, so that no part of it is ever seen alone."""
    gone = home.tmp / f"pilot-{pilot_run.hex()}-{os.urandom(6).hex()}"
    with contextlib.suppress(FileNotFoundError):
        publish.publish(home.spool.claimed(pilot_run), gone)
        publish.fsync_folder(home.spool.folder("claimed"))
        publish.remove(gone)


def _has_seal(home: Home, work: Work, claim: Claim, shard: ShardName) -> bool:
    name = SealName(shard, claim.pilot_run)
    return home.spool.seal(name).exists() or (home.spool.kept_seals(work.id) / str(name)).exists()


def _seal_journal(
    home: Home, work: Work, pilot: tuple[Claim, Over], shard: ShardName, path: Path
) -> bool:
    """Make the seal of a journal that the pilot left; True where there is one now."""
    claim, over = pilot
    if _has_seal(home, work, claim, shard):
        return True
    read = read_journal(path)
    if read.torn:
        _keep_tail(home, path, read.sound_bytes, "it ends inside a record")
    try:
        journaled = records.read_records(read.records)
        found = losses.attempts(journaled, over)
        if journaled.header is None or not found:
            return False
        segment = Segment(
            journaled.header,
            found,
            complete=False,
            salvaged_at=read.sound_bytes,
        )
        raw = seals.encode(
            Seal(
                segment=segments.encode(segment),
                pilot_key=claim.pilot_key,
                signature=b"",
                logs=seals.encode_logs(journaled.logs),
                telemetry=telemetry.encode(journaled.samples, journaled.series),
                batch_id=claim.batch_id,
            )
        )
    except PulkError as error:
        _keep_tail(home, path, 0, error.text())
        return False
    with contextlib.suppress(publish.AlreadyThere):
        publish.write_new_file(home.tmp, home.spool.seal(SealName(shard, claim.pilot_run)), raw)
    return True


def _keep_tail(home: Home, path: Path, at: int, reason: str) -> None:
    """Keep what can't be read of a journal; the same bytes once, however often this is repeated."""
    error = JournalRefused(where=str(path), at=at, reason=reason)
    name = f"{path.parent.name}-{path.name}-from-{at}"
    quarantine.put_bytes(home.spool, name, path.read_bytes()[at:], error)


def _drop_forlorn(home: Home, pilot_run: PilotRun) -> None:
    """Remove the folder of a pilot that died before it wrote its claim."""
    folder = home.spool.claimed(pilot_run)
    with contextlib.suppress(FileNotFoundError):
        is_old = time.time() - folder.stat().st_mtime > FORLORN_S
        if is_old and not any(folder.glob("*.shard")) and not any(folder.glob("*.journal")):
            _remove(home, pilot_run)
