"""What must hold in every world, looked at from outside: see the invariants I1 to I16 of the merge.

The judge here is a second one: it knows the ledger and the archive's bytes, and none of central's
rules but what they promise.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bundle.dataset import graph
from bundle.fates import Fate, counts
from bundle.ids import BundleId, DatasetId, StreamId
from bundle.records.attempt import outcome_digest
from central.absorb import Disposition
from central.core.controls import Standing
from central.core.facts import ControlWord, Place, Verdict
from central.core.receipts import Outcome
from central.workings import Workings
from tests.simulation.ledger import Key, Said
from tests.simulation.picture import Picture, Standings

if TYPE_CHECKING:
    from tests.simulation.site import Site
    from tests.simulation.world import World

PILOTS_MAX = 3  # that a task may take down
CONTROLS_MAX = 80  # of a dataset: people ask for twenty, and central resets some tasks itself
OPEN = (Verdict.READY, Verdict.LEASED)


class Checks:
    """The checks of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    # -- while it runs -------------------------------------------------------------------

    def after_absorb(self, before: Picture, after: Picture, found: Disposition) -> None:
        """I1, I6, I8, I13, I15 over one bundle."""
        for dataset, now in after.datasets.items():
            asked = len(now.controls.all)
            assert asked < CONTROLS_MAX, f"I13: {asked} controls of {dataset}: they have no end"
            tally = Counter(f"{place[0]} {row.verdict.value}" for place, row in now.rows.items())
            assert tally == dict(now.counts), f"I1: {dataset}: rows {tally}, buckets {now.counts}"
            there = sorted(now.away & now.rows.keys())  # it may have fewer jobs than were leased
            free = [one for one in there if now.rows[one].verdict is Verdict.READY]
            assert not free, f"{dataset}: {free} are leased, and offered again"
            then = before.datasets.get(dataset)
            if then is not None and not self._world.center.restores:
                self._moved(dataset, then, now)
        if found.outcome is Outcome.REFUSED:
            assert before == after, f"I15: {found.code} changed something"

    def _moved(self, dataset: DatasetId, then: Standings, now: Standings) -> None:
        for place, old in then.rows.items():
            new = now.rows[place]
            if new.generation == old.generation and old.outcome and _is_built_upon(then, place):
                assert new.outcome == old.outcome, f"I6: {dataset} {place}: another outcome"
            if old.verdict is Verdict.DONE:
                assert new.verdict is Verdict.DONE or new.generation > old.generation, (
                    f"I8: {dataset} {place}: done no more, but {new.verdict}"
                )

    def after_outbox(self, workings: Workings) -> None:
        """I2: nothing is called safe that is not archived on as many devices as it should."""
        for site in {one.name for one in self._world.sites}:
            for receipt in workings.store.bundles.receipts(site):  # type: ignore[arg-type]
                assert not receipt.safe - receipt.merged, "safe, and not merged"
                for number in receipt.safe:
                    known = self._world.center.results.get((receipt.stream, number), ())
                    assert not known or any(map(self._world.center.is_covered, known)), (
                        f"I2: {number} of {receipt.stream.hex()} is called safe too early"
                    )

    def after_tick(self, site: Site, gone: dict[BundleId, tuple[StreamId, int]]) -> None:
        """I2: a relay lets a result go only when no single disk can lose it any more.

        Of a number that an insider used twice, one of the two will do: they say the same.
        """
        center = self._world.center
        for bundle, number in gone.items():
            copies = {bundle}
            if number in self._world.equivocated:
                copies |= center.results.get(number, set())
            assert any(map(center.is_covered, copies)), (
                f"I2: {site.label} deleted {bundle}, which could be lost"
            )

    # -- at the end ----------------------------------------------------------------------

    def missing(self) -> set[Key]:
        """Return the attempts that are in the ledger, not destroyed, and not in the archive."""
        ledger = self._world.ledger
        return ledger.said.keys() - ledger.gone - self._world.archived().keys()

    def is_over(self, picture: Picture) -> bool:
        """I12: whether every task has ended or is held with a reason."""
        return not self.still_open(picture)

    def still_open(self, picture: Picture) -> dict[DatasetId, list[Place]]:
        """Return the tasks that could still go on."""
        found = {dataset: self._open(of) for dataset, of in picture.datasets.items()}
        return {dataset: places for dataset, places in found.items() if places}

    def _open(self, of: Standings) -> list[Place]:
        """Return the tasks that could still go on."""
        dataset = of.dag.dataset
        found = []
        for place, row in of.rows.items():
            if row.verdict in OPEN:
                found.append(place)
            elif of.dag.waits_for_jobs(place):
                continue  # more may come
            elif row.verdict is Verdict.HELD and not _standing(of, place).suspended:
                parents = [of.rows[one] for one in graph.parents(dataset, *place)]
                if all(one.verdict is Verdict.DONE for one in parents):
                    found.append(place)
        return found

    def at_the_end(self, picture: Picture) -> None:
        """I2, I3, I4, I14: nothing lost, nothing counted twice, each verdict what facts say."""
        missing, archived = self.missing(), self._world.archived()
        assert not missing, f"I2: lost: {sorted(missing)[:3]}"
        for key, said in archived.items():
            if said.fate is Fate.LOST and key in self._world.ledger.begun:
                continue  # the relay's word on what a dead pilot's journal says was begun
            assert self._world.ledger.said.get(key) == said, f"I7: nobody ran {key}"
        by_dataset: dict[DatasetId, dict[Key, Said]] = {}
        for key, said in archived.items():
            by_dataset.setdefault(key.dataset, {})[key] = said
        assert by_dataset.keys() <= picture.datasets.keys(), "results of unknown datasets"
        for dataset, of in picture.datasets.items():
            edits = [one for one in of.controls.all if one.word is ControlWord.EDIT]
            newest = max(edits, key=lambda one: (one.epoch, one.commit), default=None)
            assert newest is None or newest.document == of.dag.digest, "not the newest edit's"
            self._hours(dataset, of, by_dataset.get(dataset, {}))
            self._verdicts(dataset, of, by_dataset.get(dataset, {}))
            _cascades(of)

    def _hours(self, dataset: DatasetId, of: Standings, tried: dict[Key, Said]) -> None:
        for step in range(len(of.dag.dataset.steps)):
            mine = {key: said for key, said in tried.items() if key.step == step}
            wall_ms = sum(said.wall_ms for said in mine.values())
            unsure_ms = sum(mine[key].wall_ms for key in self._world.contested() & mine.keys())
            sound = wall_ms - unsure_ms <= of.wall_ms[step] <= wall_ms
            assert of.attempts[step] == len(mine) and sound, (
                f"I3: {dataset} step {step}: {of.attempts[step]} attempts, {of.wall_ms[step]} ms; "
                f"the ledger says {len(mine)}, {wall_ms}"
            )

    def _verdicts(self, dataset: DatasetId, of: Standings, tried: dict[Key, Said]) -> None:
        by_place: dict[Place, list[tuple[Key, Said]]] = {}
        for key, said in tried.items():
            by_place.setdefault((key.step, key.job), []).append((key, said))
        for place, row in of.rows.items():
            allowed = self._allowed(of, place, by_place.get(place, []))
            assert row.verdict in allowed, f"I4: {dataset} {place} is {row}, should be {allowed}"

    def _allowed(
        self, of: Standings, place: Place, tried: list[tuple[Key, Said]]
    ) -> tuple[Verdict, ...]:
        """Return the verdicts that facts leave open for a task."""
        standing, row = _standing(of, place), of.rows[place]
        parents = [of.rows[one] for one in graph.parents(of.dag.dataset, *place)]
        mine = [
            said
            for key, said in tried
            if standing.since <= key.generation <= standing.generation
            and self._is_in_force(of, said.document, place[0])
        ]
        lineage = tuple(one.outcome for one in parents)
        matching = {
            outcome_digest(said.outputs)
            for said in mine
            if said.fate is Fate.SUCCESS and said.consumed == lineage
        }
        failures = sum(counts(said.fate) for said in mine)
        is_done = bool(matching)
        if self._world.center.restores and row.verdict is Verdict.DONE and row.outcome:
            is_done = True  # by a pin of an earlier epoch, whose attempt may be destroyed
        elif row.verdict is Verdict.DONE:
            assert row.outcome in matching, f"I14: {place} is done by {row.outcome.hex()[:8]}"
        if standing.removed:
            return (Verdict.REMOVED,)
        if standing.cancelled:
            return (Verdict.CANCELLED, Verdict.DONE) if is_done else (Verdict.CANCELLED,)
        if is_done:
            return (Verdict.DONE,)
        if self._world.contested() & {key for key, _ in tried}:
            return (Verdict.FAILED, Verdict.LEASED, Verdict.READY, Verdict.HELD)
        if failures >= of.dag.dataset.steps[place[0]].failures_max:
            return (Verdict.FAILED,)
        if sum(said.fate in (Fate.LOST, Fate.NODE_FAILURE) for said in mine) >= PILOTS_MAX:
            # Poison where these were pilots enough, which the pilots of a shard also decide.
            return (Verdict.FAILED, Verdict.LEASED, Verdict.READY, Verdict.HELD)
        met = all(one.verdict is Verdict.DONE for one in parents) and not standing.suspended
        met &= not of.dag.waits_for_jobs(place)
        return (Verdict.LEASED, Verdict.READY if met else Verdict.HELD)

    def _is_in_force(self, of: Standings, document: bytes, step: int) -> bool:
        """Whether a step of a document computes what the one in force says."""
        hashes = self._world.payloads.spec_hash
        return hashes(document, step) == hashes(of.dag.digest, step)


