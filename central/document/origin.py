"""Which place of the document a place of the `Dataset` came from: steps and axes were expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bundle.dataset import macros
from bundle.dataset.refusals import UnresolvedMacro
from bundle.dataset.spec import Dataset, Per

_STEP = re.compile(r"steps\[(\d+)\]")
_FOREIGN = re.compile(r"\.foreign\[(\d+)\]")
_WORD = re.compile(r"\.command\[(\d+)\]")
_NAMED = re.compile(r"(?:parameters|lists)\.([^.\[]+)")


@dataclass(frozen=True, slots=True)
class Origin:
    """`steps`: of each step of the dataset the entry of `steps` that it stands in.

    `arguments`: how many words of the command stand before the `arguments` of a script; 0: it has
    none. `axes`: names under `grid` and `each`, and which of the two. `foreign`: where its needs of
    other datasets stand in `needs`.
    """

    steps: tuple[int, ...]
    arguments: tuple[int, ...]
    axes: dict[str, str]
    foreign: tuple[tuple[int, ...], ...] = ()

    def path(self, where: str) -> str:
        """Return a path inside the document for one inside the dataset."""
        step = _STEP.match(where)
        if step and int(step[1]) < len(self.steps):
            number = int(step[1])
            rest = self._rest(number, where[step.end() :])
            return f"steps[{self.steps[number]}]{rest}"
        named = _NAMED.match(where)
        if named and named[1] in self.axes:
            return f"{self.axes[named[1]]}.{named[1]}{where[named.end() :]}"
        return where

    def _rest(self, number: int, rest: str) -> str:
        need = _FOREIGN.match(rest)
        if need and int(need[1]) < len(self.foreign[number]):
            return f".needs[{self.foreign[number][int(need[1])]}]{rest[need.end() :]}"
        word = _WORD.match(rest)
        before = self.arguments[number]
        if not word or not before:
            return rest
        place = int(word[1]) - before
        return f".arguments[{place}]" if place >= 0 else ".script"

    def check(self, dataset: Dataset) -> None:
        """Refuse a step over many jobs that uses what differs from job to job."""
        if not self.axes:
            return
        for index, step in enumerate(dataset.steps):
            if step.per is Per.JOB:
                continue
            for place, text in macros.texts(step):
                for name in sorted(macros.names_in(text, dataset).intersection(self.axes)):
                    hint = f"{name} has a value in each job: a step over several jobs has none"
                    where = f"steps[{index}].{place}"
                    raise UnresolvedMacro(where=where, macro=f"$({name})", hint=hint)
