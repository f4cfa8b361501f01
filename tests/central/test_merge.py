"""The merge: any order, repetition and split of the same facts gives the same state."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.digest import digest
from bundle.fates import Fate
from bundle.intervals import IntervalSet
from bundle.records.rules import RetryRules
from central.core.controls import make_control
from central.core.dag import Dag
from central.core.facts import AttemptFact, Control, ControlWord, Pin, Verdict
from tests.central.conftest import chain
from tests.central.memory import EPOCH, Memory

JOBS = 3
OPEN, FAILED, DONE = 0, 1, 2
RANK = {Verdict.FAILED: FAILED, Verdict.DONE: DONE}

Fact = AttemptFact | Pin | Control


def dag() -> Dag:
    document = chain(jobs=JOBS, failures_max=2)
    rules = RetryRules(pilots_max=2, resources_max=1)
    steps = tuple(replace(step, retry=rules) for step in document.steps)
    document = replace(document, steps=steps)
    return Dag(document, spec.dataset_digest(spec.encode(document)))


def outcome(step: int, job: int, variant: int) -> bytes:
    return digest("test", f"{step} {job} {variant}".encode())


def attempt(
    of: Dag,
    step: int,
    job: int,
    *,
    fate: Fate = Fate.SUCCESS,
    variant: int = 0,
    parents: Sequence[int] = (),
    local: int = 0,
    lease: int = 1,
    generation: int = 0,
    wall_ms: int = 10,
    pilot: int = 0,
) -> AttemptFact:
    """An attempt whose parents' outcomes are of the given variants."""
    consumed = []
    if step == 1:
        consumed = [outcome(0, job, (*parents, 0)[0])]
    elif step == 2:
        given_ = (*parents, *([0] * JOBS))[:JOBS]
        consumed = [outcome(1, one, given_[one]) for one in range(JOBS)]
    key = (step, job, generation, lease, local, pilot)
    made = outcome(step, job, variant) if fate is Fate.SUCCESS else b""
    content = digest("content", repr((key, fate, variant, consumed, wall_ms)).encode())
    return AttemptFact(
        step,
        job,
        generation,
        bytes([lease]) * 16,
        b"pilotrun"[:7] + bytes([pilot]),
        local,
        fate,
        of.spec_hash(step),
        digest("lineage", b"".join(consumed)),
        made,
        content,
        wall_ms,
        wall_ms,
        1,
        1,
        1,
        1,
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[Dag, list[AttemptFact], list[Control]]:
    of = dag()
    facts = []
    for number in range(draw(st.integers(1, 14))):
        step = draw(st.sampled_from([0, 0, 1, 1, 2]))
        facts.append(
            attempt(
                of,
                step,
                0 if step == 2 else draw(st.integers(0, JOBS - 1)),
                fate=draw(st.sampled_from([Fate.SUCCESS] * 3 + [Fate.OOM, *[Fate.LOST] * 2])),
                variant=draw(st.integers(0, 1)),
                parents=draw(st.lists(st.integers(0, 1), min_size=JOBS, max_size=JOBS)),
                local=number if draw(st.booleans()) else 0,
                lease=draw(st.integers(1, 3)),
                generation=draw(st.sampled_from([0, 0, 0, 1])),
                wall_ms=draw(st.integers(1, 3)),
                pilot=draw(st.sampled_from([0, 0, 1, 2])),
            )
        )
    controls = []
    for number in range(draw(st.integers(0, 3))):
        word = draw(st.sampled_from([w for w in ControlWord if w is not ControlWord.TOMBSTONE]))
        jobs = draw(st.sampled_from([None, IntervalSet.of([0]), IntervalSet.of([1, 2])]))
        steps = draw(st.sampled_from([None, (0,), (1,), (2,)]))
        controls.append(make_control(of, word, steps, jobs, EPOCH, 1000 + number))
    return of, facts, controls


def replay(of: Dag, facts: Sequence[Fact], sizes: Sequence[int]) -> Memory:
    """Merge facts in the given order, cut into parts of the given sizes."""
    memory, at, sizes = Memory(of), 0, list(sizes) or [1]
    number = 0
    while at < len(facts):
        size = max(1, sizes[number % len(sizes)])
        part = facts[at : at + size]
        memory.join(
            [one for one in part if isinstance(one, AttemptFact)],
            [one for one in part if isinstance(one, Pin)],
            [one for one in part if isinstance(one, Control)],
        )
        memory.check()
        at, number = at + size, number + 1
    return memory


@given(histories(), st.integers(0, 2**32), st.lists(st.integers(1, 6), min_size=1))
def test_any_order_repetition_and_split_gives_the_same_state(
    history: tuple[Dag, list[AttemptFact], list[Control]], seed: int, sizes: list[int]
) -> None:
    of, attempts, controls = history
    live = Memory(of)
    for number, fact in enumerate([*attempts, *controls]):
        if isinstance(fact, Control):
            live.join(controls=[fact], commit=number + 1)
        else:
            live.join([fact], commit=number + 1)
        live.check()
    facts: list[Fact] = [*attempts, *controls, *live.pins]
    shuffled = [*facts, *facts]
    random.Random(seed).shuffle(shuffled)
    other = replay(of, shuffled, sizes)
    for step in range(3):
        for job in range(1 if step == 2 else JOBS):
            assert other.row((step, job)) == live.row((step, job))
    assert other.hash() == live.hash()
    assert {s: (u.attempts, u.wall_ms) for s, u in other.usage.items() if u.attempts} == {
        s: (u.attempts, u.wall_ms) for s, u in live.usage.items() if u.attempts
    }


@given(histories())
def test_without_controls_a_verdict_only_rises_and_a_choice_never_moves(
    history: tuple[Dag, list[AttemptFact], list[Control]],
) -> None:
    of, attempts, _ = history
    live = Memory(of)
    for number, fact in enumerate(attempts):
        before = dict(live.rows)
        live.join([fact], commit=number + 1)
        for place, old in before.items():
            new = live.rows[place]
            assert RANK.get(new.verdict, OPEN) >= RANK.get(old.verdict, OPEN)
            if old.outcome:
                assert new.outcome == old.outcome


def test_a_second_outcome_makes_a_pin_for_the_first_and_is_a_spare() -> None:
    of = dag()
    live = Memory(of)
    first, second = attempt(of, 0, 0, variant=0), attempt(of, 0, 0, variant=1, lease=2)
    live.join([first], commit=1)
    live.join([attempt(of, 1, 0, parents=[1], lease=2)], commit=2)
    assert live.verdict(1, 0) is Verdict.READY  # computed from what nobody chose
    changes = live.join([second], commit=3)
    assert [pin.outcome for pin in changes.made_pins] == [first.outcome]
    assert live.row((0, 0)).outcome == first.outcome
    live.join([attempt(of, 1, 0, parents=[0], lease=2, local=1)], commit=4)
    assert live.verdict(1, 0) is Verdict.DONE


def test_equal_outcomes_are_replicas_and_need_no_pin() -> None:
    of = dag()
    live = Memory(of)
    changes = live.join([attempt(of, 0, 0), attempt(of, 0, 0, lease=2)], commit=1)
    assert not changes.made_pins
    assert live.verdict(0, 0) is Verdict.DONE
    assert live.usage[0].attempts == 2


def test_a_child_that_comes_before_its_parent_counts_once_the_parent_is_there() -> None:
    of = dag()
    live = Memory(of)
    live.join([attempt(of, 1, 0)], commit=1)
    assert live.verdict(1, 0) is Verdict.HELD
    live.join([attempt(of, 0, 0)], commit=2)
    assert live.verdict(1, 0) is Verdict.DONE


def test_a_fan_in_waits_for_every_job() -> None:
    of = dag()
    live = Memory(of)
    live.join([attempt(of, 2, 0)], commit=1)
    for job in range(JOBS):
        assert live.verdict(2, 0) is Verdict.HELD
        live.join([attempt(of, 0, job), attempt(of, 1, job)], commit=2 + job)
    assert live.verdict(2, 0) is Verdict.DONE


def test_the_sites_own_fates_never_use_up_the_budget() -> None:
    of = dag()
    live = Memory(of)
    live.join([attempt(of, 0, 0, fate=Fate.PREEMPTED, local=n) for n in range(9)], commit=1)
    live.join([attempt(of, 0, 0, fate=Fate.LOST, local=n) for n in range(9, 14)], commit=2)
    assert live.verdict(0, 0) is Verdict.READY
    live.join([attempt(of, 0, 0, fate=Fate.SIGNAL, local=20 + n) for n in range(2)], commit=2)
    assert live.verdict(0, 0) is Verdict.FAILED
    live.join([attempt(of, 0, 0, lease=2)], commit=3)
    assert live.verdict(0, 0) is Verdict.DONE


def test_one_key_with_two_contents_keeps_both_and_counts_hours_once() -> None:
    of = dag()
    live = Memory(of)
    live.join([attempt(of, 0, 0, wall_ms=5)], commit=1)
    changes = live.join([attempt(of, 0, 0, wall_ms=7)], commit=2)
    assert len(live.attempts) == 2
    assert len(changes.contradicted) == 1
    assert live.usage[0].attempts == 1
    assert live.usage[0].wall_ms == min(live.attempts, key=lambda one: one.content).wall_ms


def test_a_reset_makes_old_results_not_count_and_cascades() -> None:
    of = dag()
    live = Memory(of)
    live.join([attempt(of, s, j) for s in (0, 1) for j in range(JOBS)], commit=1)
    live.join([attempt(of, 2, 0)], commit=2)
    assert live.verdict(2, 0) is Verdict.DONE
    reset = make_control(of, ControlWord.RESET, (0,), IntervalSet.of([1]), EPOCH, 3)
    live.join(controls=[reset], commit=3)
    assert [live.verdict(0, job) for job in range(JOBS)] == ["done", "ready", "done"]
    assert [live.verdict(1, job) for job in range(JOBS)] == ["done", "held", "done"]
    assert live.verdict(2, 0) is Verdict.HELD
    live.join([attempt(of, 0, 1, generation=1), attempt(of, 1, 1, generation=1)], commit=4)
    live.join([attempt(of, 2, 0, generation=1)], commit=5)
    assert live.verdict(2, 0) is Verdict.DONE


def test_cancel_keeps_late_results_and_uncancel_needs_no_second_run() -> None:
    of = dag()
    live = Memory(of)
    jobs = IntervalSet.of([0])
    live.join(controls=[make_control(of, ControlWord.CANCEL, (0,), jobs, EPOCH, 1)], commit=1)
    live.join([attempt(of, 0, 0)], commit=2)
    assert live.verdict(0, 0) is Verdict.CANCELLED
    live.join(controls=[make_control(of, ControlWord.UNCANCEL, (0,), jobs, EPOCH, 3)], commit=3)
    assert live.verdict(0, 0) is Verdict.DONE


def test_a_lease_shows_until_it_ends_and_an_old_generations_lease_never() -> None:
    of = dag()
    live = Memory(of)
    live.join(leases={(0, 0): (5, 0), (0, 1): (6, 1)}, commit=1)
    assert live.verdict(0, 0) is Verdict.LEASED
    assert live.verdict(0, 1) is Verdict.READY
    live.join(leases={(0, 0): (0, 0)}, commit=2)
    assert live.verdict(0, 0) is Verdict.READY
