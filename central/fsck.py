"""fsck: everything made again from the archive; it must match what the database says to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from bundle import canonical
from bundle.digest import digest
from bundle.errors import PulkError
from bundle.intervals import IntervalSet
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import CENTRALS_OWN
from bundle.wire.read import open_bundle
from central import config as configs
from central import teaching
from central.absorb import KINDS
from central.archive import open_archive
from central.core import state_hash as hashes
from central.core.changes import UsageSum, implied_row
from central.core.facts import Verdict
from central.home import Home, NoCentral
from central.replay import replayed
from central.state.examining import Examination
from central.state.reading import Reading
from central.store.opening import is_made, open_store
from central.store.rows import DatasetRow, SegmentRow, StepRow
from central.workings import Workings, new_epoch

PROBLEMS_MAX = 100
SEGMENTS_AT_ONCE = 10_000
WORDS = tuple(Verdict)
NO_JOBS = IntervalSet()

Spans = dict[Verdict, list[tuple[int, int, int]]]


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
    """Compare database and archive of a central that nobody changes meanwhile.

    Raises NoCentral, WrongSchema, DatabaseBusy.
    """
    config = configs.load(home.config)
    if not is_made(config, home):
        raise NoCentral(where=str(home.root), missing=home.database.name)
    store = open_store(config, home)
    try:
        archive = open_archive(home, config)
        workings = Workings(home, config, store, archive, None, new_epoch(0), lambda: 0)
        with store.transaction():
            return examine(workings)
    finally:
        store.close()


def examine(workings: Workings, *, again: bool = True) -> dict[str, Any]:
    """Return what `pulk central fsck` prints.

    Args:
        workings: the central.
        again: make everything again and compare; False where it was made just now.
    """
    found = Examined()
    found.problems += workings.store.check()
    rows = workings.store.datasets.datasets()
    _examine_archive(workings, found)
    if again:
        with replayed(workings) as made:
            _compare(workings, made, found)
    for row in rows:
        try:
            for problem in Examination(workings, row).problems():
                found.note(f"dataset {row.id} {problem}")
            _summarise(workings, row, found)
        except PulkError as error:
            found.note(f"dataset {row.id}: {error.text()}")
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


def _compare(workings: Workings, made: Workings, found: Examined) -> None:
    """Compare every dataset with what the archive alone makes of it."""
    rows = {row.id: row for row in workings.store.datasets.datasets()}
    others = {row.id: row for row in made.store.datasets.datasets()}
    for dataset in sorted(rows.keys() ^ others.keys()):
        found.note(f"dataset {dataset}: only in the {'database' if dataset in rows else 'archive'}")
    for dataset in sorted(rows.keys() & others.keys()):
        try:
            _compare_dataset((workings, rows[dataset]), (made, others[dataset]), found)
        except PulkError as error:
            found.note(f"dataset {dataset}: {error.text()}")


def _compare_dataset(
    has: tuple[Workings, DatasetRow], should: tuple[Workings, DatasetRow], found: Examined
) -> None:
    name = has[1].id
    if has[1].digest != should[1].digest:
        ours_, theirs_ = has[1].digest.hex(), should[1].digest.hex()
        found.note(f"{name}: its document is {ours_}, should be {theirs_}")
        return
    if set(_told(*has)) != set(_told(*should)):
        found.note(f"{name}: its segments are not those of the archive")
    if _pins(*has) != _pins(*should):
        found.note(f"{name}: its pins are not those of the archive")
    ours, theirs = _spans(*has), _spans(*should)
    _compare_verdicts((has, ours), (should, theirs), found)
    _compare_counters(has, should, ours, found)
    for problem in teaching.problems(has[0], should[0], has[1]):
        found.note(problem)


def _compare_verdicts(
    has: tuple[tuple[Workings, DatasetRow], Spans],
    should: tuple[tuple[Workings, DatasetRow], Spans],
    found: Examined,
) -> None:
    """Compare where tasks stand; one without a trace stands as the config implies.

    A child keeps a trace of having been ready for a moment, and whether it was depends on what came
    first: here a pin is made with the success that it decides on, a replay reads it after that.
    What needs nothing must have its trace alike, for the planner looks for those.
    """
    (workings, row), ours = has[0], _jobs(has[1])
    theirs = _jobs(should[1])
    for step, needs in enumerate(workings.dag(row.digest).needs):
        one, other = ours.get(step, {}), theirs.get(step, {})
        if needs:
            one, other = _inside(one, row.jobs), _inside(other, row.jobs)
            traced, others = _all_of(one), _all_of(other)
            one = _traced(has[0], step, one, others - traced)
            other = _traced(should[0], step, other, traced - others)
        for word in WORDS:
            mine, its = one.get(word, NO_JOBS), other.get(word, NO_JOBS)
            for what, jobs in (("are", mine - its), ("should be", its - mine)):
                for first, past in jobs.spans[:PROBLEMS_MAX]:
                    found.note(f"{row.id} step {step}: jobs {first} to {past - 1} {what} {word}")


def _jobs(spans: Spans) -> dict[int, dict[Verdict, IntervalSet]]:
    """Return jobs by step and verdict."""
    found: dict[int, dict[Verdict, list[tuple[int, int]]]] = {}
    for word, several in spans.items():
        for step, first, count in several:
            found.setdefault(step, {}).setdefault(word, []).append((first, first + count))
    return {
        step: {word: IntervalSet.spanning(jobs) for word, jobs in by_word.items()}
        for step, by_word in found.items()
    }


def _inside(by_word: dict[Verdict, IntervalSet], jobs: int) -> dict[Verdict, IntervalSet]:
    """Return jobs by verdict without those that a truncation dropped."""
    return {word: several.within(0, jobs) for word, several in by_word.items()}


def _all_of(by_word: dict[Verdict, IntervalSet]) -> IntervalSet:
    return IntervalSet.spanning(span for jobs in by_word.values() for span in jobs.spans)


def _traced(
    of: tuple[Workings, DatasetRow],
    step: int,
    by_word: dict[Verdict, IntervalSet],
    more: IntervalSet,
) -> dict[Verdict, IntervalSet]:
    """Return jobs by verdict with those added of which a step has no trace."""
    workings, row = of
    word = implied_row(workings.dag(row.digest), workings.controls(row), (step, 0)).verdict
    return by_word | {word: by_word.get(word, NO_JOBS) | more}


def _compare_counters(
    has: tuple[Workings, DatasetRow],
    should: tuple[Workings, DatasetRow],
    spans: Spans,
    found: Examined,
) -> None:
    ours = {row.step: row for row in has[0].store.tasks.steps(has[1].no)}
    theirs = {row.step: row for row in should[0].store.tasks.steps(should[1].no)}
    counted: dict[int, list[int]] = {}
    for place, word in enumerate(WORDS):
        for step, _, count in spans[word]:
            counted.setdefault(step, [0] * len(WORDS))[place] += count
    nothing = (0,) * len(WORDS)
    for step in sorted(ours.keys() | theirs.keys() | counted.keys()):
        one, other = ours.get(step), theirs.get(step)
        numbers = tuple(counted.get(step, nothing))
        if (one.verdicts if one else nothing) != numbers:
            found.note(f"{has[1].id} step {step}: counters {one}, its tasks say {numbers}")
        if _sums(one) != _sums(other):
            found.note(f"{has[1].id} step {step}: usage {one}, the archive says {other}")


def _sums(row: StepRow | None) -> tuple[int, UsageSum]:
    return (row.known, row.usage) if row else (0, UsageSum())


def _summarise(workings: Workings, row: DatasetRow, found: Examined) -> None:
    """Take a dataset's record for the state hash, and its sums."""
    spans = _spans(workings, row)
    found.records.append(
        hashes.dataset_record(
            (row.id, row.digest, row.jobs),
            workings.controls(row),
            (one.digest for one in _segments(workings, row)),
            workings.store.tasks.every_pin(row.no),
            {word: spans[word] for word in hashes.ENDED},
        )
    )
    for step in workings.store.tasks.steps(row.no):
        found.attempts += step.usage.attempts
        found.wall_ms += step.usage.wall_ms
    done: dict[str, list[list[int]]] = {}
    for number, first, count in spans[Verdict.DONE]:
        done.setdefault(str(number), []).append([first, count])
    found.done[row.id] = done


def _segments(workings: Workings, row: DatasetRow) -> Iterator[SegmentRow]:
    after = 0
    while some := workings.store.segments.after(row.no, after, SEGMENTS_AT_ONCE):
        yield from some
        after = some[-1].no


def _told(workings: Workings, row: DatasetRow) -> Iterator[bytes]:
    """Yield a digest over what the index says of each segment, its own numbers aside."""
    for one in _segments(workings, row):
        said = [one.digest, one.place, one.pilot_run, one.batch_id, *one[7:14], sorted(one.spans)]
        yield digest("segment-row", canonical.encode(said))


def _pins(workings: Workings, row: DatasetRow) -> set[tuple[int, int, int, bytes]]:
    pins = workings.store.tasks.every_pin(row.no)
    return {(pin.step, pin.job, pin.generation, pin.outcome) for pin in pins}


def _spans(workings: Workings, row: DatasetRow) -> Spans:
    """Return the tasks that facts name by their verdicts."""
    reading = Reading(workings, row)
    return {word: reading.spans(word) for word in WORDS}


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
