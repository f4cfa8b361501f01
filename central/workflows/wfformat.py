"""Reading of WfFormat 1.0 to 1.5, the JSON of WfCommons' workflow instances.

Up to 1.4 tasks lie in `workflow.tasks` (`jobs` up to 1.2) and refer to each other by name; from
1.5 they lie in `workflow.specification` and refer by id, with times in `workflow.execution`.
Commands in the file are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from central.document.text_file import json_values, read_text
from central.workflows.fields import Fields
from central.workflows.recorded import Recorded, RecordedFile, RecordedTask
from central.workflows.references import Tasks, edges
from central.workflows.refusals import DuplicateTask, UnknownSchema, UnknownTask, WorkflowRefused

KB = 1000  # `memory` of the old schemas; WfCommons converts it to memoryInBytes with 1000
_VERSION = re.compile(r"1\.([0-5])(?:\.[0-9]+)?")


def read(path: Path) -> Recorded:
    """Read a WfFormat file. Raises WorkflowRefused or DocumentRefused."""
    text = read_text(path)
    try:
        value = json_values(text)
    except RecursionError:
        reason, hint = "nested too deep", "this is no WfCommons instance"
        raise WorkflowRefused(where=str(path), reason=reason, hint=hint) from None
    except ValueError as error:
        hint = "fetch it again: it is incomplete, or no WfCommons instance"
        raise WorkflowRefused(where=str(path), reason=f"not JSON: {error}", hint=hint) from None
    return parse(value, str(path))


def parse(value: Any, file: str) -> Recorded:
    """Read the values of a WfFormat file; `file` is how errors name it. Raises WorkflowRefused."""
    if not isinstance(value, dict):
        hint = "give a WfCommons instance"
        raise WorkflowRefused(where=file, reason="this is no JSON object", hint=hint)
    top = Fields(value, file, "")
    version = _version(top)
    workflow = top.object("workflow")
    if workflow.has("specification"):
        return _specified(top, workflow, version)
    if version >= 5:
        workflow.object("specification")  # refuses: the key is missing
    return _flat(top, workflow, version)


def _version(top: Fields) -> int:
    """Return the minor version; a file without one is told by its layout."""
    if not top.has("schemaVersion"):
        return 5 if top.object("workflow").has("specification") else 4
    text = top.text("schemaVersion")
    match = _VERSION.fullmatch(text)
    if match is None:
        raise UnknownSchema(
            where=top.where("schemaVersion"),
            reason=f"{text!r} is none of 1.0 to 1.5",
            hint="convert the file to WfFormat 1.5",
        )
    return int(match[1])


def _flat(top: Fields, workflow: Fields, version: int) -> Recorded:
    """Read the layout up to 1.4: one list, in which each task holds everything."""
    key = "tasks" if workflow.has("tasks") or not workflow.has("jobs") else "jobs"
    rows = _rows(workflow, key)
    tasks = _tasks(rows, version)
    parents = edges(tasks)
    made = tuple(
        _task(row, tasks.labels[place], parents[place], _linked_files(row))
        for place, row in enumerate(rows)
    )
    return _recorded(top, made, f"workflow.{key}")


def _specified(top: Fields, workflow: Fields, version: int) -> Recorded:
    """Read the layout of 1.5: tasks, files and executions in three lists, joined by ids."""
    specification = workflow.object("specification")
    rows = _rows(specification, "tasks")
    tasks = _tasks(rows, version)
    parents = edges(tasks)
    size_of = _sizes(specification)
    executions = _executions(workflow, tasks)
    unsized: set[str] = set()

    def files(row: Fields) -> tuple[list[RecordedFile], list[RecordedFile]]:
        sides = [row.texts("inputFiles"), row.texts("outputFiles")]
        unsized.update(key for side in sides for key in side if key not in size_of)
        inputs, outputs = ([RecordedFile(k, size_of.get(k, 0)) for k in side] for side in sides)
        return inputs, outputs

    made = tuple(
        _task(executions.get(place), tasks.labels[place], parents[place], files(row))
        for place, row in enumerate(rows)
    )
    return _recorded(top, made, "workflow.specification.tasks", unsized)


def _rows(parent: Fields, key: str) -> list[Fields]:
    rows = list(parent.objects(key))
    if not rows:
        raise parent.refused(key, "there are no tasks")
    return rows


def _tasks(rows: list[Fields], version: int) -> Tasks:
    labels = []
    for row in rows:
        if version >= 5:
            labels.append(row.text("id"))
        else:
            labels.append(row.text("name") if row.has("name") else row.text("id"))
    return Tasks(rows, labels, version)


def _sizes(specification: Fields) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in specification.objects("files", required=False):
        key = row.text("id")
        size = int(row.number("sizeInBytes") or 0)
        if found.setdefault(key, size) != size:
            reason = f"the file {key!r} is listed twice with different sizes"
            raise row.refused("sizeInBytes", reason)
    return found


def _executions(workflow: Fields, tasks: Tasks) -> dict[int, Fields]:
    """Return for each task's place what was recorded when it ran."""
    found: dict[int, Fields] = {}
    if not workflow.has("execution"):
        return found
    for row in workflow.object("execution").objects("tasks", required=False):
        reference = row.text("id")
        place = tasks.place_of_id.get(reference)
        if place is None:
            hint = "remove it, or give the id of a task in workflow.specification.tasks"
            raise UnknownTask(where=row.where("id"), reference=reference, hint=hint)
        if place in found:
            hint = "keep one execution of each task"
            raise DuplicateTask(where=row.where("id"), reference=reference, hint=hint)
        found[place] = row
    return found


