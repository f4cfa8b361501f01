"""The board: of every dataset the few facts by which the planner orders them, kept in memory.

Only what changed is read again: whoever merges names the datasets it stirred. So planning a bundle
costs a little arithmetic per dataset, and a document is decoded where its dataset is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bundle.dataset.asks import Account
from bundle.dataset.containers import required
from bundle.dataset.foreign import Which
from bundle.ids import DatasetId, SiteName
from bundle.records.profile import Profile
from central import access, users
from central.core import matching, shares
from central.core.controls import Controls, Standing
from central.core.dag import Dag
from central.core.facts import Verdict
from central.core.matching import Needs
from central.core.plan import prefix_steps
from central.core.shares import Weights
from central.lately import Lately
from central.store.protocol import Store
from central.store.rows import DatasetRow, StepRow
from central.workings import Workings

WORDS = tuple(Verdict)
ENDED = (Verdict.DONE, Verdict.FAILED, Verdict.CANCELLED)
SAMPLE_MAX = 32
_AT = {word: number for number, word in enumerate(WORDS)}


@dataclass(frozen=True, slots=True)
class Runs:
    """Which steps of a document may run at a site; `prefix` are those of a fresh job."""

    steps: frozenset[int]
    prefix: tuple[int, ...]
    unit: int  # tasks of one whole job, at most
    sample: tuple[int, ...]  # some of them, by which a task's cost is estimated
    most: float  # core-milliseconds that any of their tasks may use


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a document the planner wants to know at any time."""

    account: Account
    asks: tuple[Needs, ...]  # by step
    cores: tuple[float, ...]  # by step
    order: tuple[int, ...]
    whole: tuple[bool, ...]
    needs: tuple[tuple[int, ...], ...]
    roots: frozenset[int]  # steps per dataset that need nothing
    gathered: tuple[tuple[int, int], ...]  # steps over several jobs, and how many tasks they have
    names: tuple[str, ...]
    others: frozenset[tuple[DatasetId, str, Which]]  # steps of other datasets that it needs


@dataclass(slots=True)
class Line:
    """One dataset. Numbers by step are kept where they are not 0."""

    no: int
    id: DatasetId
    digest: bytes
    jobs: int
    tasks: int
    submitted_us: int
    user: str
    shape: Shape
    standing: Standing
    fresh: int = 0  # jobs that nothing happened to
    ended: int = 0
    ready: dict[int, int] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)
    leased: dict[int, int] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)  # tasks that something happened to
    wall_ms: dict[int, float] = field(default_factory=dict)  # mean of a step's attempts
    delivered_ms: float = 0.0  # core-milliseconds of all attempts that count
    barren: dict[SiteName, int] = field(default_factory=dict)  # looked at in vain, until when

    @property
    def group(self) -> str:
        """Who is charged besides the user."""
        return self.shape.account.group

    @property
    def is_open(self) -> bool:
        """Whether anything of it may still be leased."""
        return not self.standing.removed and self.ended < self.tasks

    def tasks_out(self) -> int:
        """Return how many of its tasks are leased."""
        return sum(self.leased.values())

    def promised_ms(self) -> float:
        """Return the expected core-milliseconds of what is leased."""
        return sum(self.cost(step) * many for step, many in self.leased.items())

    def cost(self, step: int) -> float:
        """Return expected core-milliseconds of a task: as seen, else half of what it asks for."""
        seen = self.seen(step)
        return seen if seen else self.most(step) / 2

    def seen(self, step: int) -> float:
        """Return core-milliseconds of a task by those that ran, 0 where none did."""
        return self.wall_ms.get(step, 0.0) * self.shape.cores[step]

    def most(self, step: int) -> float:
        """Return the core-milliseconds that a task may use at most."""
        return self.shape.asks[step].request.walltime_ms * self.shape.cores[step]

    def takeable(self, runs: Runs) -> int:
        """Return how many tasks a site could take, by these facts alone: a bound."""
        found = sum(many for step, many in self.ready.items() if step in runs.steps)
        if not (self.standing.suspended or self.standing.cancelled):
            found += self.fresh * len(runs.prefix)
        found += sum(1 for step in self.shape.roots & runs.steps if not self.rows.get(step))
        if not found:  # what waits for parents only gets a row, and is ready, when they are done
            return 0
        found += sum(many for step, many in self.held.items() if step in runs.steps)
        return found + sum(
            tasks - self.rows.get(step, 0)
            for step, tasks in self.shape.gathered
            if step in runs.steps
        )


