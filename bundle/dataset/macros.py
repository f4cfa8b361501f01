"""Macros: `$(name)` in arguments, environment and parameters, the same text on every try.

`$(job)`, `$(jobs)`, `$(step)` (its index), `$(seed)` and `$(dataset_seed)` are built in, and
`$(iteration)` in a step that is one of several alike; every other name is a parameter of the
dataset, whose value may hold macros itself. `$(=...)` is worked out (`arithmetic.py`). `$$` is a
literal dollar; a dollar before anything but `(` or `$` stays as it is. What does not resolve is an
error, never text in a command line.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator
from typing import NamedTuple

from bundle.dataset import arithmetic, names
from bundle.dataset.refusals import (
    BadArithmetic,
    BeyondLimit,
    DatasetRefused,
    DuplicateName,
    ParameterCycle,
    UnresolvedMacro,
    meant,
)
from bundle.dataset.seeds import seed
from bundle.dataset.spec import Command, Dataset, Step

BUILT_IN = ("job", "jobs", "step", "seed", "dataset_seed")
TEXT_CHARS_MAX = 128 * 1024  # what Linux allows one argument or variable
DEPTH_MAX = 20

_MACRO = re.compile(r"\$(?:\$|\(([^()$]*)(\))?)")
_LIST_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BRACKETS = re.compile(r"[()$]")


class _Found(NamedTuple):
    """A macro in a text; `name` is None for `$$`, `end` is behind it."""

    start: int
    end: int
    name: str | None
    is_closed: bool


def expand(text: str, dataset: Dataset, step: int, job: int) -> str:
    """Return the text with every macro replaced.

    Raises UnresolvedMacro, ParameterCycle, BeyondLimit.

    Args:
        text: an argument or the value of an environment variable.
        dataset: gives the parameters and the seed.
        step: index of the step.
        job: index of the job, 0 for a step per dataset.
    """
    if "$" not in text:
        return text
    return Expander(dataset).expand(text, step, job)


class Expander:
    """Expands the texts of one dataset; of many steps and parameters, each is read once."""

    def __init__(self, dataset: Dataset) -> None:
        """Take a dataset."""
        self._dataset = dataset
        self._parameters, self._lists = dict(dataset.parameters), dict(dataset.lists)

    def expand(self, text: str, step: int, job: int) -> str:
        """Return the text with every macro replaced: see `expand`."""
        if "$" not in text:
            return text
        return _expand(text, self._values(step, job), {}, ())

    def _values(self, step: int, job: int) -> _Values:
        of = self._dataset
        built_in = {
            "job": str(job),
            "jobs": str(of.jobs),
            "step": str(step),
            "seed": str(seed(of.seed, job, step)),
            "dataset_seed": str(of.seed),
        }
        iteration = of.steps[step].iteration if step < len(of.steps) else None
        if iteration is not None:
            built_in["iteration"] = str(iteration)
        values = _Values(built_in, self._parameters)
        values.lists = self._lists
        return values


class _Values(ChainMap[str, str]):
    """What macros stand for in one task; `lists` are chosen from."""

    lists: dict[str, tuple[str, ...]]


def names_in(text: str, dataset: Dataset) -> frozenset[str]:
    """Return the macros that a text refers to, through parameters as well."""
    values = dict(dataset.parameters)
    found: set[str] = set()
    todo = [text]
    while todo:
        for macro in _macros(todo.pop()):
            name = macro.name
            if name is None or name in found:
                continue
            found.add(name)
            if name not in values and name.startswith("="):
                inner = arithmetic.names_in(name[1:])
                found |= inner
                todo.extend(values.get(one, "") for one in inner)
            else:
                todo.append(values.get(name, ""))
    return frozenset(found)


def texts(step: Step) -> Iterator[tuple[str, str]]:
    """Yield every text of a step in which macros are allowed, with its path inside the step."""
    if isinstance(step.run, Command):
        for place, argument in enumerate(step.run.argv):
            yield f"command[{place}]", argument
    for name, value in step.environment:
        yield f"environment.{name}", value


def check(dataset: Dataset) -> None:
    """Refuse a dataset in which any macro of any step would not resolve.

    What a macro resolves to depends on the job, whether it resolves does not.
    """
    expander = Expander(dataset)
    alike = [n for n, step in enumerate(dataset.steps) if step.iteration is not None]
    for name, value in dataset.parameters:
        where = f"parameters.{name}"
        if name in BUILT_IN or (alike and name == "iteration"):
            raise DuplicateName(where=where, name=name, taken_by="a built-in macro")
        if not re.fullmatch(r"[^()$]+", name):
            raise UnresolvedMacro(
                where=where, macro=f"$({name})", hint="use a name without ( ) and $"
            )
        _expand_at(where, value, expander, alike[0] if alike else 0)
    _check_lists(dataset)
    for index, step in enumerate(dataset.steps):
        for place, text in texts(step):
            if "$" in text or len(text) > TEXT_CHARS_MAX:
                _expand_at(f"steps[{index}].{place}", text, expander, index)


def _check_lists(dataset: Dataset) -> None:
    for name, entries in dataset.lists:
        where = f"lists.{name}"
        if not entries:
            raise DatasetRefused(where=where, reason="it has no entry to choose")
        if not _LIST_NAME.fullmatch(name):
            hint = "use a name of letters, digits and _ . -"
            raise UnresolvedMacro(where=where, macro=f"@{name}", hint=hint)
        for place, text in enumerate(entries):
            names.check_text(text, f"{where}[{place}]")
            if "$(" in text:
                hint = "entries of lists hold no macros: choose between parameters with $(=job?a b)"
                raise UnresolvedMacro(where=f"{where}[{place}]", macro=text[:200], hint=hint)


def _expand_at(where: str, text: str, expander: Expander, step: int) -> None:
    try:
        _limited(expander.expand(text, step, 0))
    except (UnresolvedMacro, ParameterCycle, BeyondLimit, BadArithmetic) as error:
        raise type(error)(where=where, **error.fields) from None


def _expand(text: str, values: _Values, done: dict[str, str], path: tuple[str, ...]) -> str:
    """Replace the macros of `text`; `done` keeps expanded parameters, `path` the names above."""
    pieces: list[str] = []
    size, at = 0, 0
    for macro in _macros(text):
        piece = text[at : macro.start] + _value(text, macro, values, done, path)
        size += len(piece)
        if size > TEXT_CHARS_MAX:
            raise BeyondLimit(
                quantity="the expanded text", found="longer", allowed=f"{TEXT_CHARS_MAX} characters"
            )
        pieces.append(piece)
        at = macro.end
    pieces.append(text[at:])
    return _limited("".join(pieces))


def _limited(text: str) -> str:
    if len(text) > TEXT_CHARS_MAX:
        raise BeyondLimit(
            quantity="the expanded text",
            found=f"{len(text)} characters",
            allowed=f"{TEXT_CHARS_MAX} characters",
        )
    return text


def _macros(text: str) -> Iterator[_Found]:
    """Yield what a text has of macros, from left to right."""
    at = 0
    while match := _MACRO.search(text, at):
        found = _Found(match.start(), match.end(), match[1], match[1] is None or bool(match[2]))
        if found.name is not None and found.name.startswith("="):
            found = _arithmetic(text, found)
        at = found.end
        yield found


def _arithmetic(text: str, found: _Found) -> _Found:
    """An expression ends at its own parenthesis: it may hold others, but no other macro."""
    first, depth = found.start + 2, 1
    for bracket in _BRACKETS.finditer(text, first):
        if bracket.group() == "$":
            break
        depth += 1 if bracket.group() == "(" else -1
        if not depth:
            return _Found(found.start, bracket.end(), text[first : bracket.start()], True)
    return found._replace(is_closed=False)


def _value(
    text: str,
    macro: _Found,
    values: _Values,
    done: dict[str, str],
    path: tuple[str, ...],
) -> str:
    name = macro.name
    if name is None:
        return "$"
    here = text[macro.start : macro.end]
    if not macro.is_closed:
        raise UnresolvedMacro(macro=here, hint="close it with ), or write $$( for the text $(")
    if name not in values and name.startswith("="):
        return _worked_out(name[1:], values, done, path)
    return _named(name, here, values, done, path)


def _named(
    name: str, macro: str, values: _Values, done: dict[str, str], path: tuple[str, ...]
) -> str:
    if name not in values:
        hint = meant(name, values, "define it under [parameters], or write $$( for the text $(")
        raise UnresolvedMacro(macro=macro, hint=hint)
    if name in BUILT_IN:
        return values[name]
    if name in path or len(path) >= DEPTH_MAX:
        raise ParameterCycle(names=" -> ".join(f"$({one})" for one in (*path, name)))
    if name not in done:
        done[name] = _expand(values[name], values, done, (*path, name))
    return done[name]


def _worked_out(text: str, values: _Values, done: dict[str, str], path: tuple[str, ...]) -> str:
    """Return what an expression gives: a number, or the parameter that it chooses."""
    one = arithmetic.written(text)
    macro = f"$(={text})"

    def plain(name: str) -> str:
        if "$" in values[name]:  # it might be another number in another job
            raise BadArithmetic(text=text, reason=f"{name} is not a plain number")
        return values[name]

    number = arithmetic.evaluate(one.expression, values.keys(), plain)
    if one.listed:
        return _chosen(text, number, one.listed, values)
    if not one.choices:
        return arithmetic.shown(number, one.shape)
    if not isinstance(number, int):
        raise BadArithmetic(text=text, reason="only a whole number chooses")
    found = [
        _named(name, macro, values, done, path) for name in one.choices
    ]  # all of them: each must resolve in some job
    return found[number % len(found)]


def _chosen(text: str, number: arithmetic.Number, listed: str, values: _Values) -> str:
    """Return the entry of a list whose turn it is; entries hold no macros."""
    if listed not in values.lists:
        hint = meant(listed, values.lists, "define it under [lists]")
        raise UnresolvedMacro(macro=f"@{listed} in $(={text})", hint=hint)
    if not isinstance(number, int):
        raise BadArithmetic(text=text, reason="only a whole number chooses")
    found = values.lists[listed]
    return found[number % len(found)]
