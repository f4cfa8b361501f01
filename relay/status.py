"""Status: what is here, what runs, what waits and for how long. Reads only."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from bundle.intervals import IntervalSet
from relay import chains, claims, custody, news, quarantine, state, stream, works
from relay.core.custody import Held, Place
from relay.exchange import parts_folder
from relay.home import Home, make_spool, now_us
from relay.listing import names
from relay.radio import look as radio
from relay.radio.look import Live
from relay.salvage import state_of
from relay.works import Work
from site_adapters.contract import PilotView


def status(home: Home) -> dict[str, Any]:
    """Return the whole status as plain values; ages are seconds, from this clock."""
    make_spool(home.spool)
    spool, views = home.spool, home.adapter.survey()
    central, chain = state.read_central(spool), chains.read(spool)
    disk = os.statvfs(spool.root)
    held = list(custody.every_held(spool))
    withdrawn, live = state.read_withdrawn(spool), radio.look(home)
    return {
        "site": home.site,
        "draining": spool.drain.exists(),
        "central": {
            "url": home.config.central.url or None,
            "heard_s": _age_s(central.at_us),
            "alarm": news.alarm(central.at_us, now_us()) or None,
            "commit": central.commit,
            "epochs": [chains.words(one) for one in chain.heard],
            "forked": [chains.words(one) for one in chain.undecided()],
            "trust_version": home.trust().version,
            "gaps": {
                number.hex(): (came | withdrawn.get(number, IntervalSet())).gaps().to_wire()
                for number, came in sorted(state.read_received(spool).items())
            },
        },
        "stream": stream.current(spool).hex(),
        "work": [_work(home, work) for work in works.live(spool)],
        "shards": {
            "claimable": len(list(works.shards_in(spool.folder("claimable")))),
            "sealed": len(names(spool.folder("sealed"))),
        },
        "pilots": [_pilot(view) for view in views.values()],
        "claims": _claims(home, views),
        "radio": _radio(live),
        "running": _running(live),
        "bundles": {place.value: _bundles(held, place) for place in Place},
        "incoming": len(names(spool.folder("in"))),
        "parts": len(names(parts_folder(home))),
        "quarantine": [
            {"file": one.path.name, "code": one.code, "reason": one.text}
            for one in quarantine.every(spool)
        ],
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "free_inodes": disk.f_favail if disk.f_files else None,
    }


def _work(home: Home, work: Work) -> dict[str, Any]:
    ended = works.ended(home.spool, work.id)
    return {
        "id": work.id,
        "age_s": _age_s(work.accepted_us),
        "shards": len(work.plans),
        "complete": len(ended.complete),
        "given_up": len(ended.up - ended.complete),
        "waiting": len(works.waiting(home.spool, work.id)),
        "tasks": sum(plan.tasks for plan in work.plans),
        "open_tasks": sum(p.tasks for p in work.plans if p.lease not in ended.all()),
    }


def _pilot(view: PilotView) -> dict[str, Any]:
    return {
        "batch_id": view.batch_id,
        "state": view.state.value,
        "age_s": _age_s(view.submitted_us),
        "job": view.job or None,
        "ending": view.ending.value if view.ending else None,
        "reason": view.reason or None,
    }


def _claims(home: Home, views: Any) -> list[dict[str, Any]]:
    rows = []
    for run in claims.pilot_runs(home.spool):
        claim = claims.read(home.spool, run)
        if claim is not None:
            rows.append(
                {
                    "pilot_run": run.hex(),
                    "batch_id": claim.batch_id,
                    "state": state_of(claim, views).value,
                    "host": claim.host,
                    "age_s": _age_s(claim.started_us),
                    "offline": claim.offline,
                    "isolation": claim.isolation,
                    "shards": [str(s) for s in works.shards_in(home.spool.claimed(run))],
                }
            )
    return rows


def _radio(live: Live | None) -> dict[str, Any] | None:
    """Return whether the running relay answers; None where none is to be heard."""
    if live is None:
        return None
    heard = None if live.pilots is None else len(live.pilots)
    return {"endpoint": live.endpoint, "said_s": live.said_s, "pilots": heard}


def _running(live: Live | None) -> list[dict[str, Any]] | None:
    """Return the tasks that run now, the oldest first; None where no running relay tells."""
    if live is None or live.pilots is None:
        return None
    rows = [
        {
            "task": f"{task.dataset}/{task.job}/{task.step}",
            "pilot_run": seen.pilot_run.hex(),
            "host": seen.host,
            "age_s": round((task.age_ms + seen.state_ms) / 1000, 1),
            "cpu": task.cpu_milli / 1000,
            "memory_mib": task.memory_mib,
            "told_s": round(seen.state_ms / 1000, 1),
        }
        for seen, now in live.pilots
        if now is not None
        for task in now.tasks
    ]
    return sorted(rows, key=lambda row: -float(str(row["age_s"])))


def _bundles(held: list[Held], place: Place) -> dict[str, Any]:
    here = [one for one in held if one.place is place]
    sent = [one.sent_us for one in here if one.sent_us]
    return {
        "kinds": dict(Counter(one.kind.value for one in here)),
        "sequences": sorted(one.sequence for one in here),
        "oldest_s": _age_s(min(sent)) if sent else None,
    }


def _age_s(at_us: int) -> int | None:
    return (now_us() - at_us) // 1_000_000 if at_us else None
