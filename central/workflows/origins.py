"""Where each file that a task read came from: a task before it, or outside the workflow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from central.workflows.recorded import RecordedTask


@dataclass(frozen=True, slots=True)
class Origins:
    """`producer` maps (place of the reader, file key) to the place of the task that wrote it."""

    producer: dict[tuple[int, str], int]
    size_of: dict[str, int]
    notes: tuple[str, ...]

    def producer_of(self, place: int, key: str) -> int | None:
        """Return the task that wrote the file for this reader, None where none before it did."""
        return self.producer.get((place, key))


def find_origins(tasks: Sequence[RecordedTask], order: Sequence[int]) -> Origins:
    """Find the producer of every file read.

    A parent that writes it, the last in `order` where several do; else the last such ancestor;
    else nobody. `size_of` is the largest size recorded of a file, so that it is one everywhere.
    """
    writers: dict[str, list[int]] = {}
    for place in order:
        for file in tasks[place].outputs:
            writers.setdefault(file.key, []).append(place)
    producer: dict[tuple[int, str], int] = {}
    open_cases: dict[int, list[str]] = {}  # reader -> files that no parent writes, but others do
    for place, task in enumerate(tasks):
        parents = frozenset(task.parents)
        for file in task.inputs:
            candidates = writers.get(file.key, [])
            found = next((one for one in reversed(candidates) if one in parents), None)
            if found is not None:
                producer[place, file.key] = found
            elif any(one != place for one in candidates):
                open_cases.setdefault(place, []).append(file.key)
    notes = _search_ancestors(tasks, order, writers, open_cases, producer) if open_cases else []
    return Origins(producer, _sizes(tasks), tuple(notes))


def _search_ancestors(
    tasks: Sequence[RecordedTask],
    order: Sequence[int],
    writers: dict[str, list[int]],
    open_cases: dict[int, list[str]],
    producer: dict[tuple[int, str], int],
) -> list[str]:
    """Settle what parents did not; one set of bits per task, dropped after its last child."""
    children = [0] * len(tasks)
    for task in tasks:
        for parent in task.parents:
            children[parent] += 1
    ancestors: dict[int, int] = {}
    implied: list[str] = []
    strangers: list[str] = []
    for place in order:
        above = 0
        for parent in tasks[place].parents:
            above |= ancestors[parent] | (1 << parent)
            children[parent] -= 1
            if children[parent] == 0:
                del ancestors[parent]
        if children[place]:
            ancestors[place] = above
        for key in open_cases.get(place, ()):
            found = next((one for one in reversed(writers[key]) if above >> one & 1), None)
            if found is None:
                strangers.append(f"{tasks[place].label} reads {key}")
            else:
                producer[place, key] = found
                implied.append(f"{tasks[place].label} reads {key} of {tasks[found].label}")
    return [
        *_note(implied, "files come from an ancestor that is no parent, which adds its edge"),
        *_note(strangers, "files are written by a task that need not run before, so generated"),
    ]


def _note(cases: list[str], what: str) -> Iterable[str]:
    if cases:
        yield f"{len(cases)} {what}; first: {cases[0]}"


def _sizes(tasks: Iterable[RecordedTask]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for task in tasks:
        for file in (*task.inputs, *task.outputs):
            largest[file.key] = max(largest.get(file.key, 0), file.size_bytes)
    return largest
