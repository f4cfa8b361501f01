"""fsck: every verdict, counter and hour made again from the facts; they must match to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from bundle.errors import PulkError
from bundle.intervals import IntervalSet
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import CENTRALS_OWN
from bundle.wire.read import open_bundle
from central import config as configs
from central.absorb import KINDS
from central.archive import open_archive
from central.core import state_hash as hashes
from central.core.changes import Changes, UsageSum, implied_row
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import AttemptFact, Place, TaskRow, Verdict
from central.core.merge import Merge
from central.core.source import NoFacts
from central.home import Home, NoCentral
from central.store.rows import DatasetRow
from central.store.sqlite import SqliteStore
from central.workings import Workings, new_epoch

PROBLEMS_MAX = 100
WORDS = tuple(Verdict)


@dataclass(slots=True)
class Examined:
    """What was found so far."""

    problems: list[str] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    attempts: int = 0
    wall_ms: int = 0
    done: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)

    def note(self, problem: str) -> None:
        """Keep a problem, as long as there are not too many."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)


def fsck(home: Home) -> dict[str, Any]:
    """Compare database, facts and archive of a central that nobody changes meanwhile.

    Raises NoCentral, WrongSchema, DatabaseBusy.
    """
    if not home.database.exists():
        raise NoCentral(where=str(home.root), missing=home.database.name)
    config = configs.load(home.config)
    store = SqliteStore(home.database)
    try:
        archive = open_archive(home, config)
        workings = Workings(home, config, store, archive, None, new_epoch(0), lambda: 0)
        with store.transaction():
            return examine(workings)
    finally:
        store.close()


def examine(workings: Workings) -> dict[str, Any]:
    """Return what `pulk central fsck` prints."""
    found = Examined()
    found.problems += workings.store.check()
    rows = workings.store.datasets.datasets()
    for row in rows:
        try:
            _examine_dataset(workings, row, found)
        except PulkError as error:
            found.note(f"dataset {row.id}: {error.text()}")
    _examine_archive(workings, found)
    return {
        "ok": not found.problems,
        "state_hash": hashes.state_hash(found.records),
        "problems": found.problems,
        "attempts": found.attempts,
        "wall_ms": found.wall_ms,
        "bundles": _bundles(workings),
        "done": found.done,
        "datasets": len(rows),
    }


def _examine_dataset(workings: Workings, row: DatasetRow, found: Examined) -> None:
    dag, controls = workings.dag(row.digest), workings.controls(row)
    stored = {one.place: one for one in workings.store.tasks.every_row(row.no)}
    attempts = list(workings.store.tasks.every_attempt(row.no))
    changes = _recompute(workings, row, (dag, controls), stored, attempts)
    for place in stored.keys() | changes.rows.keys():
        implied = implied_row(dag, controls, place)
        has, should = stored.get(place, implied), changes.rows.get(place, implied)
        if has != should:
            found.note(f"{row.id} step {place[0]} job {place[1]}: is {has}, should be {should}")
    _examine_counters(workings, row, stored, changes, found)
    touched = IntervalSet.of(job for step, job in stored if not dag.whole[step])
    if touched != row.touched:
        found.note(f"{row.id}: touched jobs are {row.touched}, should be {touched}")
    found.records.append(hashes.dataset_record(row.digest, row.jobs, controls))
    found.records += _records(workings, (row, dag, controls), changes, attempts)
    for step, usage in changes.usage.items():
        del step
        found.attempts += usage.attempts
        found.wall_ms += usage.wall_ms
    done: dict[str, list[list[int]]] = {}
    for step, first, count in workings.store.tasks.done_spans(row.no):
        done.setdefault(str(step), []).append([first, count])
    found.done[row.id] = done


def _recompute(
    workings: Workings,
    row: DatasetRow,
    of: tuple[Dag, Controls],
    stored: dict[Place, TaskRow],
    attempts: list[AttemptFact],
) -> Changes:
    """Judge every task from the facts alone; which leases live is what the database says."""
    merge = Merge(row.id, *of, NoFacts())
    merge.add_attempts(attempts)
    merge.add_pins(workings.store.tasks.every_pin(row.no))
    merge.set_leases(
        {place: (one.lease, one.generation) for place, one in stored.items() if one.lease}
    )
    merge.touch(stored)
    for control in of[1].all:
        merge.touch((step, job) for step, jobs in control.regions or () for job in jobs)
    return merge.settle()


