"""From the store to the planner and back: views of datasets, pins and files for what it chose."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace

from bundle.dataset.spec import Request
from bundle.ids import DatasetId
from bundle.limits import BUNDLE_BYTES_MAX, CHUNKS_MAX
from bundle.records.foreign import ForeignPins
from bundle.records.lease import Pinned
from bundle.records.rules import History
from bundle.wire.files import chunks_for
from central import access, foreign, histories, looking, teaching
from central.board import Board, Line
from central.candidates import candidates
from central.core import order, quotas
from central.core import plan as planner
from central.core import shards as cutter
from central.core.chain import Recovering
from central.core.dag import Dag
from central.core.facts import Place
from central.core.order import Room, Usage
from central.core.shards import Shard
from central.cosignatures import NO_DEMAND, Demand
from central.errors import ArchiveIncomplete
from central.looking import Look
from central.state.reading import Reading
from central.store.rows import DatasetRow, FileRow
from central.visit import Visit, quotas_of, spent_of
from central.workings import Workings

ROUNDS_MAX = 4  # in which what got less than it was allotted is made up for by others
# What a plan may bring into one bundle; beyond it the writer or the site's reader would refuse it.
BUNDLE_CHUNKS_MAX = CHUNKS_MAX * 3 // 4  # a file's row in the manifest takes up to 120 bytes
BUNDLE_FILES_BYTES_MAX = BUNDLE_BYTES_MAX // 2
LEASE_PINS_MAX = 100_000
BUNDLE_PINS_MAX = 500_000  # of tasks of others: each lease of who needs all of them repeats them
LACKING_MAX = 10_000  # tasks of other datasets without files, after which a look ends
AGAIN_US = 60_000_000  # until a dataset is looked at again whose archive lacks a bundle

_LOG = logging.getLogger(__name__)

Lost = list[tuple[DatasetRow, list[Place]]]


@dataclass(slots=True)
class Planned:
    """What a bundle takes from one dataset.

    `spent`: counted failures of its tasks so far; `tried`: what their retry rests on; `asks`: first
    requests that were learned; `foreign`: what each shard reads of other datasets; `cost_seen`:
    core-milliseconds of its tasks by those of their steps that ran; `durations`: for how long each
    shard is promised, milliseconds.
    """

    dataset: DatasetRow
    dag: Dag
    shards: list[Shard]
    spent: dict[Place, int] = field(default_factory=dict)
    tried: dict[Place, History] = field(default_factory=dict)
    asks: dict[int, Request] = field(default_factory=dict)
    pins: dict[Place, Pinned] = field(default_factory=dict)
    files: list[FileRow] = field(default_factory=list)
    foreign: list[tuple[ForeignPins, ...]] = field(default_factory=list)
    cost_seen: float = 0.0
    durations: list[int] = field(default_factory=list)

    def tasks_by_step(self) -> dict[int, int]:
        """Return how many tasks of each step it takes."""
        found: dict[int, int] = {}
        for shard in self.shards:
            for block in shard.blocks:
                for step in block.steps:
                    found[step] = found.get(step, 0) + len(block.jobs)
        return found

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
    board: Board | None = None,
    visit: Visit | None = None,
    recovering: Recovering | None = None,
) -> tuple[list[Planned], Lost]:
    """Return what to lease, whoever is furthest behind first, or what must be made anew before.

    It fits into one bundle; what does not waits for a later one. The second is not empty where
    tasks are done but their outputs, which others need now, lie neither here nor at the site that
    will run those: then nothing is planned.

    Args:
        workings: the central.
        tasks_max: how many tasks; one job more may be in it, never more than a quota allows.
        chunks_max: how many chunks the bundle may have.
        demand: which co-signatures the site demands, where there is no `visit`.
        board: all datasets, kept by who plans often.
        visit: what the site may get; without one, anything.
        recovering: what a restored central waits for, where there is no `visit`.
    """
    if visit is None:
        visit = Visit(tasks=tasks_max, demand=demand, recovering=recovering)
    filling = _Bundle(workings, board or Board(workings), visit, tasks_max, chunks_max)
    for _ in range(ROUNDS_MAX):
        if not filling.add_round():
            break
    set_durations(workings, filling.planned, visit)
    return ([], filling.lost) if filling.lost else (filling.planned, [])


class _Bundle:
    """A bundle being filled, round after round, from datasets that were not looked at yet."""

    def __init__(
        self, workings: Workings, board: Board, visit: Visit, tasks_max: int, chunks_max: int
    ) -> None:
        self._w, self._board, self._visit = workings, board, visit
        self._chunks_max = chunks_max
        self._now_us = workings.clock_us()
        self._looked: set[int] = set()
        self._lines = board.lines()
        told = workings.config.planner
        portion = max(told.shard_tasks_max, tasks_max // told.bundle_datasets_max)
        self._room = Room(
            tasks_max,
            visit.seen,
            visit.room.cost,
            visit.room.tasks,
            portion,
            told.bundle_datasets_max,
        )
        usage = {one.no: board.usage_of(one, self._now_us) for one in self._lines.values()}
        rows = ((one.group, one.user, usage[one.no]) for one in self._lines.values())
        self._usage_tree = Usage(board.weights, rows)
        self._candidates = candidates(workings, board, visit, self._now_us, usage)
        limits = quotas_of(workings)
        spent = spent_of(board, self._now_us) if limits.is_set else {}
        self._quota = quotas.left(limits, spent)
        self.planned: list[Planned] = []
        self.lost: Lost = []

    def add_round(self) -> bool:
        """Allot what is left and look at who got something; False where there was nobody."""
        if self._room.tasks <= 0 or self._room.datasets_max <= 0 or self.lost:
            return False
        found = [one for one in self._candidates if one.no not in self._looked]
        allotted = order.allot(found, self._usage_tree, self._room, self._quota)
        for no, tasks in allotted.items():
            self._looked.add(no)
            self._look(self._lines[no], tasks)
        return bool(allotted)

    def _look(self, line: Line, tasks: int) -> None:
        """See what of a dataset can go, take it, and count it against all that is left."""
        runs = self._board.runs(line, self._visit.site, self._visit.profile)
        space = _Space.beside(self.planned, self._chunks_max)
        look = Look(self._visit, runs, self._now_us)
        row = self._w.store.datasets.dataset_by_no(line.no)
        try:
            one, missing = _plan_fitting(self._w, row, tasks, space, look)
        except ArchiveIncomplete as error:  # others are leased meanwhile
            _LOG.error("a dataset can't be leased", extra={"reason": error.text()})
            line.barren[self._visit.site] = self._now_us + AGAIN_US
            return
        if missing:
            self.lost += missing
        elif one is not None:
            self._take(line, one)
        elif look.is_barren:  # else it only did not fit beside what the bundle has already
            line.barren[self._visit.site] = look.again_us

    def _take(self, line: Line, one: Planned) -> None:
        self.planned.append(one)
        by_step = one.tasks_by_step()
        one.cost_seen = sum(line.seen(step) * many for step, many in by_step.items())
        cost = sum(line.cost(step) * many for step, many in by_step.items())
        most = sum(line.most(step) * many for step, many in by_step.items())
        tasks = one.tasks()
        tree = self._usage_tree
        tree.groups[line.group] = tree.groups.get(line.group, 0.0) + cost
        of = (line.group, line.user)
        tree.users[of] = tree.users.get(of, 0.0) + cost
        for key in order.quota_keys(line.user, line.group):
            if key in self._quota:
                self._quota[key] -= tasks
        room = self._room
        self._room = replace(
            room,
            tasks=room.tasks - tasks,
            seen=room.seen - one.cost_seen,
            most=room.most - most,
            tasks_hard=room.tasks_hard - tasks,
            datasets_max=room.datasets_max - 1,
        )


def set_durations(workings: Workings, planned: list[Planned], visit: Visit) -> None:
    """Say for how long each shard is promised; those beyond what fits are fillers, for less."""
    default = int(workings.config.planner.lease_hours * 3_600_000)
    left = visit.fits
    for one in planned:
        tasks = one.tasks()
        each = one.cost_seen / tasks if tasks else 0.0
        steps = one.dag.dataset.steps
        for shard in one.shards:
            walltime_ms = max(steps[step].request.walltime_ms for step in shard.steps())
            is_filler = left <= 0 and not shard.needs
            duration_ms = visit.filler_ms if is_filler else visit.lease_ms
            one.durations.append(max(duration_ms, walltime_ms) if duration_ms else default)
            left -= each * block_tasks(shard)


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
        weights = [_weight(of) for of in one.foreign]
        told = zip(one.shards, weights, strict=True)
        pins = max((len(shard.outside) + of for shard, of in told), default=0)
        files_bytes = sum(file.size_bytes for file in one.files)
        fits = one.chunks() <= self.chunks and files_bytes <= self.files_bytes
        return fits and pins <= LEASE_PINS_MAX and sum(weights) <= BUNDLE_PINS_MAX


def _weight(several: tuple[ForeignPins, ...]) -> int:
    """Return how many pins of a lease those of other datasets count for."""
    return sum(len(one.tasks) * max(1, len(one.outputs)) for one in several)


def _plan_fitting(
    workings: Workings, row: DatasetRow, tasks_max: int, space: _Space, look: Look
) -> tuple[Planned | None, Lost]:
    """Plan less of a dataset until it fits: one that can't must not keep others from sites."""
    room, lacking = tasks_max, foreign.NOTHING
    while room > 0:
        one, missing = _plan_dataset(workings, row, room, look, lacking)
        if isinstance(missing, frozenset):  # of others, who alone may have those made again
            lacking |= missing
            look.again_us = look.now_us + AGAIN_US  # files may come without their dataset's stir
            if len(lacking) > LACKING_MAX:
                break
            continue
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
    workings: Workings, row: DatasetRow, room: int, look: Look, lacking: foreign.Lacking
) -> tuple[Planned | None, Lost | foreign.Lacking]:
    dag = workings.dag(row.digest)
    limit = workings.config.planner.shard_tasks_max
    needs = foreign.Needs(workings, dag, lacking) if dag.has_foreign else None
    view = looking.view(workings, row, dag, room, look, needs)
    chosen = planner.select(view, room, limit, strict=True)
    if not chosen.count():
        look.is_barren = True
        return None, []
    shards = cutter.cut(view, chosen, limit)
    spent = {place: one.failures for place, one in view.rows.items() if one.failures}
    known = (place for shard in shards for place, _ in shard.places() if place in view.rows)
    tried = histories.tried(workings, row, dag, list(known))
    steps = sorted({step for shard in shards for step in shard.steps()})
    planned = Planned(row, dag, shards, spent, tried, teaching.asks(workings, row, dag, steps))
    planned.foreign = [() for _ in shards]
    missing = _bring_outside(workings, planned)
    if missing or needs is None:
        return planned, [(row, missing)] if missing else []
    return planned, _bring_foreign(workings, planned, needs)


