"""Status: what is here, what runs, what waits and for how long. Reads only."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from bundle.age import age
from bundle.intervals import IntervalSet
from bundle.spool.layout import Spool
from relay import (
    carrying,
    chains,
    custody,
    edits,
    news,
    purging,
    quarantine,
    roster,
    state,
    stream,
    works,
)
from relay.core import backoff, overdue
from relay.core.custody import Held, Place
from relay.home import Home, make_spool, now_us
from relay.listing import names
from relay.radio import look as radio
from relay.radio.look import Live
from relay.salvage import state_of
from relay.works import Work
from site_adapters.contract import PilotView

TICKED = "ticked"  # in state/: touched at the end of every tick


def status(home: Home, views: Mapping[str, PilotView] | None = None) -> dict[str, Any]:
    """Return the whole status as plain values; ages are seconds, from this clock.

    `views`: what the adapter just said; else it is asked.
    """
    make_spool(home.spool)
    about = _about(home, home.adapter.survey() if views is None else views)
    return about | {"alarms": overdue.alarms(_signs(home, about))}


def note_tick(spool: Spool) -> None:
    """Remember that a tick came to its end now; lost at worst, so not synced."""
    path = state.folder(spool) / TICKED
    path.touch()
    os.utime(path)


def _about(home: Home, views: Mapping[str, PilotView]) -> dict[str, Any]:
    spool = home.spool
    central, chain = state.read_central(spool), chains.read(spool)
    disk = os.statvfs(spool.root)
    held = list(custody.every_held(spool))
    withdrawn, live = state.read_withdrawn(spool), radio.look(home)
    return {
        "site": home.site,
        "at_us": now_us(),
        "ticked_s": _ticked_s(spool),
        "draining": spool.drain.exists(),
        "central": {
            "url": home.config.central.url or None,
            "trouble": _trouble(home),
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
        "edits": edits.told(home),
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
        "parts": len(names(home.parts)),
        "quarantine": [
            {"file": one.path.name, "code": one.code, "reason": one.text}
            for one in quarantine.every(spool)
        ],
        "purge": purging.words(home) or None,
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "free_inodes": disk.f_favail if disk.f_files else None,
    }


def _trouble(home: Home) -> dict[str, Any] | None:
    """Return why central is not reached, since when and when it is tried again."""
    found = carrying.read(home)
    if found is None:
        return None
    return {
        "code": found.code,
        "text": found.text,
        "failures": found.failures,
        "since_s": _age_s(found.since_us),
        "tried_s": _age_s(found.at_us),
        "again_in_s": round(backoff.waits_s(found, now_us())),
    }


def _in_words(trouble: Mapping[str, Any] | None) -> str:
    if trouble is None:
        return ""
    since, failures = age(trouble["since_s"] or 0), trouble["failures"]
    return f"central not reached for {since}, {failures} failures: {trouble['text']}"


def _signs(home: Home, about: Mapping[str, Any]) -> overdue.Signs:
    """Return what of a status alarms rest on."""
    central, keep = about["central"], home.config.spool
    sent = about["bundles"][Place.SENT.value]["oldest_s"]
    return overdue.Signs(
        silence=central["alarm"] or "",
        forked=bool(central["forked"]),
        batch=[
            overdue.Batch(
                one["job"] or one["batch_id"], one["state"], one["reason"] or "", one["age_s"]
            )
            for one in about["pilots"]
        ],
        unanswered_s=sent,
        late_tasks=sum(one["late_tasks"] for one in about["work"]),
        free_bytes=about["free_bytes"],
        free_bytes_min=keep.free_bytes_min,
        free_inodes=about["free_inodes"],
        free_inodes_min=keep.free_inodes_min,
        purge=about["purge"] or "",
        trouble=_in_words(central["trouble"]),
        quarantined=len(about["quarantine"]),
        ticked_s=about["ticked_s"],
    )


def _ticked_s(spool: Spool) -> int | None:
    try:
        at_s = (state.folder(spool) / TICKED).stat().st_mtime
    except OSError:
        return None
    return max(0, now_us() // 1_000_000 - int(at_s))


def _work(home: Home, work: Work) -> dict[str, Any]:
    ended = works.ended(home.spool, work.id)
    open_ = [plan for plan in work.plans if plan.lease not in ended.all()]
    now = now_us()
    return {
        "id": work.id,
        "age_s": _age_s(work.accepted_us),
        "shards": len(work.plans),
        "complete": len(ended.complete),
        "given_up": len(ended.up - ended.complete),
        "waiting": len(works.waiting(home.spool, work.id)),
        "tasks": sum(plan.tasks for plan in work.plans),
        "open_tasks": sum(plan.tasks for plan in open_),
        "late_tasks": sum(p.tasks for p in open_ if 0 < p.start_before_us < now),
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
    return [
        {
            "pilot_run": run.hex(),
            "batch_id": claim.batch_id,
            "state": state_of(claim, views).value,
            "host": claim.host,
            "age_s": _age_s(claim.started_us),
            "offline": claim.offline,
            "isolation": claim.isolation,
            "shards": [str(shard) for shard in works.shards_in(home.spool.claimed(run))],
        }
        for run, claim in roster.read(home.spool, keep=False).claims.items()
    ]


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
