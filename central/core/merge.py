"""The merge: facts join by set union, touched tasks are judged again, what changed is told.

A change of a task's outcome, or of its being done, reaches its children, level by level, so each
task is judged once. What lies in the store is asked for through `Source`, many tasks at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush

from bundle.digest import digest
from bundle.ids import DatasetId, Epoch
from central.core import verdict as verdicts
from central.core.changes import Changes, UsageSum, implied_row, is_unbalanced
from central.core.controls import Controls, Standing
from central.core.dag import Dag
from central.core.facts import AttemptFact, Pin, Place, TaskRow, Verdict
from central.core.source import Source
from central.core.verdict import Judgement, TaskFacts
from central.errors import Unbalanced

LEASED_FOR_NOW_US = 1  # a stored verdict doesn't depend on the clock: a row's lease is live


class Merge:
    """One join of new facts into the known ones of a dataset."""

    def __init__(
        self,
        dataset: DatasetId,
        dag: Dag,
        controls: Controls,
        source: Source,
        commit: tuple[Epoch, int] | None = None,
    ) -> None:
        """Start from what `source` holds.

        Args:
            dataset: its id, for names of attempts.
            dag: its document.
            controls: all its controls, those included that are new with this merge.
            source: what is stored.
            commit: where central's pins go; None where it replays and makes none of its own.
        """
        self._dataset, self.dag, self._controls, self._source = dataset, dag, controls, source
        self._commit = commit
        self._forced: set[Place] = set()
        self._rows: dict[Place, TaskRow | None] = {}
        self._attempts: dict[Place, list[AttemptFact]] = {}
        self._pins: dict[Place, list[Pin]] = {}
        self._counts: dict[int, dict[Verdict, int]] = {}
        self._known: dict[int, int] = {}
        self._leases: dict[Place, int] = {}
        self._fan_in: dict[tuple[int, int, int], bytes] = {}
        self._pending: dict[int, set[Place]] = {}
        self._levels: list[int] = []
        self.changes = Changes()

    def add_attempts(self, facts: Iterable[AttemptFact]) -> None:
        """Join attempts; those that are known already change nothing."""
        by_place: dict[Place, list[AttemptFact]] = {}
        for one in facts:
            by_place.setdefault((one.step, one.job), []).append(one)
        self._want_rows(by_place)
        self._want_facts(by_place)
        for place, arrived in by_place.items():
            self._join(place, arrived)
        self._forced.update(by_place)  # facts are looked for where there is a row
        self.touch(by_place)

    def add_pins(self, pins: Iterable[Pin]) -> None:
        """Join pins."""
        arrived = list(pins)
        places = {(one.step, one.job) for one in arrived}
        self._want_rows(places)
        self._want_facts(places)
        for pin in arrived:
            known = self._pins.setdefault((pin.step, pin.job), [])
            if pin not in known:
                known.append(pin)
                self.changes.pins.append(pin)
        self._forced.update(places)
        self.touch(places)

    def set_leases(self, leases: Mapping[Place, tuple[int, int]]) -> None:
        """Note live leases: (lease's number, generation); number 0 is none."""
        for place, (lease, generation) in leases.items():
            if not lease or generation == self._controls.standing(place).generation:
                self._leases[place] = lease
        self.touch(leases)

    def touch(self, places: Iterable[Place]) -> None:
        """Have tasks judged again."""
        levels, pending = self.dag.levels, self._pending
        for place in places:
            level = levels[place[0]]
            if level not in pending:
                pending[level] = set()
                heappush(self._levels, level)
            pending[level].add(place)

    def facts(self, place: Place) -> tuple[list[AttemptFact], list[Pin]]:
        """Return all attempts at a task that were loaded or joined, and its pins."""
        return self._attempts.get(place, []), self._pins.get(place, [])

    def row(self, place: Place) -> TaskRow:
        """Return the row of a task as it was judged last, or as the config implies it."""
        return self._rows.get(place) or self._implied(place)

    def settle(self) -> Changes:
        """Judge what was touched, and what that reaches; return all that changed since last time.

        A step per dataset that becomes done, or not, is told: its children per job are the
        caller's to touch, as far as it does not judge them itself.
        """
        touched = set().union(*self._pending.values()) if self._pending else set()
        self._want_family(touched)
        while self._levels:
            level = heappop(self._levels)
            places = self._pending.pop(level)
            self._want_family(places, children=False)
            self._want_counts(place[0] for place in places)
            self._want_facts(place for place in places if self._rows.get(place))
            for place in places:
                self._judge(place)
        self._balance()
        self._forced.clear()
        changes, self.changes = self.changes, Changes()
        return changes

    def _want_rows(self, places: Iterable[Place]) -> None:
        missing = {place for place in places if place not in self._rows}
        if missing:
            self._rows.update(dict.fromkeys(missing))
            for row in self._source.load_rows(missing):
                self._rows[row.step, row.job] = row

    def _want_counts(self, steps: Iterable[int]) -> None:
        """Load the counters of steps, and of those that they need every job of."""
        dag = self.dag
        wanted = set(steps)
        for step in tuple(wanted):
            if dag.single[step]:
                wanted.update(one for one in dag.needs[step] if not dag.single[one])
        wanted.difference_update(self._counts)
        if wanted:
            loaded = self._source.load_counts(wanted)
            for step in wanted:
                found = loaded.get(step)
                self._counts[step] = dict(found.verdicts) if found else {}
                self._known[step] = found.known if found else 0

    def _want_facts(self, places: Iterable[Place]) -> None:
        missing = {place for place in places if place not in self._attempts}
        self._attempts.update((place, []) for place in missing)
        for place in missing:
            self._pins.setdefault(place, [])
        stored = {place for place in missing if self._rows.get(place)}
        if stored:
            for one in self._source.load_attempts(stored):
                self._attempts[one.step, one.job].append(one)
            for pin in self._source.load_pins(stored):
                self._pins[pin.step, pin.job].append(pin)

    def _want_family(self, places: Collection[Place], *, children: bool = True) -> None:
        """Load the rows of tasks, of their parents, and of single children, in one go."""
        dag = self.dag
        wanted = set(places)
        if children:
            for place in places:
                wanted.update(self._children(place))
        for place in tuple(wanted):
            if place[0] < len(dag.needs) and dag.needs[place[0]]:
                wanted.update(dag.parents(place))
        self._want_rows(wanted)

    def _join(self, place: Place, arrived: list[AttemptFact]) -> None:
        known = self._attempts[place]
        contents = {one.content for one in known}
        fresh = {one.content: one for one in arrived if one.content not in contents}
        if not fresh:
            return
        usage = self.changes.usage.setdefault(place[0], UsageSum())
        before = {one.content for one in verdicts.counted(known)}
        joined = [*known, *fresh.values()]
        after = {one.content for one in verdicts.counted(joined)}
        for one in joined:
            if one.content in after and one.content not in before:
                usage.add(one)
            elif one.content in before and one.content not in after:
                usage.add(one, -1)
        for one in fresh.values():
            usage.memory_peak_mib = max(usage.memory_peak_mib, one.memory_peak_mib)
        if len(after) < len(joined):
            self.changes.contradicted.extend(fresh.values())
        known.extend(fresh.values())
        self.changes.attempts.extend(fresh.values())

    def _judge(self, place: Place) -> None:
        old = self._rows.get(place)
        standing = self._controls.standing(place)
        lease = self._lease_of(place, old, standing)
        judgement = self._judgement(place, standing, lease)
        if judgement.rivals and self._commit is not None:
            self._pin(place, standing, judgement, old)
            judgement = self._judgement(place, standing, lease)
        row = TaskRow(
            *place,
            standing.generation,
            judgement.verdict,
            judgement.outcome,
            judgement.failures,
            lease,
        )
        if row == old or (
            old is None and place not in self._forced and row == self._implied(place)
        ):
            return
        self.changes.was.setdefault(place, old.verdict if old else None)
        self._rows[place] = self.changes.rows[place] = row
        self._count(old, row)
        was_done = old is not None and old.verdict is Verdict.DONE
        had = old.outcome if old else b""
        if row.outcome != had or was_done != (row.verdict is Verdict.DONE):
            self.touch(self._children(place))
            if self.dag.single[place[0]]:
                self.changes.flipped.add(place[0])

    def _children(self, place: Place) -> Iterable[Place]:
        """Return the children of a task that are judged with it: not every job of a dataset."""
        if not self.dag.whole[place[0]]:
            return self.dag.children_of(place)
        dag = self.dag
        whole = [child for child in dag.children[place[0]] if dag.whole[child]]
        return [(child, task) for child in whole for task in dag.needing(place, child)]

    def _lease_of(self, place: Place, old: TaskRow | None, standing: Standing) -> int:
        if place in self._leases:
            return self._leases[place]
        if old is None or old.generation != standing.generation:
            return 0
        return old.lease

    def _judgement(self, place: Place, standing: Standing, lease: int) -> Judgement:
        attempts, pins = self._attempts.get(place, ()), self._pins.get(place, ())
        step = place[0]
        said = self.dag.dataset.steps[step]
        facts = TaskFacts(
            spec_hash=self.dag.spec_hash(step) if attempts else b"",
            failures_max=said.failures_max,
            rules=said.retry,
            lineage=self._lineage(place) if attempts or pins else None,
            parents_done=self._parents_done(place),
            attempts=attempts,
            pins=pins,
            standing=standing,
            leased_until_us=LEASED_FOR_NOW_US if lease else 0,
        )
        return verdicts.verdict(facts, now_us=0)

    def _implied(self, place: Place) -> TaskRow:
        """Return the row of a task that nothing has happened to."""
        return implied_row(self.dag, self._controls, place)

    def _parents_done(self, place: Place) -> bool:
        dag, rows, step = self.dag, self._rows, place[0]
        for parent in dag.parents(place):
            row = rows.get(parent)
            if row is None or row.verdict is not Verdict.DONE:
                return False
        if not dag.whole[step]:
            return True
        if dag.waits_for_jobs(place):
            return False
        for above in dag.needs[step]:
            if not dag.is_fan_in(step, above):
                continue
            tasks = dag.needed(place, above)
            if dag.single[step]:
                done = self._counts.get(above, {}).get(Verdict.DONE, 0)
            else:
                done = self._done(above, tasks)
            if done != len(tasks):
                return False
        return True

    def _done(self, step: int, tasks: range) -> int:
        """Return how many of a step's tasks are done, with what changed since they were stored."""
        found = self._source.count_done(step, tasks)
        rows, was = self.changes.rows, self.changes.was
        for job in tasks:
            row = rows.get((step, job))
            if row is not None:
                found += row.verdict is Verdict.DONE
                found -= was[step, job] is Verdict.DONE
        return found

    def _lineage(self, place: Place) -> bytes | None:
        """Return the digest over the parents' outcomes, or None while one is missing."""
        dag, rows = self.dag, self._rows
        step, job = place
        parts: list[bytes] = []
        for parent in dag.needs[step]:
            if dag.is_fan_in(step, parent):
                outcomes = self._outcomes(parent, dag.needed(place, parent))
                if outcomes is None:
                    return None
                parts.append(outcomes)
                continue
            row = rows.get((parent, 0 if dag.single[parent] else job))
            if row is None or not row.outcome:
                return None
            parts.append(row.outcome)
        return digest("lineage", b"".join(parts))

    def _outcomes(self, step: int, tasks: range) -> bytes | None:
        """Return the outcomes of a step's tasks, one after the other, once all are known."""
        if not tasks:  # of a block that the dataset has no more
            return None
        every = len(tasks) == self.dag.dataset.tasks_of(step)
        known = self._known.get(step, len(tasks))  # of a truncated one there are more
        if every and known < len(tasks):
            return None
        key = (step, tasks.start, tasks.stop)
        if key not in self._fan_in:
            outcomes = dict(self._source.load_outcomes(step, tasks))
            rows = self.changes.rows
            outcomes.update((job, rows[step, job].outcome) for job in tasks if (step, job) in rows)
            several = [outcomes.get(job, b"") for job in tasks]
            if not all(several):
                return None
            self._fan_in[key] = b"".join(several)
        return self._fan_in[key]

    def _pin(
        self, place: Place, standing: Standing, judgement: Judgement, old: TaskRow | None
    ) -> None:
        """Make the pin for the choice in force, so that it never moves."""
        if self._commit is None:
            return
        in_force = old is not None and old.generation == standing.generation
        outcome = old.outcome if old and in_force and old.outcome else judgement.rivals[0]
        if outcome not in judgement.rivals:
            outcome = judgement.rivals[0]
        key = min(
            one.name(self._dataset)
            for one in self._attempts[place]
            if one.outcome == outcome and standing.takes(one.generation)
        )
        pin = Pin(*place, standing.generation, key, outcome, *self._commit)
        self._pins[place].append(pin)
        self.changes.pins.append(pin)
        self.changes.made_pins.append(pin)

    def _count(self, old: TaskRow | None, new: TaskRow) -> None:
        step, changed = new.step, self.changes
        counts = self._counts[step]
        known = bool(new.outcome) - bool(old.outcome if old else b"")
        if known:
            changed.known[step] = changed.known.get(step, 0) + known
            self._known[step] += known
        if old is not None and old.verdict is new.verdict:
            return
        for word, sign in ((old.verdict if old else None, -1), (new.verdict, 1)):
            if word is not None:
                counts[word] = counts.get(word, 0) + sign
                key = (step, word)
                changed.counts[key] = changed.counts.get(key, 0) + sign

    def _balance(self) -> None:
        """Invariant I1: the buckets of a step add up, or nothing is committed."""
        for step in {step for step, _ in self.changes.counts}:
            counts = self._counts[step]
            tasks = self.dag.dataset.tasks_of(step)
            if is_unbalanced(counts, tasks):
                raise Unbalanced(where=f"{self._dataset} step {step}", counts=counts, tasks=tasks)
