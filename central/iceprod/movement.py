"""Which task's output another task fetches, and under which names files travel.

IceProd moves files by address; Pulk moves them from step to step, and outputs that no step
consumes home. A name in a document is the same for all jobs, so files are renamed on the way
where IceProd has the job's number in a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bundle.dataset.spec import Input, Output
from central.iceprod.holes import plain
from central.iceprod.model import Remark, Task, Weight
from central.iceprod.script import Moved, Script

NAME_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of a task: how the document names it, and how the program does."""

    name: str
    moved: Moved


@dataclass(frozen=True, slots=True)
class Movement:
    """What travels to and from one task; `needs` are all tasks that must have succeeded."""

    needs: tuple[int, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    fetched: tuple[Carried, ...]
    left: tuple[Carried, ...]


class Movements:
    """Finds where every file of a config comes from."""

    def __init__(self, tasks: tuple[Task, ...], scripts: list[Script]) -> None:
        self.remarks: list[Remark] = []
        self._tasks, self._scripts = tasks, scripts
        self._needs = [set(task.depends) for task in tasks]
        self._outputs = [_outputs(one) for one in scripts]
        self._writers: dict[str, list[tuple[int, int]]] = {}
        for index, carried in enumerate(self._outputs):
            for place, one in enumerate(carried):
                self._writers.setdefault(one.moved.url, []).append((index, place))

    def all(self) -> list[Movement]:
        """Return what travels to and from each task."""
        found = [self._inputs(index) for index in range(len(self._tasks))]
        consumed = {(one.step, one.output) for inputs, _ in found for one in inputs}
        return [
            Movement(
                tuple(sorted(self._needs[index])),
                tuple(inputs),
                tuple(self._kept(one, (index, n) in consumed) for n, one in enumerate(outputs)),
                tuple(fetched),
                tuple(outputs),
            )
            for index, ((inputs, fetched), outputs) in enumerate(
                zip(found, self._outputs, strict=True)
            )
        ]

    def _inputs(self, index: int) -> tuple[list[Input], list[Carried]]:
        inputs: list[Input] = []
        fetched: list[Carried] = []
        taken = [one.name for one in self._outputs[index]]
        for moved in self._scripts[index].moved:
            if moved.is_output:
                continue
            writer = self._writer(index, moved)
            if writer is None:
                self._missing(moved)
                continue
            name = _free(plain(moved.local), taken)
            taken.append(name)
            inputs.append(Input(*writer, name))
            fetched.append(Carried(name, moved))
            self._needs[index].add(writer[0])
        return inputs, fetched

    def _writer(self, index: int, moved: Moved) -> tuple[int, int] | None:
        """Return (task, output) that writes a file: the nearest of the tasks that come before."""
        before = self._before(index)
        writers = [one for one in self._writers.get(moved.url, ()) if one[0] != index]
        known = [one for one in writers if one[0] in before]
        if known:
            return max(known, key=lambda one: (len(self._before(one[0])), one))
        free = [one for one in writers if index not in self._before(one[0])]
        if not free:
            return None
        writer = free[0]
        words = (
            f"it is written by task {self._tasks[writer[0]].name}, which IceProd does not wait for"
            " here: added to needs"
        )
        self.remarks.append(Remark(moved.path, Weight.CHANGED, words))
        return writer

    def _before(self, index: int) -> set[int]:
        found: set[int] = set()
        todo = list(self._needs[index])
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo.extend(self._needs[one])
        return found

    def _missing(self, moved: Moved) -> None:
        where = f"{plain(moved.url)} (here {plain(moved.local)})"
        if moved.is_optional:
            words = f"{where} may be missing, and nothing fetches it: it will be missing"
        else:
            words = f"no task writes {where}, and nothing fetches it: put it where nodes find it"
        self.remarks.append(Remark(moved.path, Weight.LOST, words))

    def _kept(self, carried: Carried, is_consumed: bool) -> Output:
        moved = carried.moved
        if moved.kind == "permanent":
            words = f"it travels home as {carried.name}; nothing copies it to {plain(moved.url)}"
            self.remarks.append(Remark(moved.path, Weight.CHANGED, words))
        elif not is_consumed and moved.kind == "job_temp":
            words = f"no other task takes {plain(moved.url)} in: it travels home"
            self.remarks.append(Remark(moved.path, Weight.CHANGED, words))
        elif not is_consumed:
            words = f"{moved.kind}: what is outside of the job finds it in central, not at a site"
            self.remarks.append(Remark(moved.path, Weight.CHANGED, words))
        if moved.is_optional:
            words = "where the program writes none it is an empty file"
            self.remarks.append(Remark(moved.path, Weight.CHANGED, words))
        return Output(carried.name, keep=moved.kind == "permanent" and is_consumed)


def before_lines(movement: Movement) -> list[str]:
    """Return the lines of shell that give fetched files the names that the program expects."""
    lines: list[str] = []
    for one in movement.fetched:
        if one.moved.is_optional:
            lines.append(f"[ -s {quoted(one.name)} ] || rm -f -- {quoted(one.name)}")
        if one.name != one.moved.local:
            folder, slash, _ = one.moved.local.rpartition("/")
            if slash and folder:
                lines.append(f"mkdir -p -- {quoted(folder)}")
            move = f"mv -- {quoted(one.name)} {quoted(one.moved.local)}"
            lines.append(
                f"[ ! -e {quoted(one.name)} ] || {move}" if one.moved.is_optional else move
            )
    return lines


def after_lines(movement: Movement) -> list[str]:
    """Return the lines of shell that give what the program left the names of the document."""
    lines: list[str] = []
    locals_ = [one.moved.local for one in movement.left]
    for place, one in enumerate(movement.left):
        local = one.moved.local
        if one.moved.is_optional:
            lines.append(f"[ -e {quoted(local)} ] || : > {quoted(local)}")
        if one.name != local:
            verb = "cp" if local in locals_[place + 1 :] or _stays(movement, local) else "mv"
            lines.append(f"{verb} -- {quoted(local)} {quoted(one.name)}")
    return lines


def _stays(movement: Movement, local: str) -> bool:
    return any(one.name == local for one in movement.left)


def quoted(text: str) -> str:
    """Return a text as one word of shell; macros in it are expanded before the shell reads it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _outputs(script: Script) -> list[Carried]:
    made: list[Carried] = []
    taken: list[str] = []
    for moved in script.moved:
        if moved.is_output:
            name = _free(plain(moved.local), taken)
            taken.append(name)
            made.append(Carried(name, moved))
    return made


def _free(text: str, taken: Iterable[str]) -> str:
    """Return a safe name without folders that nothing in the task's directory has yet."""
    flat = re.sub(r"[^A-Za-z0-9_.+=,@~-]+", "_", text.strip("/"))[-NAME_CHARS_MAX:]
    first = name = flat.lstrip(".") or "_"
    number = 2
    while name in taken:
        name, number = f"{number}-{first}", number + 1
    return name
