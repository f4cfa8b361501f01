"""State bytes in a real store say exactly what a merge of rows, one task at a time, says."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Per, Step
from bundle.digest import digest
from bundle.fates import Fate
from bundle.ids import LeaseId, PilotRun
from bundle.intervals import IntervalSet
from bundle.records.attempt import Attempt, Usage, outcome_digest
from bundle.records.lease import Block, Lease
from bundle.records.rules import RetryRules
from central.core.changes import UsageSum, implied_row
from central.core.controls import Controls, make_control
from central.core.dag import Dag
from central.core.facts import Control, ControlWord, Pin, Verdict
from tests.central.board import Board, store_in
from tests.central.memory import DATASET, EPOCH, Memory

JOBS = 4
EXAMPLES = int(os.environ.get("PULK_TEST_EXAMPLES", "60"))
RUN = Command(("/bin/true",))
SHAPES = {
    "single": (Step("a", RUN, failures_max=2, retry=RetryRules(pilots_max=0)),),
    "chain": (
        Step("a", RUN, outputs=(Output("x"),), failures_max=2),
        Step("b", RUN, needs=(0,), failures_max=1),
    ),
    "gather": (
        Step("a", RUN, outputs=(Output("x"),), failures_max=8),
        Step("b", RUN, needs=(0,), outputs=(Output("y"),), failures_max=2),
        Step("all", RUN, per=Per.DATASET, needs=(1,), failures_max=2),
    ),
    "setup": (
        Step("first", RUN, per=Per.DATASET, outputs=(Output("x"),), failures_max=2),
        Step("a", RUN, needs=(0,), outputs=(Output("y"),), failures_max=2),
        Step("b", RUN, needs=(0, 1), failures_max=2),
    ),
}
FATES = [Fate.SUCCESS] * 4 + [Fate.PAYLOAD_ERROR, Fate.PAYLOAD_ERROR, Fate.LOST]

OTHER = Command(("/bin/false",))


def edits_of(document: Dataset) -> tuple[Dag, Dag]:
    """The document with another command in its first step, and with other caps everywhere."""
    first, *rest = document.steps
    rules = RetryRules(payload_max=1, pilots_max=1)
    capped = [
        replace(one, failures_max=3 - min(one.failures_max, 2), retry=rules)
        for one in document.steps
    ]
    made = (
        replace(document, steps=(replace(first, run=OTHER), *rest)),
        replace(document, steps=tuple(capped)),
    )
    return tuple(Dag(one, spec.dataset_digest(spec.encode(one))) for one in made)  # type: ignore[return-value]


Seg = tuple[LeaseId, PilotRun, tuple[Attempt, ...]]


def output(step: int, job: int, variant: int) -> tuple[tuple[bytes, int], ...]:
    return ((digest("test", f"{step} {job} {variant}".encode()), 10 + variant),)


@st.composite
def segs(draw: st.DrawFn, of: Dag) -> list[Seg]:
    """Segments of three leases; numbers of attempts sometimes repeat, as they must not."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        lease = LeaseId(bytes([10 + draw(st.integers(1, 3))]) * 16)
        run = PilotRun(bytes([draw(st.integers(1, 2))]) * 8)
        attempts = []
        for place in range(draw(st.integers(0, 5))):
            step = draw(st.sampled_from(range(len(of.whole))))
            job = 0 if of.whole[step] else draw(st.integers(0, JOBS - 1))
            fate = draw(st.sampled_from(FATES))
            variant = draw(st.sampled_from([0, 0, 0, 1]))
            made = output(step, job, variant) if of.dataset.steps[step].outputs else ()
            local = draw(st.sampled_from([10 * number + place] * 5 + [place]))
            attempts.append(
                Attempt(
                    job, step, draw(st.sampled_from([0, 0, 0, 1])), local, fate, 0, 0,
                    1_000_000 + place, 2_000 + place, 3_000 + place, 0,
                    Usage(draw(st.integers(1, 3)), 1, draw(st.integers(1, 9)), 1, 2, 3),
                    consumed(draw, of, step, job),
                    made if fate is Fate.SUCCESS else (),
                )
            )  # fmt: skip
        found.append((lease, run, tuple(attempts)))
    return found


