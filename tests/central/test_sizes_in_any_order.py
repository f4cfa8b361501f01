"""Datasets that grow, shrink, open and close say the same whatever came first.

Beside the bytes of a real store stands a model that keeps facts alone and judges every task anew:
it works out by itself which jobs a block gathers.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bundle.dataset.spec import Command, Dataset, Output, Per, Step
from bundle.digest import digest
from bundle.fates import Fate
from bundle.ids import LeaseId, PilotRun
from bundle.intervals import IntervalSet
from bundle.records.attempt import Attempt, Usage, outcome_digest
from bundle.records.lease import Block, Lease
from central.core.controls import Controls, make_control
from central.core.dag import Dag
from central.core.edit import Size, controls_of, resized
from central.core.facts import AttemptFact, Control, ControlWord, Place, Verdict
from central.core.verdict import TaskFacts, verdict
from tests.central.board import Board, store_in
from tests.central.memory import DATASET, EPOCH
from tests.central.test_bytes_and_rows import Seg, dag_of

EXAMPLES = int(os.environ.get("PULK_TEST_EXAMPLES", "40"))
SIZES = range(1, 9)
RUN, OTHER = Command(("/bin/true",)), Command(("/bin/false",))
SHAPES = {
    "blocks over blocks": (
        Step("a", RUN, outputs=(Output("x"),), failures_max=2),
        Step("m", RUN, per=Per.BLOCK, block_jobs=3, needs=(0,), outputs=(Output("y"),)),
        Step("n", RUN, per=Per.BLOCK, block_jobs=3, needs=(0, 1), outputs=(Output("z"),)),
        Step("all", RUN, per=Per.DATASET, needs=(2,), outputs=(Output("s"),)),
        Step("after", RUN, needs=(0, 3), failures_max=2),
    ),
    "blocks of two sizes": (
        Step("first", RUN, per=Per.DATASET, outputs=(Output("x"),)),
        Step("a", RUN, needs=(0,), outputs=(Output("y"),), failures_max=2),
        Step("m", RUN, per=Per.BLOCK, block_jobs=2, needs=(0, 1), outputs=(Output("z"),)),
        Step("w", RUN, per=Per.BLOCK, block_jobs=3, needs=(1,), failures_max=2),
        Step("all", RUN, per=Per.DATASET, needs=(2, 3)),
    ),
}
ASKED = ("size", "size", "size", "open", "close", "command", "reset", "adopt", "cancel", "uncancel")


def about(document: Dataset, step: int, task: int) -> list[int]:
    """The jobs that a task is about: this test's own words for it."""
    if document.steps[step].per is Per.DATASET:
        return list(range(document.jobs))
    span = document.steps[step].block_jobs or 1
    return [job for job in range(document.jobs) if job // span == task]


def tasks_about(document: Dataset, step: int, jobs: Sequence[int]) -> list[int]:
    """The tasks of a step that are about some of these jobs, each once."""
    if document.steps[step].per is Per.DATASET:
        return [0]
    span = document.steps[step].block_jobs or 1
    return sorted({job // span for job in jobs})


@dataclass
class Model:
    """All facts; nothing else is kept."""

    documents: dict[bytes, Dag]
    first: bytes

    def judged(
        self, controls: Sequence[Control], attempts: Sequence[AttemptFact]
    ) -> dict[Place, tuple[Verdict, bytes, int]]:
        """Verdict, outcome and generation of every task that there is."""
        dag = self.documents[Controls(controls).document or self.first]
        document, joined = dag.dataset, Controls(controls)
        found: dict[Place, tuple[Verdict, bytes, int]] = {}
        for step in dag.order:
            said = document.steps[step]
            for task in tasks_about(document, step, range(document.jobs)):
                jobs = about(document, step, task)
                parents = [
                    (one, its)
                    for one in sorted(said.needs)
                    for its in tasks_about(document, one, jobs)
                ]
                outcomes = [found[one][1] for one in parents]
                missing = document.open and self._lacks(document, step, jobs)
                standing = joined.standing((step, task))
                facts = TaskFacts(
                    spec_hash=dag.spec_hash(step),
                    failures_max=said.failures_max,
                    rules=said.retry,
                    lineage=digest("lineage", b"".join(outcomes)) if all(outcomes) else None,
                    parents_done=not missing and all(found[p][0] is Verdict.DONE for p in parents),
                    attempts=[one for one in set(attempts) if one.place == (step, task)],
                    standing=standing,
                )
                its = verdict(facts, 0)
                found[step, task] = (its.verdict, its.outcome, standing.generation)
        return found

    @staticmethod
    def _lacks(document: Dataset, step: int, jobs: Sequence[int]) -> bool:
        """Whether a task of an open dataset may get more jobs to be about."""
        said = document.steps[step]
        if said.per is Per.BLOCK:
            return len(jobs) < said.block_jobs
        gathers = any(document.steps[one].per is not Per.DATASET for one in said.needs)
        return said.per is Per.DATASET and gathers


def output(step: int, task: int, variant: int) -> tuple[tuple[bytes, int], ...]:
    return ((digest("test", f"{step} {task} {variant}".encode()), 10),)


def lease_of(dag: Dag, nth: int) -> Lease:
    """A lease of all tasks of a document, which is over."""
    every = [Block(0, IntervalSet(((0, tasks),)), (step,)) for step, tasks in enumerate(dag.tasks)]
    hashes = tuple((step, dag.spec_hash(step)) for step in range(len(dag.tasks)))
    name = LeaseId(nth.to_bytes(16, "big"))
    return Lease(name, DATASET, dag.digest, 0, tuple(every), hashes, (), (), (), (), 3_600_000)


@dataclass(repr=False)
class History:
    """What people asked, commit by commit, and what sites sent; `documents` in any order."""

    documents: list[Dataset]
    commits: list[tuple[Control, ...]]
    segments: list[tuple[int, PilotRun, tuple[Attempt, ...]]]  # number of its document first

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(repr(self))

    def __repr__(self) -> str:
        """Tell it in short: Hypothesis shows every history that fails."""
        sizes = [f"{one.jobs}{' open' * one.open}" for one in self.documents]
        words = [[f"{one.word} {one.regions}" for one in several] for several in self.commits]
        ran = [
            (nth, [(one.step, one.job, one.generation, str(one.fate)) for one in attempts])
            for nth, _, attempts in self.segments
        ]
        return f"History({sizes}, {words}, {ran})"


@st.composite
def histories(draw: st.DrawFn, shape: str) -> History:
    start = Dataset(
        "sized", draw(st.sampled_from(SIZES)), 1, SHAPES[shape], open=draw(st.booleans())
    )
    documents, commits, now = [start], [], start
    everything = IntervalSet(((0, max(SIZES)),))
    for number in range(1, draw(st.integers(1, 6)) + 1):
        asked = draw(st.sampled_from(ASKED))
        before = now
        if asked == "size":
            now = resized(now, Size(jobs=draw(st.sampled_from(SIZES))))
        elif asked in ("open", "close"):
            now = resized(now, Size(open=asked == "open"))
        elif asked == "command":
            which = draw(st.integers(0, 1))
            steps = list(now.steps)
            steps[which] = replace(steps[which], run=OTHER if steps[which].run == RUN else RUN)
            now = replace(now, steps=tuple(steps))
        else:
            step = draw(st.sampled_from([None, 0, 1, 2]))
            jobs = draw(st.sampled_from([None, IntervalSet(((0, 2),)), IntervalSet(((3, 5),))]))
            of = None if step is None else (step,)
            made = make_control(dag_of(now), ControlWord(asked), of, jobs, EPOCH, number)
            commits.append((made,))
            continue
        edit = Control(ControlWord.EDIT, None, EPOCH, number, dag_of(now).digest)
        commits.append(controls_of((dag_of(before), dag_of(now)), everything, edit))
        if now not in documents:
            documents.append(now)
    return History(documents, commits, draw(st.lists(segments(documents), min_size=2, max_size=8)))


@st.composite
def segments(
    draw: st.DrawFn, documents: Sequence[Dataset]
) -> tuple[int, PilotRun, tuple[Attempt, ...]]:
    """What one pilot ran of a document: mostly whole jobs and their blocks, from their parents."""
    nth = draw(st.integers(0, len(documents) - 1))
    document, attempts = documents[nth], []
    low = draw(st.integers(0, document.jobs - 1))
    past = draw(st.integers(low, min(low + 5, document.jobs)))
    generation = draw(st.sampled_from([0, 0, 0, 1, 2]))
    for step in dag_of(document).order:
        for task in tasks_about(document, step, range(low, past)):
            if draw(st.integers(0, 5)) == 0:
                continue
            fails = draw(st.integers(0, 7)) == 0
            variant = draw(st.sampled_from([0] * 9 + [1]))
            jobs = about(document, step, task)
            consumed = tuple(
                outcome_digest(output(parent, one, 0) if document.steps[parent].outputs else ())
                for parent in sorted(document.steps[step].needs)
                for one in tasks_about(document, parent, jobs)
            )
            made = output(step, task, variant) if document.steps[step].outputs else ()
            attempts.append(
                Attempt(
                    task, step, generation, len(attempts),
                    Fate.PAYLOAD_ERROR if fails else Fate.SUCCESS, 0, 0, 1, 2, 3, 0,
                    Usage(1, 1, 1, 1, 1, 1), consumed, () if fails else made,
                )
            )  # fmt: skip
    return nth, PilotRun(draw(st.integers(1, 2**40)).to_bytes(8, "big")), tuple(attempts)


def shuffled(history: History, draw: random.Random) -> Iterator[tuple[list[Control], list[int]]]:
    """Cut a history into parts, in another order, some of it again: (controls, segments)."""
    commits = [("commit", nth) for nth in range(len(history.commits))]
    brought = [("segment", nth) for nth in range(len(history.segments))]
    some = [one for one in commits + brought for _ in range(draw.choice([1, 1, 2]))]
    draw.shuffle(some)
    while some:
        size = draw.randrange(1, 5)
        part, some = some[:size], some[size:]
        asked = [history.commits[nth] for kind, nth in part if kind == "commit"]
        controls = [one for several in asked for one in _joined(several)]
        yield controls, [nth for kind, nth in part if kind == "segment"]


def _joined(commit: tuple[Control, ...]) -> list[Control]:
    """The controls of a commit as central joins them: resets first."""
    return sorted(commit, key=lambda one: one.word is not ControlWord.RESET)


def check(board: Board, model: Model, joined: Joined) -> None:
    """Compare every task with the model, and the counters with the tasks."""
    expected = model.judged(joined.controls, joined.attempts)
    rows = board.rows()
    empty = model.judged(joined.controls, ())
    for place, (word, outcome, generation) in expected.items():
        row = rows.get(place)
        if row is None:  # nothing happened to it, nor to what it needs
            assert (word, outcome) == (empty[place][0], b""), place
            continue
        assert (row.verdict, row.outcome, row.generation) == (word, outcome, generation), place
    for place, row in rows.items():
        assert place in expected or row.verdict is Verdict.REMOVED, place
    for one in board.store.tasks.steps(board.no):
        for nth, word in enumerate(Verdict):
            its = [row for (step, _), row in rows.items() if step == one.step]
            assert one.verdicts[nth] == sum(row.verdict is word for row in its), (one.step, word)
    assert board.problems() == []


@dataclass
class Joined:
    controls: list[Control]
    attempts: list[AttemptFact]


def play(history: History, draw: random.Random, *, each: bool) -> None:
    """Join a history to a store in some order and compare with the model, at the end or each."""
    with tempfile.TemporaryDirectory() as name:
        store = store_in(Path(name))
        try:
            dags = [dag_of(one) for one in history.documents]
            board = Board(store, history.documents[0], history.documents)
            leases = [lease_of(dag, nth + 1) for nth, dag in enumerate(dags)]
            for lease in leases:
                board.know_lease(lease)
            model = Model({dag.digest: dag for dag in dags}, dags[0].digest)
            joined = Joined([], [])
            for controls, brought in shuffled(history, draw):
                segs: list[Seg] = []
                for nth in brought:
                    of, run, attempts = history.segments[nth]
                    segs.append((leases[of].lease, run, attempts))
                board.join(segs, (), controls)
                joined.controls += controls
                joined.attempts += board.facts(segs)
                if each:
                    check(board, model, joined)
            check(board, model, joined)
        finally:
            store.close()


def sweep(shape: str, examples: int, *, each: bool) -> None:
    @settings(
        deadline=None,
        max_examples=examples,
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(history=histories(shape), number=st.integers(0, 2**32))
    def same(history: History, number: int) -> None:
        play(history, random.Random(number), each=each)

    same()


@pytest.mark.sweeps
@pytest.mark.parametrize("shape", SHAPES)
def test_every_task_stands_as_if_it_were_judged_anew_whatever_came_first(shape: str) -> None:
    sweep(shape, EXAMPLES, each=True)


@pytest.mark.campaign
@pytest.mark.parametrize("shape", SHAPES)
def test_thousands_of_histories_leave_every_task_as_if_it_were_judged_anew(shape: str) -> None:
    sweep(shape, 2000, each=True)
