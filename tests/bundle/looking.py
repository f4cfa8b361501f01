"""A real central and site that make bundles to look at, and a way to run `pulk bundle`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle.cli import bundle as group
from bundle.fates import Fate
from tests.central.conftest import Central, chain
from tests.central.scripted_site import ScriptedSite, by_needs


def run(*arguments: object) -> int:
    """Run `pulk bundle ...` in this process and return its exit code."""
    return group.command([str(one) for one in arguments])


@dataclass(frozen=True)
class Carried:
    """What went over the border in one round, and the trust file that judges it."""

    trust: Path
    report: Path
    work: Path
    result: Path
    answer: Path  # a work bundle without work: receipts only
    site: ScriptedSite


def carried(folder: Path, jobs: int = 3) -> Carried:
    """Play one round: a report, work for it, a result with failures, a receipt."""
    central = Central(folder)
    site = central.site()
    central.submit(chain(jobs=jobs))
    report = site.report(100)
    central.authority.absorb(report)
    sent = central.authority.outbox(site.name)
    paths = [central.authority.outgoing(site.name, one.id) for one in sent]
    held = [site.take(path) for path in paths]
    place = next(n for n, one in enumerate(held) if one.leases)
    tried = [
        site.play(held[place], lease, fate=_second_time_lucky)
        for lease in by_needs(held[place].leases)
    ]
    result = site.result(tried)
    central.authority.absorb(result)
    central.authority.absorb(site.report(0))
    last = central.authority.outbox(site.name)[-1]
    answer = central.authority.outgoing(site.name, last.id)
    trust = folder / "trust"
    trust.write_bytes(site.trust.trust.raw)
    central.authority.close()
    return Carried(trust, report, paths[place], result, answer, site)


def _second_time_lucky(place: tuple[int, int], tried: int) -> Fate:
    step, job = place
    return Fate.OOM if (step, job, tried) == (0, 1, 0) else Fate.SUCCESS