def consumed(draw: st.DrawFn, of: Dag, step: int, job: int) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for parent in of.needs[step]:
        several = range(JOBS) if of.is_fan_in(step, parent) else [0 if of.whole[parent] else job]
        for one in several:
            variant = draw(st.sampled_from([0, 0, 0, 0, 1]))
            made = output(parent, one, variant) if of.dataset.steps[parent].outputs else ()
            found.append(outcome_digest(made))
    return tuple(found)


@st.composite
def controls(draw: st.DrawFn, of: Dag) -> list[Control]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        words = [w for w in ControlWord if w not in (ControlWord.TOMBSTONE, ControlWord.EDIT)]
        word = draw(st.sampled_from([*words, ControlWord.RESET]))
        jobs = draw(st.sampled_from([None, None, IntervalSet.of([0]), IntervalSet.of([1, 2])]))
        steps = draw(st.sampled_from([None, (0,), (len(of.whole) - 1,)]))
        found.append(make_control(of, word, steps, jobs, EPOCH, 1000 + number))
    if draw(st.integers(0, 9)) == 0:
        found.append(Control(ControlWord.TOMBSTONE, None, EPOCH, 2000))
    return found


@st.composite
def edits(draw: st.DrawFn, documents: Sequence[Dag]) -> list[Control]:
    chosen = draw(st.sampled_from([(), (), *itertools.permutations(documents, 2), documents[1:]]))
    return [
        Control(ControlWord.EDIT, None, EPOCH, 1000 + draw(st.integers(-1, 4)) + 10 * n, one.digest)
        for n, one in enumerate(chosen[: draw(st.integers(1, 2))])
    ]


@st.composite
def pins(draw: st.DrawFn, of: Dag) -> list[Pin]:
    found = []
    for number in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        step = draw(st.sampled_from(range(len(of.whole))))
        job = 0 if of.whole[step] else draw(st.integers(0, JOBS - 1))
        made = output(step, job, draw(st.integers(0, 1)))
        outcome = outcome_digest(made if of.dataset.steps[step].outputs else ())
        name = f"{DATASET}/{job}/{step}@0:{'01' * 16}:{'01' * 8}:0"
        generation = draw(st.sampled_from([0, 0, 1]))
        found.append(Pin(step, job, generation, name, outcome, EPOCH, 500 + number))
    return found


def lease_of(of: Dag, number: int) -> Lease:
    per_job = tuple(step for step, whole in enumerate(of.whole) if not whole)
    whole = tuple(step for step, is_whole in enumerate(of.whole) if is_whole)
    every = IntervalSet(((0, JOBS),)) if number < 3 else IntervalSet(((1, 3),))
    blocks = [Block(0, every, per_job)]
    if whole:
        blocks.append(Block(0, IntervalSet.of([0]), whole))
    hashes = tuple((step, of.spec_hash(step)) for step in range(len(of.whole)))
    return Lease(
        LeaseId(bytes([number]) * 16), DATASET, of.digest, 0, tuple(blocks), hashes, (), (), (), (),
        3_600_000,
    )  # fmt: skip


def compare(board: Board, memory: Memory) -> None:
    """Verdicts, outcomes, failures, counters, usage and pins are those of the merge of rows."""
    rows = board.rows()
    of = memory.dag
    whole = Controls(memory.controls)
    counted: dict[tuple[int, Verdict], int] = {}
    for step, is_whole in enumerate(of.whole):
        for job in range(1 if is_whole else JOBS):
            has = rows.get((step, job))
            should = memory.row((step, job))
            if has is None:
                has = implied_row(of, whole, (step, job))
            else:
                key = (step, has.verdict)
                counted[key] = counted.get(key, 0) + 1
            assert has.verdict is should.verdict, (step, job)
            assert has.generation == should.generation, (step, job)
            assert has.outcome == should.outcome, (step, job)
            if not has.outcome:  # of a task with a success the archive alone knows them
                assert has.failures == should.failures, (step, job)
    words = tuple(Verdict)
    for one in board.store.tasks.steps(board.no):
        for place, word in enumerate(words):
            assert one.verdicts[place] == counted.get((one.step, word), 0), (one.step, word)
        used = memory.usage.get(one.step, UsageSum())
        assert (one.usage.attempts, one.usage.wall_ms) == (used.attempts, used.wall_ms)
    assert not board.problems()
    has_pins = {
        (p.step, p.job, p.generation, p.outcome) for p in board.store.tasks.every_pin(board.no)
    }
    assert has_pins == {(p.step, p.job, p.generation, p.outcome) for p in memory.pins}


