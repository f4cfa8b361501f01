"""Grids and lists over jobs: each value is arithmetic on the job's index, none is spelled out.

`each` is one axis, whose lists move together; the axes of `grid` follow in their order, the last
one fastest. All of it repeats where `jobs` is a multiple of the product.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from bundle.dataset import macros
from bundle.dataset.refusals import BeyondLimit, DatasetRefused, DuplicateName
from bundle.limits import JOBS_MAX
from central.document.beside import text_beside
from central.document.form import AxisForm, DatasetForm, ListForm

DECIMALS_MAX = 15  # as many as a double has


@dataclass(slots=True)
class Axes:
    """What they come to. `names` says under which table each stands."""

    jobs: int
    parameters: dict[str, str] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def axes(form: DatasetForm, base: Path | None) -> Axes:
    """Work out jobs, parameters and lists of a document. Raises DatasetRefused."""
    made = Axes(0, dict(form.parameters))
    for name, listed in form.lists.items():
        made.lists[name] = _entries(listed, base, f"lists.{name}")
    each = {name: _entries(one, base, f"each.{name}") for name, one in form.each.items()}
    points = {name: _points(one, base, f"grid.{name}") for name, one in form.grid.items()}
    lengths = {len(entries) for entries in each.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} has {len(entries)}" for name, entries in each.items())
        raise DatasetRefused(where="each", reason=f"its lists move together, but {told} entries")
    inner = 1
    for name in reversed(points):
        found = points[name]
        text = _chosen(made, name, inner, found) if isinstance(found, tuple) else found.at(inner)
        _define(made, name, text, "grid")
        inner *= found.count if isinstance(found, _Range) else len(found)
    for name, entries in each.items():
        _define(made, name, _chosen(made, name, inner, entries), "each")
    product = inner * next(iter(lengths), 1)
    made.jobs = _jobs(form, product, is_made=bool(made.names))
    return made


def _jobs(form: DatasetForm, product: int, *, is_made: bool) -> int:
    if product > JOBS_MAX:
        where = "grid" if form.grid else "each"
        most = f"at most {JOBS_MAX}"
        raise BeyondLimit(where=where, quantity="the number of jobs", found=product, allowed=most)
    if form.jobs is None:
        if not is_made:
            reason = "this key is missing: add it, or a [grid] or [each] that jobs go over"
            if "jobs" in form.parameters:  # in TOML what follows a table's head is of that table
                reason = "it stands under parameters: write it above, before the first [table]"
            raise DatasetRefused(where="jobs", reason=reason)
        return product
    if is_made and form.jobs % product:
        reason = f"{form.jobs} is no multiple of the {product} points of grid and each"
        raise DatasetRefused(where="jobs", reason=f"{reason}: leave jobs out, or write one")
    return form.jobs


def _define(made: Axes, name: str, text: str, table: str) -> None:
    where = f"{table}.{name}"
    if name in made.names:
        raise DuplicateName(where=where, name=name, taken_by=f"{made.names[name]}.{name}")
    if name in made.parameters:
        raise DuplicateName(where=where, name=name, taken_by=f"parameters.{name}")
    if name in macros.BUILT_IN:
        raise DuplicateName(where=where, name=name, taken_by="a built-in macro")
    made.parameters[name] = text
    made.names[name] = table


def _chosen(made: Axes, name: str, inner: int, entries: tuple[str, ...]) -> str:
    if name in made.lists:
        raise DuplicateName(where=f"lists.{name}", name=name, taken_by="an axis of grid or each")
    made.lists[name] = entries
    return f"$(=job // {inner}?@{name})"


@dataclass(frozen=True, slots=True)
class _Range:
    start: Decimal
    step: Decimal
    count: int

    def at(self, inner: int) -> str:
        """Return the macro of its value, written with as many decimals as its ends have."""
        decimals = max(_decimals(self.start), _decimals(self.step))
        shape = f":.{decimals}f" if decimals else ""
        place = f"job // {inner} % {self.count}"
        return f"$(={self.start:f} + {self.step:f} * ({place}){shape})"


def _points(form: AxisForm, base: Path | None, where: str) -> tuple[str, ...] | _Range:
    ends = (form.start, form.to, form.step)
    if all(one is None for one in ends):
        return _entries(form, base, where)
    if form.values is not None or form.lines is not None or form.start is None or form.to is None:
        reason = "write a list, { lines } or { from, to, step }"
        raise DatasetRefused(where=where, reason=reason)
    start, to, step = form.start, form.to, Decimal(1) if form.step is None else form.step
    if not step or (to - start) / step < 0:
        reason = f"no steps of {step} lead from {start} to {to}"
        raise DatasetRefused(where=where, reason=reason)
    if max(_decimals(start), _decimals(step)) > DECIMALS_MAX:
        reason = f"more than {DECIMALS_MAX} decimals: list the values"
        raise DatasetRefused(where=where, reason=reason)
    return _Range(start, step, int((to - start) / step) + 1)


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _entries(form: ListForm, base: Path | None, where: str) -> tuple[str, ...]:
    if (form.values is None) == (form.lines is None):
        reason = 'write a list, or { lines = "file" } of one entry in each line'
        raise DatasetRefused(where=where, reason=reason)
    if form.values is not None:
        found = tuple(form.values)
    else:
        text = text_beside(form.lines or "", base, f"{where}.lines")
        found = tuple(line for line in text.splitlines() if line.strip())
    if not found:
        raise DatasetRefused(where=where, reason="it has no entries")
    return found
