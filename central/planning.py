"""From the store to the planner and back: views of datasets, pins and files for what it chose."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field

from bundle.dataset.spec import Request
from bundle.intervals import IntervalSet
from bundle.limits import BUNDLE_BYTES_MAX, CHUNKS_MAX
from bundle.records.lease import Pinned
from bundle.records.rules import History
from bundle.wire.files import chunks_for
from central import histories, teaching
from central.core import plan as planner
from central.core import shards as cutter
from central.core.chain import Recovering
from central.core.dag import Dag
from central.core.facts import Place, Verdict
from central.core.plan import View
from central.core.shards import Shard
from central.cosignatures import NO_DEMAND, Demand
from central.state.reading import Reading
from central.store.rows import DatasetRow, FileRow
from central.workings import Workings

BEGUN_PLACES_MAX = 200_000  # rows of begun jobs that one plan looks at
# What a plan may bring into one bundle; beyond it the writer or the site's reader would refuse it.
BUNDLE_CHUNKS_MAX = CHUNKS_MAX * 3 // 4  # a file's row in the manifest takes up to 120 bytes
BUNDLE_FILES_BYTES_MAX = BUNDLE_BYTES_MAX // 2
LEASE_PINS_MAX = 100_000
FAR_US = 2**62
ENDED = (Verdict.DONE, Verdict.FAILED, Verdict.CANCELLED, Verdict.REMOVED)

_LOG = logging.getLogger(__name__)

Lost = list[tuple[DatasetRow, list[Place]]]


@dataclass(slots=True)
class Planned:
    """What a bundle takes from one dataset.

    `spent`: counted failures of its tasks so far; `tried`: what their retry rests on; `asks`: first
    requests that were learned.
    """

    dataset: DatasetRow
    dag: Dag
    shards: list[Shard]
    spent: dict[Place, int] = field(default_factory=dict)
    tried: dict[Place, History] = field(default_factory=dict)
    asks: dict[int, Request] = field(default_factory=dict)
    pins: dict[Place, Pinned] = field(default_factory=dict)
    files: list[FileRow] = field(default_factory=list)

    def tasks(self) -> int:
        """Return how many tasks it takes."""
        return sum(block_tasks(shard) for shard in self.shards)

    def chunks(self) -> int:
        """Return how many chunks of a bundle it takes."""
        return 1 + len(self.shards) + sum(chunks_for(file.size_bytes) for file in self.files)


def plan(
    workings: Workings,
    tasks_max: int,
    chunks_max: int = BUNDLE_CHUNKS_MAX,
    *,
    demand: Demand = NO_DEMAND,
    recovering: Recovering | None = None,
) -> tuple[list[Planned], Lost]:
    """Return what to lease, oldest dataset first, or what must be made anew before that.

    It fits into one bundle; what does not waits for a later one. The second is not empty where
    tasks are done but their outputs, which others need now, lie neither here nor at the site that
    will run those: then nothing is planned.
    """
    planned: list[Planned] = []
    lost: Lost = []
    room = tasks_max
    for row in workings.store.datasets.datasets():
        if room <= 0:
            break
        if not demand.is_met(workings, row.digest):
            continue
        if recovering is not None and recovering.withholds(row.submitted_us, workings.clock_us()):
            continue  # its tasks may be out: the central before this one may have leased them
        one, missing = _plan_fitting(workings, row, room, _Space.beside(planned, chunks_max))
        if missing:
            lost.append((row, missing))
        elif one is not None:
            planned.append(one)
            room -= one.tasks()
    return ([], lost) if lost else (planned, lost)


@dataclass(frozen=True, slots=True)
class _Space:
    """What is left of a bundle."""

    chunks: int
    files_bytes: int

    @classmethod
    def beside(cls, planned: list[Planned], chunks_max: int) -> _Space:
        files_bytes = sum(file.size_bytes for one in planned for file in one.files)
        chunks = chunks_max - sum(one.chunks() for one in planned)
        return cls(chunks, BUNDLE_FILES_BYTES_MAX - files_bytes)

    def holds(self, one: Planned) -> bool:
        pins = max((len(shard.outside) for shard in one.shards), default=0)
        files_bytes = sum(file.size_bytes for file in one.files)
        fits = one.chunks() <= self.chunks and files_bytes <= self.files_bytes
        return fits and pins <= LEASE_PINS_MAX


def _plan_fitting(
    workings: Workings, row: DatasetRow, tasks_max: int, space: _Space
) -> tuple[Planned | None, list[Place]]:
    """Plan less of a dataset until it fits: one that can't must not keep others from sites."""
    room = tasks_max
    while room > 0:
        one, missing = _plan_dataset(workings, row, room)
        if one is None or missing or space.holds(one):
            return one, missing
        room = min(room, one.tasks()) // 2
    about = {"dataset": row.id, **asdict(space)}
    _LOG.warning("not one task fits with its inputs into what is left of a bundle", extra=about)
    return None, []


