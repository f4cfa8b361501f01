"""What a step needs of another dataset: the task of its own number, or all tasks of a step there.

Whether they are done is asked where tasks are given out, never where verdicts are made: what a
dataset's facts say depends on no other dataset (ADR 33).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bundle import shape
from bundle.dataset import names
from bundle.dataset.refusals import BeyondLimit, DatasetRefused, DuplicateName
from bundle.errors import PulkError
from bundle.ids import DatasetId, parse_dataset_id

FOREIGN_MAX = 64  # needs of other datasets that one step has
INPUTS_MAX = 1024  # files that it reads of one of them, from each task


class Which(StrEnum):
    """Which tasks of the other step a task needs: that about the same job, or every one."""

    SAME = "same"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A need of another dataset's step, known by its name there.

    `inputs`: (output there, name here); of `all` tasks each lies in a folder named after its task.
    """

    dataset: DatasetId
    step: str
    which: Which = Which.SAME
    inputs: tuple[tuple[str, str], ...] = ()

    def named(self, name: str, task: int) -> str:
        """Return where a task's file of such a name lies in the directory."""
        return f"{task}/{name}" if self.which is Which.ALL else name


def to_wire(several: tuple[Foreign, ...]) -> dict[str, Any]:
    """Return them as they are carried and hashed; absent where there are none."""
    rows = [[one.dataset, one.step, str(one.which), _pairs(one)] for one in several]
    return {"foreign": rows} if rows else {}


def _pairs(one: Foreign) -> list[list[str]]:
    return [list(pair) for pair in one.inputs]


def from_wire(reader: shape.Reader) -> tuple[Foreign, ...]:
    """Read the foreign needs of a step. Raises WrongShape."""
    if not reader.has("foreign"):
        return ()
    rows = list(reader.readers("foreign"))
    if not rows:  # it is not written then, so that equal means equal bytes
        where = f"{reader.where}.foreign"
        raise shape.WrongShape(where=where, expected="needs, or no key", found="none")
    return tuple(_read(row) for row in rows)


def _read(row: shape.Reader) -> Foreign:
    _has(row, 4)
    word = row.text(2)
    if word not in set(Which):
        raise shape.WrongShape(where=f"{row.where}[2]", expected="same or all", found=word)
    pairs = []
    for pair in row.readers(3):
        _has(pair, 2)
        pairs.append((pair.text(0), pair.text(1)))
    return Foreign(DatasetId(row.text(0)), row.text(1), Which(word), tuple(pairs))


def _has(row: shape.Reader, count: int) -> None:
    if not isinstance(row.value, list) or len(row.value) != count:
        found = f"{len(row.value)} fields"
        raise shape.WrongShape(where=row.where, expected=f"{count} fields", found=found)


def check(several: tuple[Foreign, ...], here: str, *, is_per_job: bool) -> None:
    """Refuse needs of other datasets that no dataset could meet; what is there central knows."""
    if len(several) > FOREIGN_MAX:
        quantity, allowed = "needs of other datasets", f"at most {FOREIGN_MAX}"
        raise BeyondLimit(where=here, quantity=quantity, found=len(several), allowed=allowed)
    seen: set[tuple[str, str]] = set()
    for place, one in enumerate(several):
        where = f"{here}[{place}]"
        _check_one(one, where, is_per_job=is_per_job)
        if (one.dataset, one.step) in seen:
            taken = "an earlier need of that dataset"
            raise DuplicateName(where=where, name=one.step, taken_by=taken)
        seen.add((one.dataset, one.step))


def _check_one(one: Foreign, where: str, *, is_per_job: bool) -> None:
    try:
        parse_dataset_id(one.dataset)
    except PulkError as error:
        raise DatasetRefused(where=f"{where}.dataset", reason=error.text()) from None
    names.check_step_name(one.step, f"{where}.step")
    if one.which is Which.SAME and not is_per_job:
        reason = "only a step per job needs the task of the same job of another dataset"
        raise DatasetRefused(where=f"{where}.jobs", reason=f'{reason}: write jobs = "all"')
    if len(one.inputs) > INPUTS_MAX:
        quantity, allowed = "files of one other step", f"at most {INPUTS_MAX}"
        raise BeyondLimit(where=where, quantity=quantity, found=len(one.inputs), allowed=allowed)
    for output, _ in one.inputs:
        names.check_path(output, where)
