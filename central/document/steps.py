"""Which steps of the dataset the entries of `steps` become: iterations, and scripts as files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import NamedTuple

from bundle.dataset.refusals import BeyondLimit, DatasetRefused, DuplicateName
from bundle.limits import STEPS_MAX
from central.document.form import DatasetForm, StepForm

SHELL = ("/bin/sh",)


@dataclass(frozen=True, slots=True)
class Entry:
    """A step of the dataset, and the entry of the document (`index`) that it comes from.

    `words`: how many of `argv` stand before the arguments of a script; 0: there is no script.
    """

    index: int
    name: str
    iteration: int | None
    argv: tuple[str, ...]
    files: tuple[str, ...]
    words: int = 0


class Meant(NamedTuple):
    """A step that a name means, and the folder for its files: of several alike each has its own."""

    place: int
    folder: str


@dataclass(slots=True)
class Laid:
    """All steps of the dataset, in order, and which of them each name means."""

    entries: list[Entry] = field(default_factory=list)
    _by_name: dict[str, list[Meant]] = field(default_factory=dict)

    def add(self, entry: Entry, name: str) -> None:
        """Add a step, of an entry with a name; the graph's check refuses the second of a name."""
        place = len(self.entries)
        self.entries.append(entry)
        if entry.name == name:
            self._by_name.setdefault(name, [Meant(place, "")])
            return
        self._by_name.setdefault(entry.name, [Meant(place, "")])
        self._by_name.setdefault(name, []).append(Meant(place, f"{entry.iteration}/"))

    def meant(self, name: str) -> list[Meant]:
        """Return the steps that a name means; none where it is unknown."""
        return self._by_name.get(name, [])

    def names(self) -> list[str]:
        """Return all names that mean a step."""
        return list(self._by_name)


def laid_out(form: DatasetForm, files: dict[str, bytes]) -> Laid:
    """Return the steps that a document comes to; scripts are added to its files."""
    count = sum(step.iterations or 1 for step in form.steps)
    if count > STEPS_MAX:
        allowed = f"at most {STEPS_MAX}"
        quantity = "the number of steps with iterations"
        raise BeyondLimit(where="steps", quantity=quantity, found=count, allowed=allowed)
    named = {step.name for step in form.steps}
    laid = Laid()
    for index, step in enumerate(form.steps):
        run = _run(step, f"steps[{index}]", files)
        if step.iterations is None:
            laid.add(Entry(index, step.name, step.iteration, *run), step.name)
            continue
        for number in range(step.iterations):
            name = f"{step.name}-{number}"
            if name in named:
                where = f"steps[{index}].iterations"
                taken = "a step of its own beside this iteration"
                raise DuplicateName(where=where, name=name, taken_by=taken)
            laid.add(Entry(index, name, number, *run), step.name)
    return laid


class _Run(NamedTuple):
    argv: tuple[str, ...]
    files: tuple[str, ...]
    words: int


def _run(step: StepForm, where: str, files: dict[str, bytes]) -> _Run:
    """Return the command and the files of an entry."""
    if step.script is None:
        return _Run(tuple(step.command or ()), tuple(step.files), 0)
    name = f"{step.name}.script"
    where = f"{where}.script"
    if name in files:
        raise DuplicateName(where=where, name=name, taken_by=f'files."{name}"')
    content = step.script.encode(errors="surrogatepass")
    files[name] = content
    words = (*_interpreter(step.script, where), name)
    return _Run((*words, *step.arguments), (*step.files, name), len(words))


def _interpreter(script: str, where: str) -> tuple[str, ...]:
    """Return the words of a script's first line that say what runs it; sh where it says nothing."""
    if not script.startswith("#!"):
        return SHELL
    try:
        words = shlex.split(script.partition("\n")[0][2:])
    except ValueError as error:
        raise DatasetRefused(where=where, reason=f"its first line: {error}") from None
    if not words:
        raise DatasetRefused(where=where, reason="its first line names no program after #!")
    return tuple(word.replace("$", "$$") for word in words)
