"""Plain text for people: aligned columns that fit the terminal, text that cannot steer it."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

GAP = "  "
CUT = "\N{HORIZONTAL ELLIPSIS}"
COLUMN_WIDTH_MIN = 6  # to which a column may be cut, in cells
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: controls and invisible signs are replaced."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else UNKNOWN for one in text)


def cells_of(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], width: int | None = None) -> str:
    """Return a table as lines of text; columns that hold only numbers are aligned to the right.

    Args:
        head: names of the columns; empty for a table without a line of names.
        rows: values, as many as there are columns; nil is shown as nothing.
        width: cells in a line, for which the widest columns are cut; nil cuts nothing.
    """
    values = [tuple(row) for row in rows]
    lines = [[printable(_shown(value)) for value in row] for row in values]
    if head:
        lines.insert(0, [printable(name) for name in head])
    if not lines:
        return ""
    to_right = [bool(values) and all(map(_is_number, one)) for one in zip(*values, strict=True)]
    to_right = to_right or [False] * len(lines[0])
    widths = [max(map(cells_of, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        widths = _fitted(widths, width)
    return "".join(GAP.join(map(_padded, line, widths, to_right)).rstrip() + "\n" for line in lines)


def terminal_width(out: TextIO) -> int | None:
    """Return how many cells a line may have, or nil where `out` is no terminal."""
    return shutil.get_terminal_size().columns if out.isatty() else None


def write(text: str, out: TextIO | None = None) -> None:
    """Write text; signs that the stream's encoding does not know are written as escapes."""
    out = sys.stdout if out is None else out
    encoding = out.encoding or "utf-8"
    out.write(text.encode(encoding, "backslashreplace").decode(encoding))


def say(text: str, out: TextIO | None = None) -> None:
    """Write one printable line."""
    write(printable(text) + "\n", out)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cells(sign: str) -> int:
    if unicodedata.category(sign) in ("Mn", "Me"):  # they stand on the sign before them
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _fitted(widths: list[int], width: int) -> list[int]:
    """Cut the widest columns until the line fits, none below its least width."""
    room = max(width - len(GAP) * (len(widths) - 1), 0)
    fitted = list(widths)
    while sum(fitted) > room:
        widest = max(fitted)
        if widest <= COLUMN_WIDTH_MIN:
            break
        next_widest = max((one for one in fitted if one < widest), default=0)
        columns = [place for place, one in enumerate(fitted) if one == widest]
        cut = max(1, min(widest - next_widest, (sum(fitted) - room) // len(columns)))
        for place in columns:
            fitted[place] = max(widest - cut, COLUMN_WIDTH_MIN)
            if sum(fitted) <= room:
                break
    return fitted


def _padded(text: str, width: int, to_right: bool) -> str:
    text = _cut(text, width)
    space = " " * (width - cells_of(text))
    return space + text if to_right else text + space


def _cut(text: str, width: int) -> str:
    if cells_of(text) <= width:
        return text
    kept, room = "", width - 1
    for sign in text:
        room -= _cells(sign)
        if room < 0:
            break
        kept += sign
    return kept + CUT