def _bring_foreign(
    workings: Workings, planned: Planned, needs: foreign.Needs
) -> Lost | foreign.Lacking:
    """Find pins and files of other datasets' tasks.

    Where files are lost, return what must be made anew: of the same owner's datasets the planner
    has that done; of another's the tasks are returned for which this dataset has to wait, and so
    where an edit there keeps them from travelling home.
    """
    read = foreign.read(needs, planned.shards)
    planned.foreign = read.pins
    digests = {digest for files in read.files.values() for digest in files}
    found = workings.store.tasks.files(digests)
    known = {one.digest for one in planned.files}
    planned.files += [one for digest, one in found.items() if digest not in known]
    lost = {key for key, files in read.files.items() if any(one not in found for one in files)}
    if read.unknown or not lost:
        return read.unknown or []
    store = workings.store
    owner = access.of(store, planned.dataset).owner
    by_dataset: dict[DatasetId, list[Place]] = {}
    for dataset, *place in sorted(lost):
        by_dataset.setdefault(dataset, []).append((place[0], place[1]))
    rows = {name: read.others[name].row for name in by_dataset}
    # What does not travel home would be lost again, and again.
    comes = all(foreign.travels(read.others[name].dag, step) for name, step, _ in lost)
    if comes and all(access.of(store, row).owner == owner for row in rows.values()):
        return [(rows[name], places) for name, places in by_dataset.items()]
    return frozenset(lost)


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
