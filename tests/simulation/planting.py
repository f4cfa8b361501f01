"""Planting a bug: one function of the program is another for as long as a block lasts.

A target that is gone is an error: the table of bugs must follow the program.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from tests.simulation.world import Plan

PROGRAMS = ("bundle", "central", "relay", "pilot")


class TargetGone(Exception):
    """The function or the text that a planted bug changes is no longer there."""


@dataclass(frozen=True)
class Bug:
    """One mistake somebody could make.

    `target` is "module:attribute" or "module:Class.attribute". Either `old` becomes `new` in its
    source, or `make` gets the function and returns another. `plan`: what its worlds are like.
    """

    name: str
    target: str
    old: str = ""
    new: str = ""
    make: Callable[[Any], Any] | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    mischief: tuple[str, ...] = ()  # of the worlds' happenings, those that come for certain

    def planned(self, plan: Plan) -> Plan:
        """Return the plan of a world in which the bug should show."""
        known = {name: getattr(plan, name) for name in Plan.__slots__}
        small = {"days": min(plan.days, 4.0), "datasets": min(plan.datasets, 2), "calm_days": 45.0}
        return Plan(**(known | small | self.plan | {"mischief": self.mischief}))

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug in the program. Raises TargetGone."""
        if self.make is not None:
            with _swapped(self.target, self.make):
                yield
        else:
            with _edited(self.target, self.old, self.new):
                yield


def _find(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *above, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for one in above:
            owner = getattr(owner, one)
        getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise TargetGone(f"{target}: {error}") from error
    return owner, name


@contextmanager
def _swapped(target: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put another function in the place of one, wherever it was imported."""
    owner, name = _find(target)
    real = inspect.getattr_static(owner, name)
    made = make(real)
    places = [(owner, name)]
    if inspect.ismodule(owner):
        for module in list(sys.modules.values()):
            if module.__name__.split(".")[0] in PROGRAMS:
                names = [one for one, value in vars(module).items() if value is real]
                places += [(module, one) for one in names if (module, one) != (owner, name)]
    for place, one in places:
        setattr(place, one, made)
    try:
        yield
    finally:
        for place, one in places:
            setattr(place, one, real)


@contextmanager
def _edited(target: str, old: str, new: str) -> Iterator[None]:
    """Change a function's source; whoever imported it runs the other code."""
    owner, name = _find(target)
    function = inspect.unwrap(getattr(owner, name))
    if isinstance(function, property):
        function = function.fget
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    if old not in source:
        raise TargetGone(f"{target}: there is no {old!r} in it")
    code = compile(
        "from __future__ import annotations\n" + source.replace(old, new), f"<{target}>", "exec"
    )
    scope = dict(function.__globals__)
    exec(code, scope)  # noqa: S102
    made = inspect.unwrap(scope[function.__name__])
    made = made.fget if isinstance(made, property) else made
    real = function.__code__
    function.__code__ = made.__code__
    try:
        yield
    finally:
        function.__code__ = real
