"""Arithmetic in macros: `$(=job // 1000 * 1000:07d)`, the same number on every machine.

An expression has whole numbers, decimals, names, `+ - * / // % **`, signs and parentheses, with
the ranks that Python gives them. Whether it has a value must not depend on the job: so what stands
right of `/`, `//`, `%` and `**` may not, and how large a value can get is bounded beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from math import isfinite

from bundle.dataset.refusals import BadArithmetic

Number = int | float
BITS_MAX = 256  # of any value on the way; a job's index has 32
POWER_MAX = 64
CHARS_MAX = 4096
NESTING_MAX = 50
VARYING = frozenset({"job", "seed", "step"})

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?(?:e[+-]?\d+)?)|([A-Za-z_][A-Za-z0-9_]*)|(\*\*|//|\S))")
_FORMAT = re.compile(r"[-+ #0]?[0-9]{0,3}(?:\.[0-9]{1,2})?[dxXoeEfFgG]")
_SUMS, _PRODUCTS = ("+", "-"), ("*", "/", "//", "%")


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in a macro of arithmetic: the expression, and a format or what to choose of.

    `listed` names a list of the dataset whose entry is chosen.
    """

    expression: str
    shape: str = ""
    choices: tuple[str, ...] = ()
    listed: str = ""


@dataclass(frozen=True, slots=True)
class _Value:
    """A value, the most bits that it can have in any job, and whether it depends on the job."""

    number: Number
    bits: int
    varies: bool


def written(text: str) -> Written:
    """Take apart what follows `=`: an expression, then `:FORMAT`, `?NAME NAME` or `?@LIST`."""
    if "?" in text:
        expression, _, names = text.partition("?")
        if not names.split():
            raise BadArithmetic(text=text, reason="name parameters to choose of behind ?")
        if names.strip().startswith("@"):
            return Written(expression, listed=names.strip()[1:])
        return Written(expression, choices=tuple(names.split()))
    expression, colon, shape = text.partition(":")
    if colon and not _FORMAT.fullmatch(shape):
        raise BadArithmetic(text=text, reason=f"{shape!r} is no format: write one as 06d or .2f")
    return Written(expression, shape)


def names_in(text: str) -> frozenset[str]:
    """Return the names that an expression, or its list of choices, refers to."""
    expression, _, names = text.partition("?")
    found = {match[2] for match in _TOKEN.finditer(expression.partition(":")[0]) if match[2]}
    return frozenset(found | set(names.split()))


def evaluate(expression: str, names: Container[str], of: Callable[[str], str]) -> Number:
    """Return the value of an expression.

    Raises BadArithmetic, whatever the job is, or never; and what a name's function raises.

    Args:
        expression: without format and choices.
        names: that it may hold.
        of: gives the text of a name, which must be a number in every job.
    """
    return _Reader(expression, names, of).whole()


def shown(number: Number, shape: str) -> str:
    """Return the number as text: as Python writes it, or as C's printf does for `%` + shape."""
    if not shape:
        return str(number)
    try:
        return f"%{shape}" % number
    except (TypeError, ValueError, OverflowError):
        raise BadArithmetic(text=f"{number}:{shape}", reason="only whole numbers fit") from None


class _Reader:
    """Reads and works out one expression, by falling from the weakest rank to the strongest."""

    def __init__(self, text: str, names: Container[str], of: Callable[[str], str]) -> None:
        self._text, self._names, self._of = text, names, of
        if len(text) > CHARS_MAX:
            raise self._refused(f"longer than {CHARS_MAX} characters")
        self._tokens = [match.group().strip() for match in _TOKEN.finditer(text)]
        self._at, self._depth = 0, 0

    def whole(self) -> Number:
        found = self._sum()
        if self._next():
            raise self._refused(f"{self._next()!r} is not expected there")
        return found.number

    def _sum(self) -> _Value:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise self._refused("nested too deep")
        left = self._product()
        while (sign := self._next()) in _SUMS:
            self._at += 1
            left = self._joined(left, sign, self._product())
        self._depth -= 1
        return left

    def _product(self) -> _Value:
        left = self._signed()
        while (sign := self._next()) in _PRODUCTS:
            self._at += 1
            left = self._joined(left, sign, self._signed())
        return left

    def _signed(self) -> _Value:
        signs = 0
        while (sign := self._next()) in _SUMS:
            self._at += 1
            signs += sign == "-"
        found = self._power()
        return _Value(-found.number, found.bits, found.varies) if signs % 2 else found

    def _power(self) -> _Value:
        base = self._atom()
        if self._next() != "**":
            return base
        self._at += 1
        power = self._atom()
        if power.varies or not isinstance(power.number, int) or not 0 <= power.number <= POWER_MAX:
            reason = f"** takes whole numbers from 0 to {POWER_MAX} that no job changes"
            raise self._refused(reason)
        return self._bounded(base.number**power.number, base.bits * power.number + 1, base.varies)

    def _atom(self) -> _Value:
        word = self._next()
        self._at += 1
        if word == "(":
            found = self._sum()
            if self._next() != ")":
                raise self._refused("a parenthesis is not closed")
            self._at += 1
            return found
        if word[:1].isdigit():
            return self._number(word, varies=False)
        if word in self._names:
            return self._number(self._of(word), varies=word in VARYING, name=word)
        raise self._refused(f"{word!r} is no number and no name" if word else "it ends too early")

    def _number(self, text: str, *, varies: bool, name: str = "") -> _Value:
        try:
            number = int(text) if re.fullmatch(r"-?[0-9]{1,80}", text) else float(text)
        except ValueError:
            raise self._refused(f"{name} is {text[:50]!r}, which is no number") from None
        bits = 32 if varies else _bits(number)
        return self._bounded(number, bits, varies)

    def _joined(self, left: _Value, sign: str, right: _Value) -> _Value:
        a, b = left.number, right.number
        varies = left.varies or right.varies
        if sign in _SUMS:
            number = a + b if sign == "+" else a - b
            return self._bounded(number, 1 + max(left.bits, right.bits), varies)
        if sign == "*":
            return self._bounded(a * b, left.bits + right.bits, varies)
        if right.varies or not b:
            raise self._refused(f"what stands right of {sign} must not be 0, whatever the job is")
        if sign == "/":
            return self._bounded(a / b, left.bits + _bits(1 / b), varies)
        if sign == "//":
            return self._bounded(a // b, left.bits + _bits(1 / b), varies)
        return self._bounded(a % b, right.bits, varies)

    def _bounded(self, number: Number, bits: int, varies: bool) -> _Value:
        if bits > BITS_MAX:
            raise self._refused(f"it may get larger than 2**{BITS_MAX}")
        return _Value(number, bits, varies)

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _refused(self, reason: str) -> BadArithmetic:
        return BadArithmetic(text=self._text, reason=reason)


def _bits(number: Number) -> int:
    """Return how many bits the whole part of a number takes, at least 1."""
    if isinstance(number, float) and not isfinite(number):
        return BITS_MAX + 1
    return max(1, int(abs(number)).bit_length())
