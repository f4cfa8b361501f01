"""What `$eval`, `$sprintf` and the like of IceProd give, for numbers and for holes.

Each function takes the text between the parentheses and returns a text. Raises Unresolved where
IceProd would leave the macro as it stands, Unsayable where a document has no words for it.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from central.iceprod.holes import Hole, Holes, Unsayable, is_in
from central.iceprod.phrases import Broken
from central.iceprod.types import typed

FORBIDDEN = ("import", "open", "for", "while", "def", "class", "lambda")
EXPRESSION_CHARS_MAX = 4096
BITS_MAX = 4096
Number = int | float | Hole

_SPEC = re.compile(r"%[#0\- +]?[0-9]*\.?[0-9]*[csridufegExXo]")
_BINARY: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
    ast.BitXor: ("^", operator.xor),
}
_UNARY: dict[type[ast.unaryop], tuple[str, Callable[[Any], Any]]] = {
    ast.Invert: ("~", operator.invert),
    ast.Not: ("not", operator.not_),
    ast.UAdd: ("+", operator.pos),
    ast.USub: ("-", operator.neg),
}
REDUCTIONS: dict[str, Callable[[Any], Any]] = {"sum": sum, "min": min, "max": max, "len": len}


class Unresolved(Exception):
    """A macro names nothing or makes no sense: IceProd leaves it as text."""


def evaluated(text: str, holes: Holes) -> str:
    """`$eval(...)`: arithmetic in Python's notation."""
    if any(word in text for word in FORBIDDEN) or len(text) > EXPRESSION_CHARS_MAX:
        raise Unresolved
    try:
        parsed = ast.parse(text).body[0]
        if not isinstance(parsed, ast.Expr):
            raise Unresolved
        found = _worked_out(parsed.value, holes)
        return holes.text(found) if isinstance(found, Hole) else str(found)
    except (Unsayable, Unresolved):
        raise
    except (ArithmeticError, LookupError, MemoryError, RecursionError, SyntaxError):
        raise Unresolved from None
    except (TypeError, ValueError):
        raise Unresolved from None


def _worked_out(node: ast.expr, holes: Holes) -> Any:
    match node:
        case ast.Constant(value) if type(value) in (int, float):
            return holes.of_number(value) or value
        case ast.Constant(value):
            if is_in(str(value)):
                raise Unsayable("text in $eval that depends on the job")
            return value
        case ast.BinOp(left, sign, right) if type(sign) in _BINARY:
            return _joined(_worked_out(left, holes), type(sign), _worked_out(right, holes))
        case ast.UnaryOp(sign, inner) if type(sign) in _UNARY:
            word, function = _UNARY[type(sign)]
            value = _worked_out(inner, holes)
            if not isinstance(value, Hole):
                return function(value)
            if word == "+":
                return value
            if word != "-":
                raise Unsayable(f"{word} of a number that depends on the job")
            return Hole(f"-({value.expression})", is_whole=value.is_whole, is_negative=True)
        case _:
            raise Unresolved


def _joined(left: Any, sign: type[ast.operator], right: Any) -> Any:
    word, function = _BINARY[sign]
    if not isinstance(left, Hole) and not isinstance(right, Hole):
        _check_size(left, word, right)
        return function(left, right)
    if word in ("/", "//", "%") and right == 0:
        raise Unresolved
    if word == "^":
        raise Unsayable("^ of a number that depends on the job")
    if word in ("/", "//", "%", "**") and isinstance(right, Hole) and right.is_varying:
        raise Unsayable(f"what stands right of {word} depends on the job")
    if word == "**" and isinstance(left, Hole) and left.is_negative:
        raise Unsayable("a power of a number that may be negative")
    if complex in (type(left), type(right)):
        raise Unsayable("a complex number and the job")
    whole = word != "/" and _is_whole(left) and _is_whole(right)
    below = right if word == "%" and isinstance(right, int) and right > 0 and whole else 0
    return Hole(
        f"{_operand(left)}{word}{_operand(right)}",
        is_whole=whole,
        is_negative=not below and (word == "-" or _is_negative(left) or _is_negative(right)),
        below=below,
        is_varying=any(isinstance(one, Hole) and one.is_varying for one in (left, right)),
    )


def _operand(value: Number) -> str:
    if not isinstance(value, Hole):
        return f"({value})" if value < 0 else str(value)
    expression = value.expression
    return expression if re.fullmatch(r"\w+", expression) else f"({expression})"


