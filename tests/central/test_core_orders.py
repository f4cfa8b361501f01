"""The pure merge: the same facts in any order, split, repetition and tree give one state."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bundle.dataset.spec import Dataset
from central.core.dag import Dag
from central.core.facts import AttemptFact, Control, Pin, attempt_fact
from tests.central.memory import Memory
from tests.central.test_bytes_and_rows import (
    EDITED,
    JOBS,
    LIVE,
    SHAPES,
    Event,
    dag_of,
    edits,
    events,
    lease_of,
)

SEED = int(os.environ.get("PULK_SEED", time.time_ns() // 10**9 % 10**6))
SAMPLE = 64  # histories of each shape in `make test`: a thousand merges
CAMPAIGN = 6300  # of each shape in the campaign: more than a hundred thousand
WAYS = 4  # in which each history is merged

Fact = AttemptFact | Pin | Control


def facts_of(document: Dataset, history: Sequence[Event]) -> list[tuple[Fact, ...]]:
    """Return the facts of a history but for leases; those of one commit stay together."""
    dags = {0: dag_of(document), EDITED: dag_of(edits(document)[1])}
    leases = {
        bytes([10 + under + number]) * 16: lease_of(of, number)
        for under, of in dags.items()
        for number in LIVE
    }
    found: list[tuple[Fact, ...]] = []
    for kind, one in history:
        if kind == "control":
            found.append(one)
        elif kind == "pin":
            found.append((one,))
        elif kind == "segment":
            lease, run, attempts = one
            hashes = dict(leases[lease].spec_hashes)
            found += [(attempt_fact(a, lease, run, hashes[a.step]),) for a in attempts]
    return found


def memory_of(document: Dataset) -> Memory:
    return Memory(dag_of(document), map(dag_of, edits(document)))


def merge(memory: Memory, part: Sequence[tuple[Fact, ...]], commit: int | None = None) -> None:
    """Merge some facts, controls before the rest as a bundle's are."""
    flat = [one for several in part for one in several]
    for control in (one for one in flat if isinstance(one, Control)):
        memory.join(controls=[control], commit=commit)
    memory.join(
        [one for one in flat if isinstance(one, AttemptFact)],
        [one for one in flat if isinstance(one, Pin)],
        commit=commit,
    )
    memory.check()


def merged(document: Dataset, parts: Sequence[Sequence[tuple[Fact, ...]]]) -> Memory:
    memory = memory_of(document)
    for part in parts:
        merge(memory, part)
    return memory


def cut(facts: Sequence[tuple[Fact, ...]], draw: random.Random) -> list[list[tuple[Fact, ...]]]:
    """Return facts in another order, some of them again, in parts of any size."""
    some = [one for one in facts for _ in range(draw.choice([1, 1, 2, 3]))]
    draw.shuffle(some)
    found: list[list[tuple[Fact, ...]]] = []
    while some:
        size = draw.randrange(1, 7)
        found.append(some[:size])
        some = some[size:]
    return found


def tree(
    document: Dataset, facts: Sequence[tuple[Fact, ...]], draw: random.Random, depth: int = 2
) -> Memory:
    """Merge halves by themselves, and what both then know, the second half twice."""
    if depth == 0 or len(facts) < 2:
        return merged(document, cut(facts, draw))
    sides: tuple[list[tuple[Fact, ...]], ...] = ([], [])
    for one in facts:
        sides[draw.randrange(2)].append(one)
    known = []
    for side in sides:
        half = tree(document, side, draw, depth - 1)
        # every control of a commit with the others of it
        commits = itertools.groupby(half.controls, key=lambda one: (one.epoch, one.commit))
        known.append([tuple(several) for _, several in commits])
        known[-1] += [(one,) for one in (*half.attempts, *half.pins)]
    return merged(document, [known[0], known[1], known[1]])


def state(memory: Memory) -> dict[str, object]:
    """All that is to be the same, whatever way the facts came."""
    of: Dag = memory.dag
    every = range(JOBS + 2)  # those of the largest document
    places = [(s, j) for s, whole in enumerate(of.whole) for j in every[: 1 if whole else None]]
    return {
        "document": of.digest,
        "rows": [memory.row(place) for place in places],
        "known": {step: number for step, number in memory.known.items() if number},
        "usage": {
            step: (one.attempts, one.wall_ms)
            for step, one in memory.usage.items()
            if one.attempts or one.wall_ms
        },
        "pins": sorted({(p.step, p.job, p.generation, p.outcome) for p in memory.pins}),
        "hash": memory.hash(),
    }


def same_whatever_the_way(shape: str, examples: int, first: int) -> int:
    """Check histories of one shape; return how many merges of a whole history there were."""
    document = Dataset("board", JOBS, 1, SHAPES[shape])
    of = dag_of(document)
    count = itertools.count()

    @settings(
        deadline=None,
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @seed(first)
    @given(history=events(of), number=st.integers(0, 2**32))
    def same(history: list[Event], number: int) -> None:
        draw = random.Random(number)
        facts = facts_of(document, history)
        live = memory_of(document)
        for commit, one in enumerate(facts):
            merge(live, [one], commit + 1)
        facts += [(pin,) for pin in live.pins]
        expected = state(live)
        for name, other in (
            ("as one", merged(document, [facts])),
            ("shuffled", merged(document, cut(facts, draw))),
            ("backwards, one by one", merged(document, [[one] for one in reversed(facts)])),
            ("as a tree", tree(document, facts, draw)),
        ):
            next(count)
            its = state(other)
            for part, said in expected.items():
                assert its[part] == said, f"{part} differ: live, {name}"

    same()
    return next(count)


@pytest.mark.sweeps
@pytest.mark.parametrize("shape", SHAPES)
def test_a_thousand_merges_give_one_state_whatever_the_way(shape: str) -> None:
    print(f"PULK_SEED={SEED}")
    assert same_whatever_the_way(shape, SAMPLE, SEED) >= WAYS * SAMPLE


@pytest.mark.campaign
@pytest.mark.parametrize("shape", SHAPES)
def test_a_hundred_thousand_merges_give_one_state_whatever_the_way(
    shape: str, record_property: Callable[[str, object], None]
) -> None:
    done = same_whatever_the_way(shape, CAMPAIGN, 1)
    record_property("merges", done)
    assert done >= WAYS * CAMPAIGN
