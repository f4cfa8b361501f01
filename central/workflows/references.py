"""Who precedes whom in a WfFormat file: parents and children, by id or by name.

Schema 1.5 refers by id. Up to 1.4 a reference is a task's *name* by definition; names that do not
tell tasks apart make the whole file one that uses ids, or it is refused. Nothing is ever dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bundle.dataset.refusals import meant
from central.workflows.fields import Fields
from central.workflows.refusals import DuplicateTask, NamesForIds, UnknownTask, WorkflowRefused


@dataclass(slots=True)
class Tasks:
    """The tasks of a file by place, with the ways to refer to them. Raises DuplicateTask."""

    rows: list[Fields]
    labels: list[str]
    version: int
    place_of_id: dict[str, int] = field(init=False)
    places_of_name: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Make the tables; two tasks of one id are refused."""
        self.place_of_id, self.places_of_name = {}, {}
        for place, row in enumerate(self.rows):
            if row.has("name"):
                self.places_of_name.setdefault(row.text("name"), []).append(place)
            if row.has("id"):
                known = self.place_of_id.setdefault(row.text("id"), place)
                if known != place:
                    hint = f"{self.rows[known].path} has this id as well: give each its own"
                    raise DuplicateTask(where=row.where("id"), reference=row.text("id"), hint=hint)


def edges(tasks: Tasks) -> list[tuple[int, ...]]:
    """Return for each task the places of its parents, ascending: parents and children united."""
    references = list(_references(tasks))
    resolve = _by_id(tasks) if tasks.version >= 5 else _by_name_or_id(tasks, references)
    parents: list[set[int]] = [set() for _ in tasks.rows]
    for place, key, index, reference in references:
        other = resolve(place, f"{key}[{index}]", reference)
        if key == "parents":
            parents[place].add(other)
        else:
            parents[other].add(place)
    return [tuple(sorted(one)) for one in parents]


_Reference = tuple[int, str, int, str]  # place of the task, key, place in the array, text
_Resolve = Callable[[int, str, str], int]


def _references(tasks: Tasks) -> Iterator[_Reference]:
    for place, row in enumerate(tasks.rows):
        for key in ("parents", "children"):
            for index, reference in enumerate(row.texts(key)):
                yield place, key, index, reference


def _by_id(tasks: Tasks) -> _Resolve:
    def resolve(place: int, key: str, reference: str) -> int:
        found = tasks.place_of_id.get(reference)
        if found is not None:
            return found
        where = tasks.rows[place].where(key)
        same = tasks.places_of_name.get(reference)
        if same:
            ids = [tasks.labels[one] for one in same[:3]]
            hint = f"write the id ({' or '.join(ids)}); or, if the file is of schema 1.4, say so"
            raise NamesForIds(where=where, reference=reference, version="1.5", hint=hint)
        raise _unknown(tasks, where, reference, tasks.place_of_id)

    return resolve


def _by_name_or_id(tasks: Tasks, references: list[_Reference]) -> _Resolve:
    """Take names where every reference is the name of one task, else ids where all are ids."""
    texts = {text for _, _, _, text in references}
    by_name = all(len(tasks.places_of_name.get(text, ())) == 1 for text in texts)
    if not by_name and all(text in tasks.place_of_id for text in texts):
        return _by_id(tasks)

    def resolve(place: int, key: str, reference: str) -> int:
        same = tasks.places_of_name.get(reference, [])
        if len(same) == 1:
            return same[0]
        where = tasks.rows[place].where(key)
        if not same:
            raise _unknown(tasks, where, reference, tasks.places_of_name)
        hint = "give every task a name of its own, or use ids throughout"
        raise DuplicateTask(where=where, reference=reference, hint=hint)

    return resolve


def _unknown(
    tasks: Tasks, where: str, reference: str, known: dict[str, int] | dict[str, list[int]]
) -> WorkflowRefused:
    hint = meant(reference, known, f"name one of the {len(tasks.rows)} tasks, or remove it")
    return UnknownTask(where=where, reference=reference, hint=hint)
