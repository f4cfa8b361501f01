"""The ledger: what the payloads themselves say happened, written outside the programs.

Every payload of a rehearsal appends one line, `<attempt key> <exit status>`, when it ends. Lost
and double are measured against it, never against what the programs believe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bundle.dataset.spec import Command, Dataset, Step
from bundle.ids import AttemptKey, MalformedId, Task, parse_attempt

LEDGER_VARIABLE = "PULK_LEDGER"
# The payload runs as it would, then its end is appended with one write; a signal is passed on.
# `$$` is a dollar: the text goes through the expansion of macros.
_WRAP = """\
"$@"
ended=$?
printf '%s %s\\n' "$PULK_ATTEMPT" "$ended" >> "$PULK_LEDGER"
[ "$ended" -le 128 ] || kill -"$$((ended - 128))" "$$$$"
exit "$ended"
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every line: the attempt and its exit status, in order of writing."""

    lines: tuple[tuple[AttemptKey, int], ...]
    torn: int  # lines that were cut by a kill

    def succeeded(self) -> set[AttemptKey]:
        """Return the attempts that ended with status 0."""
        return {key for key, status in self.lines if status == 0}

    def tasks_succeeded(self) -> set[Task]:
        """Return the tasks of which some attempt ended with status 0."""
        return {key.task for key in self.succeeded()}


def with_ledger(dataset: Dataset) -> Dataset:
    """Return the dataset with every command wrapped so that it appends its end to the ledger."""
    return replace(dataset, steps=tuple(_wrapped(step) for step in dataset.steps))


def read_ledger(path: Path) -> Ledger:
    """Read the ledger; a missing file is an empty one."""
    lines: list[tuple[AttemptKey, int]] = []
    torn = 0
    for line in path.read_text().splitlines() if path.exists() else ():
        key, _, status = line.partition(" ")
        try:
            lines.append((parse_attempt(key), int(status)))
        except (MalformedId, ValueError):
            torn += 1
    return Ledger(tuple(lines), torn)


def _wrapped(step: Step) -> Step:
    if not isinstance(step.run, Command):
        return step  # a synthetic payload writes its line itself
    return replace(step, run=Command(("/bin/sh", "-c", _WRAP, "sh", *step.run.argv)))
