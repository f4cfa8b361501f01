"""A recorded workflow as frozen values, whatever schema its file has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file that a task read or wrote; `key` is the same wherever the same file is meant."""

    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RecordedTask:
    """One task: `label` is what a person calls it, `parents` are places in the list of tasks.

    `cpu_percent` is of one core and may exceed 100. None is what was not recorded.
    """

    label: str
    parents: tuple[int, ...]
    inputs: tuple[RecordedFile, ...]
    outputs: tuple[RecordedFile, ...]
    runtime_s: float | None
    cpu_percent: float | None
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """A whole workflow; `tasks_path` leads to its tasks inside the file, `notes` say what lacks."""

    name: str
    description: str
    tasks: tuple[RecordedTask, ...]
    tasks_path: str
    notes: tuple[str, ...] = ()
