"""State bytes in a real store say exactly what a merge of rows, one task at a time, says."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from central.core.changes import UsageSum
from central.core.controls import make_control
from central.core.dag import Dag
from central.core.edit import controls_of
from central.core.facts import Control, ControlWord, Pin, Place, Verdict
from central.store.protocol import Store
from tests.central.board import Board, store_in
from tests.central.memory import DATASET, EPOCH, Memory

JOBS = 4
SIZES = (2, 3, JOBS + 1, JOBS + 2)  # beside it
EXAMPLES = int(os.environ.get("PULK_TEST_EXAMPLES", "60"))
RUN = Command(("/bin/true",))
SHAPES = {
    "single": (Step("a", RUN, failures_max=2),),
    "chain": (
        Step("a", RUN, outputs=(Output("x"),), failures_max=2),
        Step("b", RUN, needs=(0,), failures_max=1),
    ),
    "gather": (
        Step("a", RUN, outputs=(Output("x"),), failures_max=8),
        Step("b", RUN, needs=(0,), outputs=(Output("y"),), failures_max=2),
        Step("all", RUN, per=Per.DATASET, needs=(1,), failures_max=2),
    ),
    "blocks": (
        Step("a", RUN, outputs=(Output("x"),), failures_max=2),
        Step("b", RUN, per=Per.BLOCK, block_jobs=3, needs=(0,), outputs=(Output("y"),)),
        Step("c", RUN, per=Per.BLOCK, block_jobs=3, needs=(1,), failures_max=2),
        Step("all", RUN, per=Per.DATASET, needs=(1, 2), failures_max=2),
    ),
    "setup in blocks": (
        Step("first", RUN, per=Per.DATASET, outputs=(Output("x"),), failures_max=2),
        Step("a", RUN, needs=(0,), outputs=(Output("y"),), failures_max=2),
        Step("b", RUN, per=Per.BLOCK, block_jobs=2, needs=(0, 1), failures_max=2),
    ),
    "setup": (
        Step("first", RUN, per=Per.DATASET, outputs=(Output("x"),), failures_max=2),
        Step("a", RUN, needs=(0,), outputs=(Output("y"),), failures_max=2),
        Step("b", RUN, needs=(0, 1), failures_max=2),
    ),
}
EDITED = 20  # what the leases of the document with another command are numbered from
LIVE = (1, 2, 3)
FATES = [Fate.SUCCESS] * 4 + [Fate.PAYLOAD_ERROR, Fate.PAYLOAD_ERROR, Fate.LOST]

Seg = tuple[LeaseId, PilotRun, tuple[Attempt, ...]]


def dag_of(document: Dataset) -> Dag:
    return Dag(document, spec.dataset_digest(spec.encode(document)))


def edits(document: Dataset) -> tuple[Dataset, ...]:
    """The document itself; with another command for its first step, other limits, other sizes."""
    first, *rest = document.steps
    other = replace(first, run=Command(("/bin/false",)))
    lenient = [replace(one, failures_max=one.failures_max + 1) for one in document.steps]
    sizes = [replace(document, jobs=jobs) for jobs in SIZES]
    sizes.append(replace(document, open=True))
    commands = replace(document, steps=(other, *rest))
    return document, commands, replace(document, steps=(*lenient,)), *sizes


def output(step: int, job: int, variant: int) -> tuple[tuple[bytes, int], ...]:
    return ((digest("test", f"{step} {job} {variant}".encode()), 10 + variant),)


@st.composite
def segs(draw: st.DrawFn, of: Dag) -> list[Seg]:
    """Segments of three leases of each of two documents.

    Numbers of attempts sometimes repeat, as they must not.
    """
    found = []
    for nth in range(draw(st.integers(1, 5))):
        under = draw(st.sampled_from([0, 0, 0, EDITED]))
        answered = draw(st.sampled_from(LIVE))
        lease = LeaseId(bytes([10 + under + answered]) * 16)
        run = PilotRun(bytes([draw(st.integers(1, 2))]) * 8)
        attempts = []
        for place in range(draw(st.integers(0, 5))):
            step = draw(st.sampled_from(range(len(of.whole))))
            job = draw(st.integers(0, of.dataset.tasks_of(step) - 1))
            fate = draw(st.sampled_from(FATES))
            variant = draw(st.sampled_from([0, 0, 0, 1]))
            made = output(step, job, variant) if of.dataset.steps[step].outputs else ()
            local = draw(st.sampled_from([10 * nth + place] * 5 + [place, 0]))
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
        for one in of.needed((step, job), parent):
            variant = draw(st.sampled_from([0, 0, 0, 0, 1]))
            made = output(parent, one, variant) if of.dataset.steps[parent].outputs else ()
            found.append(outcome_digest(made))
    return tuple(found)


@st.composite
def controls(draw: st.DrawFn, of: Dag) -> list[tuple[Control, ...]]:
    """What people asked, each with all that came in one commit."""
    found: list[tuple[Control, ...]] = []
    now = of
    for number in range(draw(st.integers(0, 3))):
        words = [w for w in ControlWord if w is not ControlWord.TOMBSTONE]
        word = draw(st.sampled_from([*words, ControlWord.RESET, ControlWord.EDIT]))
        jobs = draw(st.sampled_from([None, None, IntervalSet.of([0]), IntervalSet.of([1, 2])]))
        steps = draw(st.sampled_from([None, (0,), (len(of.whole) - 1,)]))
        if word is ControlWord.EDIT:
            before, now = now, dag_of(draw(st.sampled_from(edits(of.dataset))))
            found.append(edit(before, now, 1000 + number))
        else:
            found.append((make_control(of, word, steps, jobs, EPOCH, 1000 + number),))
    if draw(st.integers(0, 9)) == 0:
        found.append((Control(ControlWord.TOMBSTONE, None, EPOCH, 2000),))
    return found


def edit(before: Dag, now: Dag, number: int) -> tuple[Control, ...]:
    """Another document, after the reset of what it makes stale: then no lease of that stands."""
    asked = Control(ControlWord.EDIT, None, EPOCH, number, now.digest)
    every = IntervalSet(((0, max(JOBS, *SIZES)),))
    return tuple(reversed(controls_of((before, now), every, asked)))


@st.composite
def pins(draw: st.DrawFn, of: Dag) -> list[Pin]:
    found = []
    for number in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        step = draw(st.sampled_from(range(len(of.whole))))
        job = draw(st.integers(0, of.dataset.tasks_of(step) - 1))
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
    blocks += [Block(0, IntervalSet(((0, of.dataset.tasks_of(step)),)), (step,)) for step in whole]
    hashes = tuple((step, of.spec_hash(step)) for step in range(len(of.whole)))
    return Lease(
        LeaseId(bytes([number]) * 16), DATASET, of.digest, 0, tuple(blocks), hashes, (), (), (), (),
        3_600_000,
    )  # fmt: skip


def compare(board: Board, memory: Memory) -> None:
    """Verdicts, outcomes, failures, counters, usage and pins are those of the merge of rows."""
    rows = board.rows()
    of = memory.dag
    whole = memory.joined
    counted: dict[tuple[int, Verdict], int] = {}
    for step, single in enumerate(of.single):
        for job in range(1 if single else JOBS + 2):
            has = rows.get((step, job))
            should = memory.row((step, job))
            if has is None:
                implied = Memory(of)
                implied.controls = list(whole.all)
                has = implied.row((step, job))
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


Event = tuple[str, Any]  # a kind, and what came


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_and_rows_agree_whatever_arrives_in_whatever_order(shape: str) -> None:
    document = Dataset("board", JOBS, 1, SHAPES[shape])
    of = dag_of(document)

    @settings(deadline=None, max_examples=EXAMPLES, phases=[Phase.reuse, Phase.generate])
    @given(data=st.data())
    def agree(data: st.DataObject) -> None:
        order = data.draw(st.permutations(data.draw(events(of))))
        run(document, of, order, data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))

    agree()


def run(document: Dataset, of: Dag, order: Sequence[Event], sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        store = store_in(Path(name))
        try:
            board = board_of(store, document)
            memory = Memory(of, map(dag_of, edits(document)))
            live: set[int] = set()
            for part in parts(order, sizes):
                join(board, part, live)
                mirror(memory, board, part, live)
                if os.environ.get("STEPWISE"):
                    print("PART", [(k, v if k not in ("segment",) else "") for k, v in part])
                    compare(board, memory)
            compare(board, memory)
        finally:
            store.close()


@st.composite
def events(draw: st.DrawFn, of: Dag) -> list[Event]:
    """A history; leases end after they began, wherever else anything comes."""
    found: list[Event] = [("segment", one) for one in draw(segs(of))]
    found += [("control", one) for one in draw(controls(of))]
    found += [("pin", one) for one in draw(pins(of))]
    found += [("lease", number) for number in LIVE]
    found += [("end", number) for number in LIVE if number != 2]
    return found


def parts(order: Sequence[Event], sizes: Sequence[int]) -> Iterator[Sequence[Event]]:
    """Cut a history into parts of the given sizes, again and again."""
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(order):
            break
        yield order[at : at + size]
        at += size


def board_of(store: Store, document: Dataset) -> Board:
    """A dataset in a store, with leases that no longer live for every segment to answer."""
    several = edits(document)
    board = Board(store, document, several)
    for under, of in ((0, board.dag), (EDITED, dag_of(several[1]))):
        for number in LIVE:
            name = LeaseId(bytes([10 + under + number]) * 16)
            board.know_lease(replace(lease_of(of, number), lease=name))
    return board


def join(board: Board, part: Sequence[Event], live: set[int]) -> None:
    """Join a part of a history; keeps which leases live."""
    segments, asked, pinned = facts_of(part)
    board.join(segments, pinned, asked)
    for kind, number in part:
        if kind == "lease":
            board.add_lease(lease_of(board.dag, number))
            live.add(number)
        elif kind == "end" and number in live:
            board.end_leases([bytes([number]) * 16])
            live.discard(number)


def mirror(memory: Memory, board: Board, part: Sequence[Event], live: set[int]) -> None:
    """Join the same part in memory; `live`: the leases that live at its end."""
    segments, asked, pinned = facts_of(part)
    for control in asked:
        memory.join(controls=[control])
    memory.join(board.facts(segments), pinned)
    for kind, number in part:
        if kind in ("lease", "end"):
            memory.join(leases=covered(board.dag, live, number))


def facts_of(part: Sequence[Event]) -> tuple[list[Seg], list[Control], list[Pin]]:
    """The segments, controls and pins of a part of a history."""
    return (
        [one for kind, one in part if kind == "segment"],
        [one for kind, several in part if kind == "control" for one in several],
        [one for kind, one in part if kind == "pin"],
    )


def covered(of: Dag, live: set[int], number: int) -> dict[Place, tuple[int, int]]:
    """For the tasks of one lease whether any live lease covers them."""
    held = {(task.step, task.job) for one in live for task, _ in lease_of(of, one).tasks()}
    return {
        (task.step, task.job): (int((task.step, task.job) in held), generation)
        for task, generation in lease_of(of, number).tasks()
    }


def test_a_child_that_came_before_its_reset_and_its_parent_counts_once_both_are_there() -> None:
    document = Dataset("board", JOBS, 1, SHAPES["chain"])
    of = dag_of(document)
    lease, run_ = LeaseId(bytes([11]) * 16), PilotRun(bytes([1]) * 8)
    parent_made = output(0, 0, 0)

    def success(step: int, consumed_: tuple[bytes, ...], made: Any) -> Seg:
        about = (0, 0, 1_000_000, 2_000, 3_000, 0, Usage(1, 1, 1, 1, 2, 3))
        one = Attempt(0, step, 1, 10 + step, Fate.SUCCESS, *about, consumed_, made)
        return lease, run_, (one,)

    child = success(1, (outcome_digest(parent_made),), ())
    reset = make_control(of, ControlWord.RESET, None, None, EPOCH, 1000)
    order: list[Event] = [
        ("segment", child),
        ("control", (reset,)),
        ("segment", success(0, (), parent_made)),
    ]
    for arrival in itertools.permutations(order):
        run(document, of, arrival, [1])


@pytest.mark.parametrize(
    ("word", "opposite"),
    [(ControlWord.CANCEL, ControlWord.UNCANCEL), (ControlWord.SUSPEND, ControlWord.RESUME)],
)
def test_what_is_let_go_on_by_name_stays_so_when_an_older_word_about_all_comes_later(
    word: ControlWord, opposite: ControlWord
) -> None:
    document = Dataset("board", JOBS, 1, SHAPES["gather"])
    of = dag_of(document)
    all_ = make_control(of, word, None, None, EPOCH, 1000)
    some = make_control(of, opposite, (0,), IntervalSet.of([1, 2]), EPOCH, 1001)
    reset = make_control(of, ControlWord.RESET, None, None, EPOCH, 999)
    order: list[Event] = [("control", (one,)) for one in (all_, some, reset)]
    for arrival in itertools.permutations(order):
        run(document, of, arrival, [1])