def block_tasks(shard: Shard) -> int:
    """Return how many tasks a shard has."""
    return sum(len(block.jobs) * len(block.steps) for block in shard.blocks)


def _plan_dataset(
    workings: Workings, row: DatasetRow, room: int
) -> tuple[Planned | None, list[Place]]:
    counts = workings.store.tasks.steps(row.no)
    words = tuple(Verdict)
    ended = sum(one.verdicts[words.index(word)] for one in counts for word in ENDED)
    if ended >= row.tasks:
        return None, []
    dag = workings.dag(row.digest)
    done = {one.step: one.verdicts[words.index(Verdict.DONE)] for one in counts}
    view = _view(workings, row, dag, done, room)
    limit = workings.config.planner.shard_tasks_max
    chosen = planner.select(view, room, limit)
    if not chosen.count():
        return None, []
    shards = cutter.cut(view, chosen, limit)
    spent = {place: one.failures for place, one in view.rows.items() if one.failures}
    known = (place for shard in shards for place, _ in shard.places() if place in view.rows)
    tried = histories.tried(workings, row, dag, list(known))
    steps = sorted({step for shard in shards for step in shard.steps()})
    planned = Planned(row, dag, shards, spent, tried, teaching.asks(workings, row, dag, steps))
    return planned, _bring_outside(workings, planned)


def _view(workings: Workings, row: DatasetRow, dag: Dag, done: dict[int, int], room: int) -> View:
    reading = Reading(workings, row)
    ready = reading.ready(room)
    jobs = sorted({job for step, job in ready if not dag.whole[step]})
    begun = tuple(jobs[: max(1, BEGUN_PLACES_MAX // row.steps)])
    rows = {one.place: one for one in reading.rows(planner.looked_at(dag, begun))}
    fresh = IntervalSet(((0, row.jobs),)) - row.touched
    tried = histories.tried(workings, row, dag, histories.failed(rows.values()))
    waits = histories.due(row.id, dag, tried, workings.clock_us())
    if waits:
        workings.due_us = min(workings.due_us or FAR_US, *waits.values())
    return View(dag, workings.controls(row), fresh, begun, rows, done, frozenset(waits))


def _bring_outside(workings: Workings, planned: Planned) -> list[Place]:
    """Find pins and files for parents that were done before; return those whose files are lost."""
    outside = sorted({place for shard in planned.shards for place in shard.outside})
    if not outside:
        return []
    dataset = planned.dataset
    built = Reading(workings, dataset).built(outside)
    planned.pins = {
        (step, job): Pinned(job, step, one.generation, one.attempt, one.outputs)
        for (step, job), one in built.items()
    }
    wanted = _wanted_files(planned)
    needed = {
        place: [planned.pins[place].outputs[number] for number in numbers]
        for place, numbers in wanted.items()
    }
    digests = {file for files in needed.values() for file, _ in files}
    found = workings.store.tasks.files(digests)
    planned.files = list(found.values())
    return [place for place, files in needed.items() if any(file not in found for file, _ in files)]


def _wanted_files(planned: Planned) -> dict[Place, set[int]]:
    """Return which outputs (by their number) of outside parents the shards read."""
    steps = planned.dag.dataset.steps
    wanted: dict[Place, set[int]] = {}
    for shard in planned.shards:
        reads: dict[int, set[int]] = {}
        for step in shard.steps():
            for one in steps[step].inputs:
                reads.setdefault(one.step, set()).add(one.output)
        for place in shard.outside:
            if place[0] in reads:
                wanted.setdefault(place, set()).update(reads[place[0]])
    return wanted