def _is_whole(value: Number) -> bool:
    return value.is_whole if isinstance(value, Hole) else isinstance(value, int)


def _is_negative(value: Number) -> bool:
    return value.is_negative if isinstance(value, Hole) else value < 0


def _check_size(left: Any, word: str, right: Any) -> None:
    """What is too large to be written is nothing, before minutes are spent on it."""
    texts = [one for one in (left, right) if isinstance(one, str | bytes)]
    if texts and (word == "%" or len(texts[0]) * _times(left, right) > EXPRESSION_CHARS_MAX):
        raise Unresolved
    is_whole_power = word == "**" and isinstance(left, int) and isinstance(right, int)
    if is_whole_power and left.bit_length() * max(right, 0) > BITS_MAX:
        raise Unresolved


def _times(left: Any, right: Any) -> int:
    return max([1, *(one for one in (left, right) if isinstance(one, int))])


def reduced(word: str, text: str, holes: Holes) -> str:
    """`$sum(...)`, `$min`, `$max`, `$len` of a list."""
    value = typed(text, holes)
    if isinstance(value, list) and word != "len" and any(is_in(str(one)) for one in value):
        if word != "sum":
            raise Unsayable(f"${word} of numbers that depend on the job")
        return evaluated("+".join(f"({one})" for one in value), holes)
    try:
        return str(REDUCTIONS[word](value))
    except (ArithmeticError, TypeError, ValueError):
        raise Unresolved from None


def printed(text: str, holes: Holes) -> str:
    """`$sprintf("format",a,b)`: what C's printf gives, by way of Python's `%`."""
    if not text:
        raise Broken  # IceProd stumbles here, and leaves the whole text as it is
    if text[0] in "'\"":
        end = text.find(text[0], 1)
        form = text[1:end]
    else:
        end = text.find(",")
        form = text[:end]
    if end < 0:
        raise Unresolved
    comma = text.find(",", end)
    arguments = text[comma + 1 :].split(",") if comma >= 0 else []
    specs = _SPEC.findall(form)
    if not specs:
        return form
    if not any(is_in(one) for one in (*arguments, *specs)):
        try:
            values = [_cast(spec, one) for spec, one in zip(specs, arguments, strict=False)]
            return str(form % tuple(values))
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError):
            raise Unresolved from None
    return _printed_holes(form, specs, arguments, holes)


def _printed_holes(form: str, specs: list[str], arguments: list[str], holes: Holes) -> str:
    between = _SPEC.split(form)
    if len(arguments) < len(specs):
        raise Unresolved
    if any("%" in one for one in between) or any(is_in(one) for one in specs):
        raise Unsayable("the format itself depends on the job, or holds a %")
    made = [between[0]]
    for spec, argument, after in zip(specs, arguments, between[1:], strict=False):
        if is_in(argument):
            made.append(_shaped(spec, argument, holes))
        else:
            try:
                made.append(spec % _cast(spec, argument))
            except (ArithmeticError, LookupError, TypeError, ValueError):
                raise Unresolved from None
        made.append(after)
    return "".join(made)


def _shaped(spec: str, argument: str, holes: Holes) -> str:
    if spec == "%s":
        return argument[1:-1] if argument[0] in "'\"" else argument
    hole = holes.only(argument.strip())
    if hole is None or not hole.is_number or hole.choices or spec[-1] in "csr":
        raise Unsayable(f"{spec} of a text that depends on the job")
    if spec[-1] in "xXo" and not hole.is_whole:
        raise Unsayable(f"{spec} of a decimal that depends on the job")
    shape = spec[1:-1] + ("d" if spec[-1] in "iu" else spec[-1])
    if shape == "d" and hole.is_whole:
        return holes.text(hole)
    return holes.text(
        Hole(
            hole.expression,
            shape,
            is_number=False,
            is_whole=shape[-1] == "d",
            is_negative=hole.is_negative,
            below=hole.below,
            is_varying=hole.is_varying,
        )
    )


def _cast(spec: str, argument: str) -> Any:
    """The value that IceProd makes of an argument, by the letter of its format."""
    match spec[-1].lower():
        case "c" | "s":
            return argument[1:-1] if argument[0] in "'\"" else argument
        case "r":
            return repr(argument)
        case "x" | "o":
            return int(argument)
        case _:
            return float(argument)
