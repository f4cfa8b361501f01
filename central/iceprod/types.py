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
    try:
        found = json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        found = _of_word(text)
    if isinstance(found, float) and is_in(text):
        if not all(str(float(one)) == one for one in holes.samples(text, SAMPLES)):
            raise Doubtful("a decimal put together of the job's number and digits")
        return text  # its digits are not known yet; it stays as it is written
    return found


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
