"""A recorded WfCommons workflow as a dataset whose tasks really run.

Each recorded task becomes one step of a dataset of one job, with a synthetic payload that burns
the recorded cpu, holds the recorded memory, reads every input and writes outputs in the recorded
proportions. The commands of the file are never run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bundle.dataset import graph
from bundle.dataset.names import STEP_NAME
from bundle.dataset.refusals import DatasetRefused
from bundle.dataset.seeds import named_seed
from bundle.dataset.spec import Dataset, Generated, Input, Output, Request, Step, Synthetic
from bundle.limits import NAME_CHARS_MAX
from central.workflows import wfformat
from central.workflows.origins import Origins, find_origins
from central.workflows.recorded import Recorded, RecordedTask
from central.workflows.refusals import WorkflowRefused

MIB = 1 << 20
REQUEST_OVERHEAD_MIB = 64  # what the payload's own process needs beside the memory it holds
REQUEST_DISK_BYTES = 16 * MIB
WALLTIME_MS_MIN = 300_000
WALLTIME_FACTOR = 4
FILE_NAME_CHARS_MAX = 200
LABEL_CHARS_MAX = 120  # of a step's name, before a number makes it unique


class Scale(NamedTuple):
    """Factors on recorded times and on recorded sizes (files and memory)."""

    time: float = 1.0
    size: float = 1.0


UNSCALED = Scale()


class Imported(NamedTuple):
    """A dataset and what had to be decided on the way, in words."""

    dataset: Dataset
    notes: tuple[str, ...]


def load(path: Path, scale: Scale = UNSCALED, name: str = "") -> Imported:
    """Read a WfFormat file as a dataset. Raises WorkflowRefused, DatasetRefused.

    Args:
        path: the file, WfFormat 1.0 to 1.5.
        scale: factors on times and sizes, finite and >= 0.
        name: of the dataset; the workflow's own where empty.
    """
    for what, factor in (("--time-scale", scale.time), ("--size-scale", scale.size)):
        if not math.isfinite(factor) or factor < 0:
            hint = "give a number >= 0"
            raise WorkflowRefused(where=what, reason=f"{factor} is no scale", hint=hint)
    recorded = wfformat.read(path)
    return convert(recorded, str(path), scale, name)


def convert(recorded: Recorded, file: str, scale: Scale, name: str = "") -> Imported:
    """Make the dataset of a recorded workflow; `file` is how errors name it."""
    unique = _Unique(_step_name)
    names = [unique.name(task.label) for task in recorded.tasks]
    title = _clean(name or recorded.name, NAME_CHARS_MAX) or Path(file).stem or "workflow"
    draft = Dataset(
        name=title,
        jobs=1,
        seed=0,
        steps=tuple(
            Step(names[place], Synthetic(0, 0, 0, ()), needs=task.parents)
            for place, task in enumerate(recorded.tasks)
        ),
        description=_clean(recorded.description, 1000),
    )
    try:
        origins = find_origins(recorded.tasks, graph.order(draft))
        maker = _StepMaker(recorded, names, origins, scale)
        dataset = Dataset(
            draft.name, 1, 0, tuple(map(maker.step, range(len(names)))), draft.description
        )
        graph.check(dataset)
    except DatasetRefused as error:
        inner = error.where.replace("steps[", f"{recorded.tasks_path}[").replace("needs", "parents")
        raise type(error)(where=f"{file}: {inner}", **error.fields) from None
    return Imported(dataset, recorded.notes + origins.notes)


class _StepMaker:
    """Makes the step of each task; holds what all of them share."""

    def __init__(
        self, recorded: Recorded, names: list[str], origins: Origins, scale: Scale
    ) -> None:
        self._tasks, self._names, self._origins, self._scale = recorded.tasks, names, origins, scale
        self._output_names = [_output_names(task) for task in recorded.tasks]
        self._output_of = [
            {one.key: place for place, one in enumerate(task.outputs)} for task in recorded.tasks
        ]

    def step(self, place: int) -> Step:
        task = self._tasks[place]
        run = self._run(task)
        inputs, generated = self._inputs(place)
        moved = sum(run.output_bytes) + sum(one.size_bytes for one in generated)
        moved += sum(self._size(self._tasks[i.step].outputs[i.output].size_bytes) for i in inputs)
        return Step(
            name=self._names[place],
            run=run,
            needs=tuple(sorted({*task.parents, *(one.step for one in inputs)})),
            inputs=tuple(inputs),
            generated=tuple(generated),
            outputs=tuple(Output(name) for name in self._output_names[place]),
            request=Request(
                memory_mib=run.memory_mib + REQUEST_OVERHEAD_MIB,
                disk_bytes=moved + REQUEST_DISK_BYTES,
                walltime_ms=max(WALLTIME_MS_MIN, WALLTIME_FACTOR * run.wall_ms),
            ),
        )

    def _run(self, task: RecordedTask) -> Synthetic:
        """The payload has one thread: it cannot burn more cpu than it has wall time."""
        wall_ms = (task.runtime_s or 0.0) * self._scale.time * 1000
        percent = 100.0 if task.cpu_percent is None else min(task.cpu_percent, 100.0)
        return Synthetic(
            cpu_ms=round(wall_ms * percent / 100),
            wall_ms=round(wall_ms),
            memory_mib=math.ceil(task.memory_bytes * self._scale.size / MIB),
            output_bytes=tuple(self._size(one.size_bytes) for one in task.outputs),
        )

    def _inputs(self, place: int) -> tuple[list[Input], list[Generated]]:
        """Stage every file that the task read; names are made apart from those it writes."""
        unique = _Unique(_file_name, self._output_names[place])
        inputs: list[Input] = []
        generated: list[Generated] = []
        for file in self._tasks[place].inputs:
            name = unique.name(file.key)
            producer = self._origins.producer_of(place, file.key)
            if producer is None:
                size = self._size(self._origins.size_of[file.key])
                generated.append(Generated(name, size, named_seed(0, file.key)))
            else:
                inputs.append(Input(producer, self._output_of[producer][file.key], name))
        return inputs, generated

    def _size(self, size_bytes: int) -> int:
        return max(1, round(size_bytes * self._scale.size))


class _Unique:
    """Gives each text a safe name of its own: the text itself where it is one, else numbered."""

    def __init__(self, safe: Callable[[str], str], taken: Iterable[str] = ()) -> None:
        self._safe = safe
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def name(self, text: str) -> str:
        first = candidate = self._safe(text)
        number = self._next.get(first, 2)
        while candidate in self._taken:
            candidate = f"{first}-{number}"
            number += 1
        self._next[first] = number
        self._taken.add(candidate)
        return candidate


def _output_names(task: RecordedTask) -> list[str]:
    unique = _Unique(_file_name)
    return [unique.name(one.key) for one in task.outputs]


def _clean(text: str, chars_max: int) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+", " ", text)[:chars_max].strip()


def _file_name(text: str) -> str:
    """Return a name without folders, or what a file system or a table may stumble over."""
    flat = re.sub(r"[^A-Za-z0-9_.+=,@~-]+", "_", text.strip("/"))
    return flat[-FILE_NAME_CHARS_MAX:].lstrip(".") or "_"


def _step_name(text: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_.+-]+", "_", text)[:LABEL_CHARS_MAX]
    return word if STEP_NAME.fullmatch(word) else f"_{word}"