def _standing(of: Standings, place: Place) -> Standing:
    """Say again, from the list of controls alone, what is in force for a task."""
    generation, since, suspended, cancelled, removed = 0, 0, False, False, False
    for one in sorted(of.controls.all, key=lambda one: (one.epoch, one.commit)):
        if one.covers(place):
            generation += one.word is ControlWord.RESET
            since = {ControlWord.RESET: generation, ControlWord.ADOPT: 0}.get(one.word, since)
            suspended = {ControlWord.SUSPEND: True, ControlWord.RESUME: False}.get(
                one.word, suspended
            )
            cancelled = {ControlWord.CANCEL: True, ControlWord.UNCANCEL: False}.get(
                one.word, cancelled
            )
            removed = removed or one.word is ControlWord.TOMBSTONE
    return Standing(generation, since, suspended, cancelled, removed)


def _is_built_upon(of: Standings, place: Place) -> bool:
    """Whether a child has a success: then the choice among a task's outcomes may not move."""
    dataset = of.dag.dataset
    return any(
        row.outcome and place in graph.parents(dataset, *child) for child, row in of.rows.items()
    )


def _cascades(of: Standings) -> None:
    """A reset covers the children of all that it covers.

    Not of jobs that came later, or that nothing had happened to when a size made a step per dataset
    stale: what needs such a step and was not begun has nothing to lose.
    """
    for one in of.controls.all:
        if one.word is not ControlWord.RESET:
            continue
        for place in of.rows:
            parents = graph.parents(of.dag.dataset, *place)
            if not of.dag.whole[place[0]]:
                parents = tuple(parent for parent in parents if not of.dag.whole[parent[0]])
            if any(one.covers(parent) for parent in parents):
                assert one.covers(place), f"a reset passed over {place}"
