"""A visit: what one site may get now, by its report, its profile, its quotas and its trips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bundle.ids import SiteName
from bundle.records import profile as profiles
from bundle.records import report as reports
from bundle.records.profile import Profile
from bundle.records.report import Report
from central.board import Board
from central.core import quotas, sizing
from central.core.chain import Recovering
from central.core.order import INFINITE
from central.core.quotas import Quota, Quotas, SiteRoom, Spent
from central.core.sizing import Policy
from central.cosignatures import NO_DEMAND, Demand
from central.workings import Workings

NOBODY = SiteName("")
PORTIONS = 4  # a site gets more once it lacks a quarter of what it should hold


@dataclass(frozen=True, slots=True)
class Visit:
    """What a plan for a site goes by.

    `tasks`: how many are wanted. `room`: what the site's caps leave, never exceeded. `fits`:
    core-milliseconds, as seen, that keep it busy; `seen` is that and fillers. Leases last
    `lease_ms`, those of fillers `filler_ms`.
    """

    site: SiteName = NOBODY
    tasks: int = 0
    profile: Profile = profiles.UNKNOWN
    demand: Demand = NO_DEMAND
    has: frozenset[bytes] = frozenset()
    room: SiteRoom = field(default_factory=SiteRoom)
    fits: float = INFINITE
    seen: float = INFINITE
    lease_ms: int = 0
    filler_ms: int = 0
    recovering: Recovering | None = None


def visit(workings: Workings, board: Board, site: SiteName, tasks: int | None = None) -> Visit:
    """Return what a site may get.

    Args:
        workings: the central.
        board: all datasets, and what was learned of the site.
        site: its name.
        tasks: how many to pack; None: as its newest report wants.
    """
    raw = workings.store.bundles.site(site).report
    report = reports.decode(raw) if raw else None
    profile = (report.site if report else None) or profiles.UNKNOWN
    leased, most, expected = _held(workings, board, site)
    told = report.tasks_wanted if report else workings.config.planner.tasks_wanted_default
    made = Visit(
        site,
        tasks=_portion(workings, told, leased) if tasks is None else tasks,
        profile=profile,
        demand=Demand.of_report(report),
        has=frozenset(report.has) if report else frozenset(),
        room=quotas.site_room(profile, leased, most, node_cores(profile)),
    )
    sized = _sized(workings, board, made, report, expected)
    return replace(sized, fits=INFINITE, seen=INFINITE) if tasks is not None else sized


def node_cores(profile: Profile) -> float:
    """Return how many cores one node of a site has; 1 where it does not say."""
    return profile.cpu_milli / 1000 or 1.0


def site_cores(profile: Profile, report: Report | None) -> float:
    """Return how many cores a site runs tasks on: what its nodes have, or a core for each slot."""
    told = profile.nodes * profile.cpu_milli / 1000
    return told or float(report.slots if report else 0)


def quotas_of(workings: Workings) -> Quotas:
    """Return the configured quotas of users and groups."""
    told = workings.config.quotas
    return Quotas(
        user=Quota(told.user.tasks_out, told.user.core_hours),
        group=Quota(told.group.tasks_out, told.group.core_hours),
        users={name: Quota(one.tasks_out, one.core_hours) for name, one in told.users.items()},
        groups={name: Quota(one.tasks_out, one.core_hours) for name, one in told.groups.items()},
        period_days=told.period_days,
    )


def spent_of(board: Board, now_us: int) -> Mapping[str, Spent]:
    """Return what users and groups have out and were delivered in the quotas' period."""
    out: dict[str, int] = {}
    for line in board:
        for key in (f"user:{line.user}", f"group:{line.group}"):
            out[key] = out.get(key, 0) + line.tasks_out()
    return {
        key: Spent(tasks, board.lately.delivered_in_period(key, now_us))
        for key, tasks in out.items()
    }


def _portion(workings: Workings, holds: int, leased: int) -> int:
    """Return how many tasks to pack now: sites get them in portions, not one by one."""
    missing = holds - leased  # not what fits a bundle: who wants many of them must get the second
    if missing <= 0 or (leased and PORTIONS * missing < holds):
        return 0
    return min(missing, workings.config.planner.bundle_tasks_max)


def _held(workings: Workings, board: Board, site: SiteName) -> tuple[int, float, float]:
    """Return a site's leased tasks: how many, and in core-milliseconds the bound, the expected."""
    lines = board.lines()
    leased, most, expected = 0, 0.0, 0.0
    for dataset, tasks in workings.store.datasets.leased_at(site):
        leased += tasks
        steps = lines[dataset].leased or {0: 1}
        most += tasks * max(map(lines[dataset].most, steps))
        out = sum(steps.values())
        expected += tasks * sum(lines[dataset].seen(s) * n for s, n in steps.items()) / out
    return leased, most, expected


def _sized(
    workings: Workings, board: Board, made: Visit, report: Report | None, expected: float
) -> Visit:
    told = workings.config.planner
    policy = Policy(
        lease_ms=int(told.lease_hours * 3_600_000),
        lease_ms_min=int(min(told.lease_hours_min, told.lease_hours) * 3_600_000),
        lease_ms_max=int(max(told.lease_hours_max, told.lease_hours) * 3_600_000),
        horizon_ms_min=int(told.horizon_hours * 3_600_000),
        filler=told.filler,
    )
    seen, profile = board.lately.seen(made.site), made.profile
    horizon = sizing.horizon_ms(seen, profile.trip_ms, profile.queue_wait_ms, policy)
    lease = sizing.lease_ms(seen, profile.trip_ms, profile.queue_wait_ms, 0, policy)
    made = replace(
        made,
        lease_ms=lease,
        filler_ms=sizing.filler_ms(seen, profile.trip_ms, lease, horizon),
    )
    cores = site_cores(profile, report)
    if not cores:
        return made
    fits, whole = sizing.hold_cost(cores, horizon, policy)
    if expected and (whole - expected) * PORTIONS < whole:
        return replace(made, tasks=0)
    return replace(made, fits=max(0.0, fits - expected), seen=max(0.0, whole - expected))
