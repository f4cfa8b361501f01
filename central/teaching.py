"""Keeping what attempts teach: one small value per step of a dataset, and per spec hash.

Changed in the transaction that adds the attempts, by those that are new with it: each counts once,
in whatever order and however often its bundle arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bundle.dataset.spec import Request
from bundle.ids import DatasetId
from bundle.records.learning import Learning, Policy
from bundle.records.rules import UNKNOWN, Maximum
from central.core import learned, sketch
from central.core.dag import Dag
from central.core.facts import USAGE_MAX
from central.core.learned import Learned
from central.core.segment_columns import SUCCESS, Laid, SegmentColumns
from central.state.recall import Recalled
from central.store.rows import DatasetRow
from central.workings import Workings

_USED = ("memory_peak_mib", "wall_ms", "cpu_ms", "disk_peak_bytes")


def note(workings: Workings, row: DatasetRow, fresh: Sequence[Recalled]) -> None:
    """Learn from the segments that this transaction adds."""
    dag = workings.dag(row.digest)
    alike: dict[tuple[int, bytes], list[SegmentColumns]] = {}
    taught = {step for step in range(len(dag.dataset.steps)) if teaches(dag, step)}
    for segment in fresh:
        for step in taught.intersection(segment.columns.steps()):
            alike.setdefault((step, segment.spec_hashes[step]), []).append(segment.columns)
    for (step, spec), several in alike.items():
        laid = Laid(several)
        its = (laid["fate"] == SUCCESS) & (laid["step"] == step)
        one = learned.of_columns(*(np.minimum(laid[name][its], USAGE_MAX) for name in _USED))
        if one != learned.UNTAUGHT:
            add(workings, row.id, step, spec, one)


def add(
    workings: Workings, dataset: DatasetId, step: int, spec_hash: bytes, taught: Learned
) -> None:
    """Add what new attempts at one step taught; inside the transaction that adds them.

    Args:
        workings: the central.
        dataset: its id.
        step: index of the step.
        spec_hash: of what was run.
        taught: `learned.of_columns` or `learned.of_facts` of those attempts.
    """
    people = workings.store.people
    for name in (_of_step(dataset, step), _of_spec(spec_hash)):
        kept = learned.decode(people.meta(name), name)
        people.set_meta(name, learned.encode(kept + taught))


def teaches(dag: Dag, step: int) -> bool:
    """Return whether a step has so many tasks that a request could be learned from them."""
    said = dag.dataset.learning
    least = sketch.needed(said.quantile_milli / 1000, said.confidence_milli / 1000)
    return dag.dataset.tasks_of(step) >= least


def known(workings: Workings, row: DatasetRow, dag: Dag, step: int) -> Learned:
    """Return what was learned of a step: here, or of the same spec elsewhere where that is more."""
    people = workings.store.people
    here, alike = (
        learned.decode(people.meta(name), name)
        for name in (_of_step(row.id, step), _of_spec(dag.spec_hash(step)))
    )
    return alike if alike.walltime_ms.count > here.walltime_ms.count else here


def asks(
    workings: Workings,
    row: DatasetRow,
    dag: Dag,
    steps: Iterable[int],
    maximum: Maximum = UNKNOWN,
) -> dict[int, Request]:
    """Return what first tries of steps ask for where that was learned and is to be applied."""
    said = dag.dataset.learning
    found: dict[int, Request] = {}
    if said.policy is Policy.APPLY:
        for step in steps:
            asked = dag.dataset.steps[step].request
            wanted = learned.request(known(workings, row, dag, step), asked, said, maximum)
            if wanted != asked:
                found[step] = wanted
    return found


def shown(workings: Workings, row: DatasetRow) -> dict[str, Any]:
    """Return what was learned of a dataset, for people, each value beside what was asked."""
    dag = workings.dag(row.digest)
    said = dag.dataset.learning
    steps = [] if said.policy is Policy.OFF else range(len(dag.dataset.steps))
    return {
        "policy": str(said.policy),
        "quantile": said.quantile_milli / 1000,
        "confidence": said.confidence_milli / 1000,
        "needed": sketch.needed(said.quantile_milli / 1000, said.confidence_milli / 1000),
        "steps": [_shown_step(workings, row, dag, step) for step in steps],
    }


def problems(has: Workings, should: Workings, row: DatasetRow) -> list[str]:
    """Return where what one central keeps differs from what another made of the same archive."""
    found = []
    for step in range(row.steps):
        name = _of_step(row.id, step)
        if has.store.people.meta(name) != should.store.people.meta(name):
            found.append(f"{row.id} step {step}: what was learned is not what its attempts teach")
    return found


def _shown_step(workings: Workings, row: DatasetRow, dag: Dag, step: int) -> dict[str, Any]:
    said, of = dag.dataset.learning, dag.dataset.steps[step]
    taught = known(workings, row, dag, step)
    made: dict[str, Any] = {"step": step, "name": of.name, "successes": taught.walltime_ms.count}
    for one in learned.lessons(taught, of.request, said):
        made[one.resource] = {
            "asked": one.asked,
            "bound": one.bound,
            "suggested": one.suggested if one.bound is not None else None,
            "why": _why(one, said, dag.dataset.tasks_of(step)),
        }
    made["cpu_ms"] = {
        "bound": sketch.suggest(
            taught.cpu_ms, said.quantile_milli / 1000, said.confidence_milli / 1000
        )
    }
    return made


def _why(one: learned.Lesson, said: Learning, tasks: int) -> str:
    sure, quantile = said.confidence_milli / 1000, said.quantile_milli / 1000
    if one.bound is None:
        least = sketch.needed(quantile, sure)
        few = f"only {tasks} tasks" if tasks < least else f"only {one.count} successes so far"
        return f"{few}, {least} are needed"
    text = f"with {sure:g} confidence {quantile:g} of tasks use at most {one.bound}"
    wanted = -(-one.bound * said.margin_milli // 1000)
    if one.suggested > wanted:
        return f"{text}; held at {said.least_milli / 1000:g} of what is asked"
    if one.suggested < wanted:
        return f"{text}; held at {said.most_milli / 1000:g} times what is asked"
    return f"{text}, times {said.margin_milli / 1000:g}"


def _of_step(dataset: DatasetId, step: int) -> str:
    return f"learned/{dataset}/{step}"


def _of_spec(spec_hash: bytes) -> str:
    return f"learned/spec/{spec_hash.hex()}"
