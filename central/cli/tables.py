"""Tables of commands: as wide as they are, but on a terminal no wider than that."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bundle.cli.table import printable, terminal_width

BETWEEN = 2  # cells between two columns
NONE = "none"


def table(
    head: Sequence[str],
    left: int,
    rows: Iterable[Sequence[str]],
    spare: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """Return a table as text, the first columns aligned to the left, the rest to the right.

    Args:
        head: names of the columns.
        left: how many are aligned to the left.
        rows: the cells, as many as there are columns.
        spare: columns that are left out, the first one first, until the rest fits.
        width: of a line; nil: that of the terminal, and without one any.
    """
    lines = [list(map(printable, row)) for row in rows]
    most = terminal_width(sys.stdout) if width is None else width
    names, places = list(head), list(range(len(head)))
    for name in spare:
        if most is None or _natural(head, lines, places) <= most:
            break
        if name in names:
            places.remove(names.index(name))
    kept = [[line[place] for place in places] for line in lines]
    titles = [head[place] for place in places]
    lefts = sum(place < left for place in places)
    natural = _natural(head, lines, places)
    return _drawn(titles, lefts, kept, natural if most is None else min(natural, most))


def plain(rows: Sequence[Mapping[str, Any]], left: int = 0, spare: Sequence[str] = ()) -> str:
    """Return rows as a table; the columns are the keys, in order of first mention.

    `left` 0: all are aligned to the left.
    """
    if not rows:
        return NONE
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ([cell(row.get(column)) for column in columns] for row in rows)
    return table(columns, left or len(columns), lines, spare)


def cell(value: Any) -> str:
    """Return a value as a cell."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case str():
            return value
        case list() | tuple() if all(isinstance(one, str) for one in value):
            return " ".join(value) or "-"
    return json.dumps(value)


def _natural(head: Sequence[str], lines: Sequence[Sequence[str]], places: Sequence[int]) -> int:
    from rich.cells import cell_len  # by this the table is drawn

    widths = (max(map(cell_len, (head[at], *(one[at] for one in lines)))) for at in places)
    return sum(widths) + BETWEEN * (len(places) - 1)


def _drawn(head: Sequence[str], left: int, rows: Iterable[Sequence[str]], width: int) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for place, name in enumerate(head):
        made.add_column(name, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    console = Console(width=max(1, width), color_system=None, legacy_windows=False)
    with console.capture() as said:
        console.print(made)
    return "\n".join(line.rstrip() for line in said.get().splitlines())