def _examine_counters(
    workings: Workings,
    row: DatasetRow,
    stored: dict[Place, TaskRow],
    changes: Changes,
    found: Examined,
) -> None:
    counts: dict[int, list[int]] = {}
    known: dict[int, int] = {}
    for one in stored.values():
        counts.setdefault(one.step, [0] * len(WORDS))[WORDS.index(one.verdict)] += 1
        known[one.step] = known.get(one.step, 0) + bool(one.outcome)
    steps = {one.step: one for one in workings.store.tasks.steps(row.no)}
    for step in counts.keys() | steps.keys() | changes.usage.keys():
        has = steps.get(step)
        if (list(has.verdicts) if has else []) != counts.get(step, [0] * len(WORDS)):
            found.note(f"{row.id} step {step}: counters {has}, rows say {counts.get(step)}")
        if (has.known if has else 0) != known.get(step, 0):
            found.note(f"{row.id} step {step}: {has} outcomes known, rows say {known.get(step)}")
        usage = changes.usage.get(step, UsageSum())
        if (has.usage if has else UsageSum()) != usage:
            found.note(f"{row.id} step {step}: usage {has}, attempts say {usage}")


def _records(
    workings: Workings,
    of: tuple[DatasetRow, Dag, Controls],
    changes: Changes,
    attempts: list[AttemptFact],
) -> Iterator[bytes]:
    row, dag, controls = of
    tried = {
        place: list(ones) for place, ones in groupby(attempts, key=lambda one: (one.step, one.job))
    }
    places = tried.keys() | {place for place, one in changes.rows.items() if one.outcome}
    wanted = {one.outcome for one in changes.rows.values() if one.outcome}
    outputs = workings.store.tasks.outcomes(wanted)
    for place in places:
        state = changes.rows.get(place) or implied_row(dag, controls, place)
        files = [file for file, _ in outputs.get(state.outcome, ())]
        standing = controls.standing(place)
        yield hashes.task_record(row.digest, state, standing, files, tried.get(place, ()))


def _examine_archive(workings: Workings, found: Examined) -> None:
    """Every merged bundle must lie in the archive under its own id, central's own in one chain."""
    chains: dict[bytes, list[tuple[int, str, str]]] = {}
    trust = workings.archive_trust()
    for row in workings.store.bundles.merged():
        path = workings.archive.path(row.id)
        try:
            with open_bundle(path, trust, audience=None, kinds=KINDS) as bundle:
                if bundle.id != row.id:
                    found.note(f"archive: {path} holds bundle {bundle.id}")
                if bundle.manifest.kind in CENTRALS_OWN:
                    link = (row.sequence, row.id, bundle.manifest.previous.hex())
                    chains.setdefault(row.stream, []).append(link)
        except BundleRefused as error:
            found.note(f"archive: {error.text()}")
    for stream, chain in chains.items():
        for (_, before, _), (number, _, previous) in pairwise(sorted(chain)):
            if previous != before:
                found.note(f"stream {stream.hex()}: {number} does not follow bundle {before}")


def _bundles(workings: Workings) -> dict[str, int]:
    counted = dict.fromkeys(("work", "result", "telemetry", "commit", "receipts", "parked"), 0)
    rejected = 0
    for kind, has_leases, outcome, count in workings.store.bundles.kinds():
        if outcome == "parked":
            counted["parked"] += count
        elif outcome == "refused":
            rejected += count
        elif kind == "work" and not has_leases:
            counted["receipts"] += count
        elif kind in counted:
            counted[kind] += count
    tallies = workings.store.bundles.tallies()
    duplicates = tallies.get("duplicate result", 0)
    return counted | {"duplicates": duplicates, "rejected": rejected + tallies.get("rejected", 0)}
