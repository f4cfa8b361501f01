"""Other datasets that a document needs: found by who may read them, and checked when it comes in.

Whoever may not read a dataset is told what they would be told if there were none.
"""

from __future__ import annotations

from collections.abc import Iterator

from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.refusals import DatasetRefused, UnknownOutput, UnknownStep, meant
from bundle.dataset.spec import Dataset
from bundle.ids import DatasetId
from central import access, persons
from central.core.authorise import TOKEN_SCOPES, Action, Decision, Principal, Role, decide
from central.core.dag import Dag
from central.document import Other
from central.foreign import travels
from central.planning import LEASE_PINS_MAX
from central.store.rows import DatasetRow
from central.workings import Workings

NAMES_SHOWN = 8
CHAIN_MAX = 10_000  # datasets that are walked through in search of a circle


def find(workings: Workings, given: str, by: Principal) -> list[Other]:
    """Return the datasets that somebody may read and that have an id or a name."""
    rows = workings.store.datasets.datasets()
    fitting = [row for row in rows if row.id == given] or [r for r in rows if r.name == given]
    found = []
    for row in fitting:
        if may_read(workings, row, by):
            steps = workings.dag(row.digest).dataset.steps
            outputs = {step.name: tuple(one.name for one in step.outputs) for step in steps}
            found.append(Other(row.id, outputs))
    return found


def may_read(workings: Workings, row: DatasetRow, by: Principal) -> bool:
    """Return whether somebody may read a dataset that was not removed."""
    resource = access.resource(access.of(workings.store, row))
    allowed = decide(by, Action.DATASET_READ, resource) is Decision.ALLOWED
    return allowed and not workings.controls(row).whole.removed


def signer(workings: Workings, key: bytes) -> Principal:
    """Return who signed a submission, by their key; one without any right, if it is unknown."""
    people = workings.store.people
    name = next((one.name for one in people.users() if one.key == key), "")
    for one in people.persons():
        if name and one.name == name and not one.closed_us:
            groups = frozenset(persons.groups_of(one))
            return Principal(one.name, Role(one.role), TOKEN_SCOPES, groups, no=one.no)
    return Principal("", Role.READ_ONLY, frozenset())


def check(
    workings: Workings,
    dataset: Dataset,
    by: Principal,
    *,
    own: DatasetId | None = None,
    before: Dataset | None = None,
) -> None:
    """Refuse a document whose needs of other datasets nothing could meet.

    Args:
        workings: the central.
        dataset: what comes in.
        by: who brings it.
        own: the dataset whose document it becomes; None: a new one.
        before: its document until now: what it needed already is not asked about again.

    Raises DatasetRefused.
    """
    known = set() if before is None else {one for step in before.steps for one in step.foreign}
    for index, step in enumerate(dataset.steps):
        where = f"steps[{index}].needs"
        for one in step.foreign:
            if one in known:
                continue
            if own is not None:
                _refuse_circle(workings, own, one.dataset, where)
            _check(workings, dataset, one, where, by)


def _check(workings: Workings, of: Dataset, one: Foreign, where: str, by: Principal) -> None:
    row = workings.store.datasets.dataset(one.dataset)
    if row is None or not may_read(workings, row, by):
        reason = f"there is no dataset {one.dataset} that you may read: see `pulk dataset list`"
        raise DatasetRefused(where=where, reason=reason)
    dag = workings.dag(row.digest)
    names = [step.name for step in dag.dataset.steps]
    if one.step not in names:
        hint = meant(one.step, names, f"it has {', '.join(names[:NAMES_SHOWN])}")
        raise UnknownStep(where=where, step=f"{one.step!r} in dataset {row.id}", hint=hint)
    step = names.index(one.step)
    _check_outputs(dag, step, one, where)
    _check_count(of, (dag, step), one, where)


def _check_outputs(dag: Dag, step: int, one: Foreign, where: str) -> None:
    outputs = {each.name: each for each in dag.dataset.steps[step].outputs}
    for name, _ in one.inputs:
        if name not in outputs:
            hint = meant(name, outputs, f"it declares {', '.join(outputs) or 'none'}")
            raise UnknownOutput(where=where, step=one.step, output=repr(name), hint=hint)
    if one.inputs and not travels(dag, step):
        reason = f"the outputs of {one.step} in dataset {one.dataset} need not travel home"
        why = "its own steps read them"
        remedy = f"edit that dataset first, with keep = true for output {one.inputs[0][0]!r}"
        raise DatasetRefused(where=where, reason=f"{reason}, as {why}: {remedy}")


def _check_count(of: Dataset, there: tuple[Dag, int], one: Foreign, where: str) -> None:
    dag, step = there
    jobs, tasks = dag.dataset.jobs, dag.dataset.tasks_of(step)
    fewer = jobs < of.jobs and not dag.single[step] and not dag.dataset.open
    if one.which is Which.SAME and fewer:
        reason = f"dataset {one.dataset} has {jobs} jobs, this one {of.jobs}"
        raise DatasetRefused(where=where, reason=f"{reason}: extend it, or ask for fewer here")
    if one.which is Which.ALL and tasks * len(one.inputs) > LEASE_PINS_MAX:
        reason = f"{tasks} tasks with {len(one.inputs)} files each are more than one lease tells"
        remedy = f"at most {LEASE_PINS_MAX}: gather them first, in a step per block there"
        raise DatasetRefused(where=where, reason=f"{reason}, {remedy}")


def _refuse_circle(workings: Workings, own: DatasetId, needed: DatasetId, where: str) -> None:
    """Walk through what the needed dataset needs in turn."""
    todo, seen = [needed], {needed}
    while todo and len(seen) < CHAIN_MAX:
        one = todo.pop()
        if one == own:
            reason = f"dataset {needed} needs this one, by itself or through others"
            raise DatasetRefused(where=where, reason=f"{reason}: neither could ever start")
        for name in _needed_by(workings, one):
            if name not in seen:
                seen.add(name)
                todo.append(name)


def _needed_by(workings: Workings, dataset: DatasetId) -> Iterator[DatasetId]:
    row = workings.store.datasets.dataset(dataset)
    if row is not None:
        for step in workings.dag(row.digest).dataset.steps:
            yield from (one.dataset for one in step.foreign)
