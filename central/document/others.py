"""Other datasets that a document needs tasks of: their names become ids, outputs are looked up.

The canonical document holds ids, and names of steps and outputs. Who can ask a central gives a
`Find`; without one a document must say the ids, and which files it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.refusals import DatasetRefused, UnknownOutput, UnknownStep, meant
from bundle.errors import PulkError
from bundle.ids import DatasetId, parse_dataset_id
from central.document.form import InputForm, NeedForm, StepForm

SHOWN_MAX = 8


@dataclass(frozen=True, slots=True)
class Other:
    """What is known of another dataset: its steps' names with the names of their outputs."""

    id: DatasetId
    steps: dict[str, tuple[str, ...]]


Find = Callable[[str], Sequence[Other]]
"""Return the datasets that somebody may read and that have an id, or a name."""


class Others:
    """The other datasets of one document, each asked for once."""

    def __init__(self, find: Find | None) -> None:
        """Ask by this; None: nobody can be asked."""
        self._find = find
        self._known: dict[str, Other | DatasetId] = {}

    def needs_of(self, step: StepForm, here: str) -> tuple[tuple[Foreign, ...], tuple[int, ...]]:
        """Return a step's needs of other datasets, and where each stands in `needs`.

        Raises DatasetRefused.
        """
        found: list[Foreign] = []
        places: list[int] = []
        for place, need in enumerate(step.needs):
            if need.dataset is not None:
                where = f"{here}.needs[{place}]"
                found.append(self._need(step, need, where))
                places.append(place)
        for place, one in enumerate(step.inputs or ()):
            if one.dataset is not None:
                self._add(found, one, f"{here}.inputs[{place}]")
        return tuple(found), tuple(places)

    def _need(self, step: StepForm, need: NeedForm, where: str) -> Foreign:
        other = self._other(need.dataset or "", f"{where}.dataset")
        default = Which.SAME if step.per == "job" else Which.ALL
        which = default if need.jobs is None else Which(need.jobs)
        pairs: tuple[tuple[str, str], ...] = ()
        if isinstance(other, Other):
            outputs = self._outputs(other, need.step, where)
            if step.inputs is None:
                pairs = tuple((name, name) for name in outputs)
        elif step.inputs is None and self._find is not None:
            raise _nothing(need.dataset or "", f"{where}.dataset")
        elif step.inputs is None:
            reason = "which outputs it has is not known here: list inputs (none: inputs = [])"
            raise DatasetRefused(where=where, reason=f"{reason}, or say which central to ask")
        return Foreign(_id(other), need.step, which, pairs)

    def _add(self, found: list[Foreign], one: InputForm, where: str) -> None:
        """Add an input to the need that it comes of."""
        step, colon, output = one.source.partition(":")
        if not colon:
            reason = f'{one.source!r} does not name an output: write "step:output"'
            raise DatasetRefused(where=where, reason=reason)
        other = self._other(one.dataset or "", f"{where}.dataset")
        if isinstance(other, Other):
            known = self._outputs(other, step, where)
            if output not in known:
                listed = ", ".join(sorted(known)[:SHOWN_MAX]) or "none"
                hint = meant(output, known, f"it declares {listed}")
                raise UnknownOutput(where=where, step=step, output=repr(output), hint=hint)
        for place, need in enumerate(found):
            if (need.dataset, need.step) == (_id(other), step):
                name = output if one.name is None else one.name
                pairs = (*need.inputs, (output, name))
                found[place] = Foreign(need.dataset, need.step, need.which, pairs)
                return
        reason = f"it comes from step {step} of dataset {one.dataset}, which is not in needs"
        remedy = f'add {{dataset = "{one.dataset}", step = "{step}"}} there'
        raise DatasetRefused(where=where, reason=f"{reason}: {remedy}")

    def _outputs(self, other: Other, step: str, where: str) -> tuple[str, ...]:
        if step not in other.steps:
            listed = ", ".join([*other.steps][:SHOWN_MAX])
            hint = meant(step, other.steps, f"dataset {other.id} has {listed}")
            raise UnknownStep(where=where, step=f"{step!r} in that dataset", hint=hint)
        return other.steps[step]

    def _other(self, given: str, where: str) -> Other | DatasetId:
        if given not in self._known:
            self._known[given] = self._found(given, where)
        return self._known[given]

    def _found(self, given: str, where: str) -> Other | DatasetId:
        found = () if self._find is None else self._find(given)
        if len(found) > 1:
            ids = ", ".join(one.id for one in found[:SHOWN_MAX])
            reason = f"{len(found)} datasets are named {given[:200]!r}: write the id of one"
            raise DatasetRefused(where=where, reason=f"{reason} ({ids})")
        if found:
            return found[0]
        try:
            return parse_dataset_id(given)  # central has the last word: it may stand there already
        except PulkError:
            if self._find is not None:
                raise _nothing(given, where) from None
        reason = f"{given[:200]!r} is no id, and nobody can be asked whose name it is"
        remedy = "write the dataset's id, or say which central to ask"
        raise DatasetRefused(where=where, reason=f"{reason}: {remedy}")


def _nothing(given: str, where: str) -> DatasetRefused:
    reason = f"there is no dataset {given[:200]} that you may read: see `pulk dataset list`"
    return DatasetRefused(where=where, reason=reason)


def _id(other: Other | DatasetId) -> DatasetId:
    return other.id if isinstance(other, Other) else other