Event = tuple[str, object]


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_and_rows_agree_whatever_arrives_in_whatever_order(shape: str) -> None:
    document = Dataset("board", JOBS, 1, SHAPES[shape])
    of = Dag(document, spec.dataset_digest(spec.encode(document)))
    documents = (of, *edits_of(document))

    @settings(deadline=None, max_examples=EXAMPLES, phases=[Phase.reuse, Phase.generate])
    @given(data=st.data())
    def agree(data: st.DataObject) -> None:
        events: list[Event] = [("segment", one) for one in data.draw(segs(of))]
        events += [("control", one) for one in data.draw(controls(of))]
        events += [("control", one) for one in data.draw(edits(documents))]
        events += [("pin", one) for one in data.draw(pins(of))]
        events += [("lease", number) for number in (1, 2, 3)]
        events += [("end", number) for number in (1, 3)]
        order = data.draw(st.permutations(events))
        sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
        run(document, documents, order, sizes)

    agree()


def test_a_childs_result_of_a_generation_to_come_waits_for_its_parents() -> None:
    """It came before the reset that makes it count, and before its parent ran again."""
    document = Dataset("board", JOBS, 1, SHAPES["chain"])
    of = Dag(document, spec.dataset_digest(spec.encode(document)))
    lease, pilot = LeaseId(bytes([11]) * 16), PilotRun(b"\1" * 8)

    def success(step: int, generation: int, local: int) -> Attempt:
        consumed = (outcome_digest(output(0, 0, 0)),) if step else ()
        made = () if step else output(0, 0, 0)
        return Attempt(
            0, step, generation, local, Fate.SUCCESS, 0, 0, 1, 2, 3, 0, Usage(1, 1, 1, 1, 2, 3),
            consumed, made,
        )  # fmt: skip

    early = (lease, pilot, (success(0, 0, 0), success(1, 1, 1)))
    late = (lease, pilot, (success(0, 1, 2),))
    reset = Control(ControlWord.RESET, None, EPOCH, 1000)
    order = [("segment", early), ("control", reset), ("segment", late)]
    run(document, (of, *edits_of(document)), order, [1])


def run(
    document: Dataset, documents: Sequence[Dag], order: Sequence[Event], sizes: Sequence[int]
) -> None:
    made_from = {1: documents[0], 2: documents[0], 3: documents[1]}
    with tempfile.TemporaryDirectory() as name:
        store = store_in(Path(name))
        try:
            board, memory = Board(store, document, *documents), Memory(*documents)
            for number, of in made_from.items():
                known = replace(lease_of(of, number), lease=LeaseId(bytes([10 + number]) * 16))
                board.know_lease(known)
            live: dict[int, Lease] = {}
            sizes_ = itertools.cycle(sizes)
            at = 0
            while at < len(order):
                part = order[at : at + next(sizes_)]
                at += len(part)
                segments = [one for kind, one in part if kind == "segment"]
                asked = [one for kind, one in part if kind == "control"]
                pinned = [one for kind, one in part if kind == "pin"]
                board.join(segments, pinned, asked)  # type: ignore[arg-type]
                memory.join(controls=asked)  # type: ignore[arg-type]
                memory.join(leases=covered(memory.dag, live))
                memory.join(board.facts(segments), pinned)  # type: ignore[arg-type]
                for kind, about in part:
                    number = about if isinstance(about, int) else 0
                    if kind == "lease":
                        live[number] = lease_of(made_from[number], number)
                        board.add_lease(live[number])
                    elif kind == "end" and number in live:
                        del live[number]
                        board.end_leases([bytes([number]) * 16])
                    memory.join(leases=covered(memory.dag, live))
                if os.environ.get("STEPWISE"):
                    print("PART", [(k, v if k not in ("segment",) else "") for k, v in part])
                    compare(board, memory)
            compare(board, memory)
        finally:
            store.close()


def covered(of: Dag, live: dict[int, Lease]) -> dict[tuple[int, int], tuple[int, int]]:
    """For every task whether a live lease of its spec in force covers it."""
    held = {
        (task.step, task.job)
        for lease in live.values()
        for task, _ in lease.tasks()
        if dict(lease.spec_hashes)[task.step] == of.spec_hash(task.step)
    }
    places = (
        (step, job) for step in range(len(of.whole)) for job in range(of.dataset.tasks_of(step))
    )
    return {place: (int(place in held), 0) for place in places}
