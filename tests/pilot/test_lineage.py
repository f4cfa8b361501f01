"""What is built upon is one coherent history: every child consumed its chosen parents' outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bundle.dataset.spec import Command, Dataset, Step
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.attempt import Attempt, outcome_digest
from bundle.records.lease import Lease, Pinned
from pilot.core.lineage import Earlier, Outputs, Place, settle
from tests.pilot.test_agenda import lease_of

DATA = Dataset(
    "d", 1, 1, (Step("a", Command(("true",))), Step("b", Command(("true",)), needs=(0,)))
)
LEASE = lease_of(DATA)
ONE: Outputs = ((b"1" * 32, 1),)
TWO: Outputs = ((b"2" * 32, 1),)
MADE: Outputs = ((b"m" * 32, 1),)


def attempt(step: int, outputs: Outputs, *consumed: Outputs, fate: Fate = Fate.SUCCESS) -> Attempt:
    digests = tuple(map(outcome_digest, consumed))
    return Attempt(0, step, 1, 1, fate, 0, 0, 0, 0, 0, 0, consumed=digests, outputs=outputs)


def settled(
    data: Dataset,
    lease: Lease,
    own: Iterable[Attempt],
    needed: Sequence[tuple[Lease, Iterable[Attempt]]] = (),
) -> Earlier:
    return settle(data, lease, [(PilotRun(bytes(8)), one) for one in own], needed)


def counts_of(earlier: Earlier) -> dict[Place, int]:
    return {place: tried.count() for place, tried in earlier.tried.items()}


def test_the_first_success_of_a_task_is_chosen() -> None:
    earlier = settled(DATA, LEASE, [attempt(0, ONE), attempt(0, TWO)])
    assert earlier.outcomes[0, 0].outputs == ONE


def test_a_child_of_another_run_of_its_parent_is_not_built_upon() -> None:
    earlier = settled(DATA, LEASE, [attempt(0, ONE), attempt(0, TWO), attempt(1, MADE, TWO)])
    assert set(earlier.outcomes) == {(0, 0)}


def test_a_child_of_the_chosen_run_is_built_upon_wherever_it_stands() -> None:
    earlier = settled(DATA, LEASE, [attempt(1, MADE, ONE), attempt(0, ONE)])
    assert set(earlier.outcomes) == {(0, 0), (1, 0)}


def test_a_child_whose_parent_must_run_again_is_not_kept() -> None:
    assert not settled(DATA, LEASE, [attempt(1, MADE, ONE)]).outcomes


def test_a_pin_wins_over_what_ran_here() -> None:
    lease = replace(lease_of(DATA, {(1, 0)}), pins=(Pinned(0, 0, 1, "", TWO),))
    earlier = settled(DATA, lease, [attempt(1, MADE, ONE), attempt(1, ONE, TWO)])
    assert earlier.outcomes[1, 0].outputs == ONE


def test_a_needed_shard_gives_outcomes_but_spends_no_failures_here() -> None:
    needed = (lease_of(DATA, {(0, 0)}), [attempt(0, (), fate=Fate.OOM), attempt(0, ONE)])
    earlier = settled(DATA, lease_of(DATA, {(1, 0)}), [attempt(1, (), fate=Fate.OOM)], [needed])
    assert earlier.outcomes[0, 0].outputs == ONE
    assert counts_of(earlier) == {(1, 0): 1}


def test_another_generation_is_another_task() -> None:
    assert not settled(DATA, LEASE, [replace(attempt(0, ONE), generation=2)]).outcomes


def test_the_sites_own_fates_spend_nothing() -> None:
    lost = [attempt(0, (), fate=Fate.PREEMPTED), attempt(0, (), fate=Fate.PAYLOAD_ERROR)]
    lease = replace(LEASE, spent=((0, 0, 2),))
    assert counts_of(settled(DATA, lease, lost)) == {(0, 0): 3}