class Board:
    """All datasets as the planner sees them; used under the authority's lock."""

    def __init__(self, workings: Workings, lately: Lately | None = None) -> None:
        """Read nothing yet."""
        self._w = workings
        self.lately = Lately(workings) if lately is None else lately
        self.weights = weights(workings)
        self._lines: dict[int, Line] = {}
        self._shapes: dict[bytes, Shape] = {}
        self._runs: dict[SiteName, tuple[Profile, dict[bytes, Runs]]] = {}
        self._needing: set[int] = set()  # datasets that need others
        self._is_read = False

    def lines(self) -> Mapping[int, Line]:
        """Return all datasets by number, as they are now."""
        store, now_us = self._w.store, self._w.clock_us()
        stirred = frozenset(self._w.stirred)
        if not self._is_read or self._w.is_all_stirred:
            rows = store.datasets.datasets()
        else:
            # One may be missing: of a commit that failed nobody knows how it ended.
            rows = [row for no in sorted(stirred) if (row := _known(store, no)) is not None]
        if rows:
            numbers = [row.no for row in rows]
            steps, controls = store.tasks.steps_of(numbers), store.datasets.controls_of(numbers)
        moved: dict[DatasetId, tuple[Line | None, Line]] = {}
        for row in rows:
            standing = Controls(controls.get(row.no, ())).whole
            before = self._lines.get(row.no)
            line = self._lines[row.no] = self._line(row, standing, steps.get(row.no, []))
            moved[row.id] = (before, line)
            self._needing.discard(row.no)
            if line.shape.others:
                self._needing.add(row.no)
            self.lately.deliver(line.no, line.user, line.group, line.delivered_ms, now_us)
        self._look_again(moved)
        # Only now: where the database went away in the middle, all of it is read again.
        self._is_read, self._w.is_all_stirred = True, False
        self._w.stirred.difference_update(stirred)
        return self._lines

    def _look_again(self, moved: Mapping[DatasetId, tuple[Line | None, Line]]) -> None:
        """Let what was looked at in vain be looked at again where what it needs came about."""
        for no in self._needing:
            line = self._lines[no]
            for dataset, step, which in line.shape.others if line.barren else ():
                if dataset in moved and _may_be_met(step, which, *moved[dataset]):
                    line.barren.clear()
                    break

    def runs(self, line: Line, site: SiteName, profile: Profile) -> Runs:
        """Return which steps of a dataset may run at a site with such a profile."""
        known = self._runs.get(site)
        if known is None or known[0] != profile:
            known = self._runs[site] = (profile, {})
            for one in self._lines.values():
                one.barren.pop(site, None)
        found = known[1].get(line.digest)
        if found is None:
            found = known[1][line.digest] = self._match(line, profile)
        return found

    def waits_until(self, site: SiteName) -> int:
        """Return when the first of what was looked at in vain may go to a site; 0: none will."""
        return min((until for one in self if (until := one.barren.get(site, 0))), default=0)

    def usage_of(self, line: Line, now_us: int) -> float:
        """Return what a dataset was served lately and what is promised, core-milliseconds."""
        served = self.lately.delivered(line.no, now_us, self.weights.half_life_us)
        return served + line.promised_ms()

    def weight_of(self, line: Line, now_us: int) -> float:
        """Return a dataset's weight among those of its user."""
        told, account = self.weights, line.shape.account
        deadline_us = account.deadline_us
        now = shares.weight(account.priority, deadline_us, now_us, told.urgent_us)
        return now * shares.aged(line.submitted_us, now_us, told.age_doubles_us)

    def _match(self, line: Line, profile: Profile) -> Runs:
        shape = line.shape
        by_needs: dict[Needs, bool] = {}
        for one in shape.asks:
            if one not in by_needs:
                by_needs[one] = matching.fits(one, profile)
        steps = frozenset(n for n, one in enumerate(shape.asks) if by_needs[one])
        prefix = prefix_steps(shape, steps) if steps else ()
        per_job = sum(1 for step in steps if not shape.whole[step])
        sample = prefix or tuple(sorted(steps))
        sample = sample[:: -(-len(sample) // SAMPLE_MAX)] if sample else ()
        most = max((line.most(step) for step in steps), default=0.0)
        return Runs(steps, prefix, max(1, per_job), sample, most)

    def _shape(self, dag: Dag, digest: bytes) -> Shape:
        found = self._shapes.get(digest)
        if found is None:
            document = dag.dataset
            asks = tuple(Needs(step.request, required(step)) for step in document.steps)
            known = {one: one for one in asks}  # most steps ask for the same: one object for all
            gpu = self.weights.gpu_as_cores
            found = self._shapes[digest] = Shape(
                document.account,
                tuple(known[one] for one in asks),
                tuple(
                    shares.cores(one.request.cpu_milli, one.request.gpu_milli, gpu) for one in asks
                ),
                dag.order,
                dag.whole,
                dag.needs,
                frozenset(n for n, one in enumerate(dag.whole) if one and not dag.needs[n]),
                tuple((n, document.tasks_of(n)) for n, one in enumerate(dag.whole) if one),
                tuple(step.name for step in document.steps),
                frozenset(
                    (one.dataset, one.step, one.which)
                    for step in document.steps
                    for one in step.foreign
                ),
            )
        return found

    def _line(self, row: DatasetRow, standing: Standing, steps: Sequence[StepRow]) -> Line:
        known = self._shapes.get(row.digest)
        shape = known or self._shape(self._w.dag(row.digest), row.digest)
        line = Line(
            no=row.no,
            id=row.id,
            digest=row.digest,
            jobs=row.jobs,
            tasks=row.tasks,
            submitted_us=row.submitted_us,
            user=user_of(self._w, row, shape.account),
            shape=shape,
            standing=standing,
            fresh=row.fresh,
        )
        for one in steps:
            counts = one.verdicts
            line.ended += sum(counts[_AT[word]] for word in ENDED)  # removed ones are not its tasks
            for word, into in (
                (Verdict.READY, line.ready),
                (Verdict.HELD, line.held),
                (Verdict.LEASED, line.leased),
                (Verdict.DONE, line.done),
            ):
                if counts[_AT[word]]:
                    into[one.step] = counts[_AT[word]]
            line.rows[one.step] = sum(counts) - counts[_AT[Verdict.REMOVED]]
            if one.usage.attempts > 0:
                line.wall_ms[one.step] = one.usage.wall_ms / one.usage.attempts
                line.delivered_ms += one.usage.wall_ms * shape.cores[one.step]
        return line

    def __iter__(self) -> Iterator[Line]:
        """Yield the datasets as they were read last."""
        return iter(self._lines.values())


def _may_be_met(step: str, which: Which, before: Line | None, now: Line) -> bool:
    """Return whether more of a need of another dataset's step may be met now than before."""
    if before is None or before.digest != now.digest or before.standing != now.standing:
        return True
    if step not in now.shape.names:
        return False
    place = now.shape.names.index(step)
    done = now.done.get(place, 0)
    if which is Which.ALL and done < dict(now.shape.gathered).get(place, now.jobs):
        return False
    return done != before.done.get(place, 0)


def user_of(workings: Workings, row: DatasetRow, account: Account) -> str:
    """Return who is charged: the signer, else the user of the document, else the owner."""
    key = workings.store.datasets.submitter(row.no)
    if key:
        return users.name_of(workings, key)
    return account.user or access.of(workings.store, row).owner


def weights(workings: Workings) -> Weights:
    """Return the configured shares."""
    told = workings.config.shares
    return Weights(
        groups=told.groups,
        users=told.users,
        half_life_us=int(told.half_life_hours * 3_600_000_000),
        gpu_as_cores=told.gpu_as_cores,
        urgent_us=int(told.urgent_hours * 3_600_000_000),
        age_doubles_us=int(told.age_doubles_hours * 3_600_000_000),
    )


def _known(store: Store, no: int) -> DatasetRow | None:
    try:
        return store.datasets.dataset_by_no(no)
    except LookupError:
        return None
