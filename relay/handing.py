"""Handing shards to pilots that do not see the spool: each gets a parcel with shards of its own.

The relay claims the shards in the pilot's place. A *stand-in* is a folder in `claimed/` like that
of a pilot, whose claim names the batch job; when that is gone, and what it made is brought back, it
is salvaged like any other: a shard of which no seal came is offered again. Order: claim, shards,
submission, the batch job's name in the claim. A stand-in that a crash left before its last step is
given the batch id of its submission, if there is one, and else its shards are offered again.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bundle.errors import PulkError
from bundle.ids import PILOT_RUN_BYTES, PilotRun
from bundle.records import seal as seals
from bundle.records.seal import Claim
from bundle.spool import publish
from bundle.spool.layout import ShardName
from relay import claims, parcel, works
from relay import config as configs
from relay.home import Home, now_us
from relay.works import Work
from site_adapters import process
from site_adapters.contract import PilotRequest, PilotView

_LOG = logging.getLogger(__name__)
_PREFIX = "handing:"


def hand(home: Home, live: Sequence[Work], pilots: int) -> int:
    """Start up to so many pilots, each with shards of its own; return how many."""
    started = 0
    leases = {plan.lease for work in live for plan in work.plans}
    for _ in range(pilots):
        lying = works.shards_in(home.spool.folder("claimable"))
        offered = sorted((one for one in lying if one.lease in leases), key=str)
        some = offered[: home.config.batch.shards]
        if not some or not _hand(home, live, some):
            break
        started += 1
    return started


def _hand(home: Home, live: Sequence[Work], shards: Sequence[ShardName]) -> bool:
    name = f"{home.site}-{now_us() // 1_000_000}-{os.urandom(5).hex()}"
    claim = _stand_in(name)
    folder = home.spool.claimed(claim.pilot_run)
    publish.make_folder(folder)
    _write(home, claim)
    held = [one for one in shards if _take(home, claim.pilot_run, one)]
    publish.fsync_folder(folder)
    if not held:  # another tick was first
        publish.remove(folder)
        return False
    try:
        with parcel.written(home, live, folder, held) as path:
            request = PilotRequest(name, _argv(home), home.folder, parcel=path)
            (batch_id,) = home.adapter.submit(request)
    except (PulkError, OSError) as error:
        text = error.text() if isinstance(error, PulkError) else str(error)
        _LOG.error("pilot not started", extra={"reason": text})
        _give_back(home, claim.pilot_run, held)
        return False
    _write(home, replace(claim, batch_id=batch_id, host="", pid=0))
    _LOG.info("pilot started", extra={"batch_id": batch_id, "shards": len(held)})
    return True


def _stand_in(name: str) -> Claim:
    own = process.look(os.getpid())
    return Claim(
        pilot_run=PilotRun(os.urandom(PILOT_RUN_BYTES)),
        pilot_key=bytes(32),  # nobody's: what comes is signed by the pilot's own
        batch_id=f"{_PREFIX}{name}",
        host=platform.node(),
        boot_id=process.boot_id(),
        pid=os.getpid(),
        start_ticks=own.start_ticks if own else 0,
        started_us=now_us(),
        slots=0,
        offline="",
    )


def _write(home: Home, claim: Claim) -> None:
    publish.write_file(home.tmp, home.spool.claim(claim.pilot_run), seals.encode_claim(claim))


def _take(home: Home, run: PilotRun, shard: ShardName) -> bool:
    return publish.claim(home.spool.claimable(shard), home.spool.held_shard(run, shard))


def _give_back(home: Home, run: PilotRun, held: Sequence[ShardName]) -> None:
    for shard in held:
        publish.move(home.spool.held_shard(run, shard), home.spool.claimable(shard))
    publish.remove(home.spool.claimed(run))


def _argv(home: Home) -> tuple[str, ...]:
    """Return the command of a pilot in its parcel: nothing more is claimable than came with it."""
    pilots = home.config.pilots
    told = ("--slots", str(home.slots), "--idle-s", "1", "--config", configs.NAME)
    return (home.config.batch.python, *parcel.COMMAND, *told, "--jitter-s", f"{pilots.jitter_s:g}")


def adopt(home: Home, views: Mapping[str, PilotView]) -> None:
    """Give stand-ins whose relay ended in the middle the batch id of what it had submitted."""
    by_name = {view.name: view.batch_id for view in views.values()}
    for run in claims.pilot_runs(home.spool):
        claim = claims.read(home.spool, run)
        if claim is None or not claim.batch_id.startswith(_PREFIX):
            continue
        batch_id = by_name.get(claim.batch_id.removeprefix(_PREFIX))
        if batch_id is not None:
            _write(home, replace(claim, batch_id=batch_id, host="", pid=0))
