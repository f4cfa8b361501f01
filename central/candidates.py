"""Candidates: the datasets of which a site may get something, by what is cheap to know of them."""

from __future__ import annotations

from collections.abc import Mapping

from central.board import Board, Line, Runs
from central.core import matching
from central.core.order import Candidate
from central.visit import NOBODY, Visit
from central.workings import Workings


def candidates(
    workings: Workings,
    board: Board,
    visit: Visit,
    now_us: int,
    usage: Mapping[int, float],
) -> list[Candidate]:
    """Return the datasets of which something may be taken for a site, by what is cheap to know.

    `usage`: what each was served and promised, by number.
    """
    found = []
    for line in board.lines().values():
        if not line.is_open:
            continue
        if visit.recovering and visit.recovering.withholds(line.submitted_us, now_us):
            continue  # its tasks may be out: the central before this one may have leased them
        waits_us = line.barren.get(visit.site)
        if waits_us is not None and (not waits_us or waits_us > now_us):
            continue
        runs = board.runs(line, visit.site, visit.profile)
        tasks = line.takeable(runs)
        if not tasks or not may_run(line, visit):
            continue
        if not visit.demand.is_met(workings, line.digest):
            continue
        found.append(
            Candidate(
                line.no,
                line.group,
                line.user,
                board.weight_of(line, now_us),
                usage[line.no],
                tasks,
                unit=runs.unit,
                submitted_us=line.submitted_us,
                **_costs(line, runs),
            )
        )
    return found


def may_run(line: Line, visit: Visit) -> bool:
    """Return whether neither a dataset's nor a site's lists keep them apart."""
    account, profile = line.shape.account, visit.profile
    if not (account.allow or account.deny or profile.allow or profile.deny):
        return True
    return visit.site == NOBODY or not matching.refusals(
        account, line.id, visit.site, profile, user=line.user
    )


def _costs(line: Line, runs: Runs) -> dict[str, float]:
    """Return what one task costs: the mean of the steps that may run, and the highest bound."""
    steps = runs.sample
    seen = [value for step in steps if (value := line.seen(step))]
    return {
        "task_cost": sum(line.cost(step) for step in steps) / len(steps),
        "task_seen": sum(seen) / len(seen) if seen else 0.0,
        "task_most": runs.most,
    }
