"""A dataset's facts in memory: the smallest real keeper of facts that a merge can work with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from bundle.digest import digest
from bundle.ids import DatasetId, Epoch
from central.core.changes import Changes, UsageSum, implied_row
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import AttemptFact, Control, Pin, Place, TaskRow, Verdict
from central.core.merge import Merge
from central.core.source import StepCounts

DATASET = DatasetId("a" * 26)
EPOCH = Epoch(1, b"n" * 16)


class Memory:
    """Keeps what merges change; a `Source` for the next one."""

    def __init__(self, dag: Dag, edited: Iterable[Dag] = ()) -> None:
        self.dag = dag
        self.documents = {one.digest: one for one in (dag, *edited)}
        self.rows: dict[Place, TaskRow] = {}
        self.attempts: list[AttemptFact] = []
        self.pins: list[Pin] = []
        self.controls: list[Control] = []
        self.counts: dict[tuple[int, Verdict], int] = {}
        self.known: dict[int, int] = {}
        self.usage: dict[int, UsageSum] = {}

    @property
    def joined(self) -> Controls:
        """All controls, with how many tasks there are now."""
        return Controls(self.controls, self.dag.tasks)

    def load_rows(self, places: Collection[Place]) -> Iterable[TaskRow]:
        return [self.rows[place] for place in places if place in self.rows]

    def load_attempts(self, places: Collection[Place]) -> Iterable[AttemptFact]:
        return [one for one in self.attempts if one.place in places]

    def load_pins(self, places: Collection[Place]) -> Iterable[Pin]:
        return [one for one in self.pins if (one.step, one.job) in places]

    def load_outcomes(self, step: int, tasks: range) -> Iterable[tuple[int, bytes]]:
        rows = [row for row in self.rows.values() if row.step == step and row.job in tasks]
        return [(row.job, row.outcome) for row in rows if row.outcome]

    def count_done(self, step: int, tasks: range) -> int:
        rows = [self.rows.get((step, task)) for task in tasks]
        return sum(row is not None and row.verdict is Verdict.DONE for row in rows)

    def load_counts(self, steps: Collection[int]) -> Mapping[int, StepCounts]:
        return {
            step: StepCounts(
                {word: self.counts.get((step, word), 0) for word in Verdict},
                self.known.get(step, 0),
            )
            for step in steps
        }

    def join(
        self,
        attempts: Iterable[AttemptFact] = (),
        pins: Iterable[Pin] = (),
        controls: Iterable[Control] = (),
        leases: Mapping[Place, tuple[int, int]] | None = None,
        commit: int | None = None,
    ) -> Changes:
        """Merge facts and keep what changes; with a commit number as a live central."""
        new = [one for one in controls if one not in self.controls]
        self.controls += new
        had = self.dag.dataset.jobs
        self.dag = self.documents[Controls(self.controls).document or self.dag.digest]
        live = None if commit is None else (EPOCH, commit)
        merge = Merge(DATASET, self.dag, self.joined, self, live)
        for control in new:
            if control.regions is None:
                below = (child for one in self.rows for child in self.dag.children_of(one))
                merge.touch({*self.rows, *self._named(), *below})
            for step, jobs in control.regions or ():
                merge.touch((step, job) for job in jobs)
        # Jobs that are new, or here again, were told nothing of the steps per dataset.
        since_jobs = range(had, self.dag.dataset.jobs)
        each = [step for step, whole in enumerate(self.dag.whole) if not whole and since_jobs]
        merge.touch((step, job) for step in each for job in since_jobs)
        merge.add_attempts(attempts)
        merge.add_pins(pins)
        merge.set_leases(leases or {})
        changes = merge.settle()
        self._keep(changes)
        flipped = set(changes.flipped)
        while flipped:  # every job of a step per job that needs a step per dataset
            again = Merge(DATASET, self.dag, self.joined, self, live)
            for step in flipped:
                for child in self.dag.children[step]:
                    if not self.dag.whole[child]:
                        again.touch((child, job) for job in range(self.dag.dataset.jobs))
                        again.touch(place for place in self.rows if place[0] == child)
            more = again.settle()
            self._keep(more)
            flipped = set(more.flipped)
        return changes

    def _named(self) -> Iterable[Place]:
        """The tasks that controls name: what a control of all implies may not hold for them."""
        for control in self.controls:
            for step, jobs in control.regions or ():
                yield from ((step, job) for job in jobs)

    def _keep(self, changes: Changes) -> None:
        self.rows.update(changes.rows)
        self.attempts += changes.attempts
        self.pins += changes.pins
        for key, number in changes.counts.items():
            self.counts[key] = self.counts.get(key, 0) + number
        for step, number in changes.known.items():
            self.known[step] = self.known.get(step, 0) + number
        for step, used in changes.usage.items():
            total = self.usage.setdefault(step, UsageSum())
            total.attempts += used.attempts
            total.wall_ms += used.wall_ms

    def row(self, place: Place) -> TaskRow:
        """The row of a task, implied where it has none."""
        return self.rows.get(place) or implied_row(self.dag, self.joined, place)

    def verdict(self, step: int, job: int) -> Verdict:
        return self.row((step, job)).verdict

    def check(self) -> None:
        """Invariant I1: counters are those of the rows, and buckets add up to all tasks."""
        for step in range(len(self.dag.whole)):
            rows = [row for row in self.rows.values() if row.step == step]
            for word in Verdict:
                assert self.counts.get((step, word), 0) == sum(r.verdict is word for r in rows)
            there = [row for row in rows if row.verdict is not Verdict.REMOVED]
            assert len(there) <= self.dag.dataset.tasks_of(step)

    def hash(self) -> str:
        """One digest over all that is known."""
        controls = self.joined
        places = {one.place for one in self.attempts} | {
            place for place, row in self.rows.items() if row.outcome
        }
        known = [
            (self.row(place), controls.standing(place), sorted(map(repr, self._at(place))))
            for place in sorted(places)
        ]
        return digest("test", repr((controls.whole, known)).encode()).hex()

    def _at(self, place: Place) -> list[AttemptFact]:
        return [one for one in self.attempts if one.place == place]
