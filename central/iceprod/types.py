"""Which value a finished text of IceProd is: JSON, true or false, a number, or text."""

from __future__ import annotations

import json
from typing import Any

from central.iceprod.holes import Hole, Holes, Unsayable, is_in, unescaped

SAMPLES = ("0", "10", "99999999999")


class Doubtful(Unsayable):
    """As Unsayable, where trying single jobs would not tell."""


def typed(text: str, holes: Holes) -> Any:
    """Return the value of a text. Raises Unsayable where it differs from job to job."""
    if text.startswith('"') and text.endswith('"'):
        return text
    hole = holes.only(text)
    if hole is not None and not hole.is_number:
        return _of_hole(hole, text, holes)
    found = _plain(text)
    if not is_in(text):
        return found
    if hole is None and isinstance(found, str | float):
        _check_digits(text, holes)
    return text if isinstance(found, float) else found  # a decimal stays as it is written


def _plain(text: str) -> Any:
    try:
        return json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return _of_word(text)


def _check_digits(text: str, holes: Holes) -> None:
    """Raise Doubtful where a text is a number in some job, and written differently then."""
    for one in holes.samples(text, SAMPLES):
        number = _plain(one)
        if isinstance(number, int | float) and str(number).lower() != one.lower():
            raise Doubtful("a number put together of the job's and other digits")


def _of_word(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def _of_hole(hole: Hole, text: str, holes: Holes) -> Any:
    """Formatted digits alone lose their format again: 000017 is the number 17."""
    if hole.choices:
        return text
    if hole.shape[-1] in "xX":
        raise Unsayable("digits of base 16 that stand alone")
    if not hole.is_whole or hole.is_negative or hole.shape[:1] in ("+", "-", "#"):
        raise Unsayable("a formatted number that stands alone")
    return int(holes.text(Hole(hole.expression, below=hole.below, is_varying=hole.is_varying)))


def as_text(value: Any) -> str:
    """Return what IceProd puts into a text for a value."""
    return unescaped(json.dumps(value)) if isinstance(value, (list, dict)) else str(value)