def _linked_files(row: Fields) -> tuple[list[RecordedFile], list[RecordedFile]]:
    inputs: list[RecordedFile] = []
    outputs: list[RecordedFile] = []
    for file in row.objects("files", required=False):
        key = file.text("name") if file.has("name") else file.text("id")
        one = RecordedFile(key, int(file.number("sizeInBytes", "size") or 0))
        match file.text("link"):
            case "input":
                inputs.append(one)
            case "output":
                outputs.append(one)
            case other:
                raise file.refused("link", f"{other!r} is neither input nor output")
    return inputs, outputs


def _task(
    ran: Fields | None,
    label: str,
    parents: tuple[int, ...],
    files: tuple[list[RecordedFile], list[RecordedFile]],
) -> RecordedTask:
    memory = ran.number("memoryInBytes") if ran else None
    if memory is None and ran is not None:
        memory = (ran.number("memory") or 0) * KB
    return RecordedTask(
        label=label,
        parents=parents,
        inputs=_once(files[0]),
        outputs=_once(files[1]),
        runtime_s=ran.number("runtimeInSeconds", "runtime") if ran else None,
        cpu_percent=ran.number("avgCPU") if ran else None,
        memory_bytes=int(memory or 0),
    )


def _once(files: Iterable[RecordedFile]) -> tuple[RecordedFile, ...]:
    """Return the files without repetitions of a key, in the order of first mention."""
    first: dict[str, RecordedFile] = {}
    for file in files:
        first.setdefault(file.key, file)
    return tuple(first.values())


def _recorded(
    top: Fields, tasks: tuple[RecordedTask, ...], tasks_path: str, unsized: Iterable[str] = ()
) -> Recorded:
    notes = [
        *_note([task.label for task in tasks if task.runtime_s is None], "tasks", "runtime: 0 s"),
        *_note(sorted(unsized), "files", "size: 1 byte"),
    ]
    name, description = (top.text(k) if top.value.get(k) else "" for k in ("name", "description"))
    return Recorded(name, description, tasks, tasks_path, tuple(notes))


def _note(names: list[str], kind: str, lack: str) -> Iterable[str]:
    if names:
        yield f"{len(names)} {kind} have no recorded {lack}; first: {names[0]}"
