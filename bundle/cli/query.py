"""How `pulk bundle query` runs and shows an answer."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bundle.cli.array import array, write_whole
from bundle.cli.progress import progress
from bundle.cli.table import printable, say, table, terminal_width, write
from bundle.look.gather import rows_of
from bundle.look.query import Tables
from bundle.look.schema import SCHEMA
from bundle.trust.trust_file import TrustView

ROWS_SHOWN_MAX = 10_000  # in a table, whose widths need all rows at once
PROBLEMS_SHOWN = 20

Row = tuple[Any, ...]


def answer(
    paths: Iterable[Path], sql: str, trust: TrustView | None, arguments: argparse.Namespace
) -> int:
    """Load bundles, ask, show; 1 where a file or a chunk could not be read."""
    files = list(dict.fromkeys(paths))
    with Tables() as tables:
        with progress("loading", len(files)) as advance:
            tables.fill(rows_of(files, trust, advance))
        problems = tables.problems()
        columns, rows = tables.ask(sql)
        names = _apart(columns)
        if arguments.json:
            _json(names, rows)
        elif arguments.csv:
            _csv(names, rows)
        else:
            _table(names, rows)
    for path, what in problems[:PROBLEMS_SHOWN]:
        say(f"not in the answer: {path}: {what}", sys.stderr)
    if len(problems) > PROBLEMS_SHOWN:
        say(f"and {len(problems) - PROBLEMS_SHOWN:,} more in the table problems", sys.stderr)
    return 1 if problems else 0


def print_schema(as_json: bool) -> None:
    """Print the tables, their columns and what they hold."""
    if as_json:
        value = {
            name: {
                "words": one.words,
                "columns": {column: kind.__name__ for column, kind in one.columns.items()},
            }
            for name, one in SCHEMA.items()
        }
        sys.stdout.write(json.dumps(value) + "\n")
        return
    for name, one in SCHEMA.items():
        say(f"{name}: {one.words}")
        say(f"    {' '.join(one.columns)}")


def _table(names: Sequence[str], rows: Iterator[Row]) -> None:
    shown = list(islice(rows, ROWS_SHOWN_MAX))
    lines = [[_plain(value) for value in row] for row in shown]
    write(table(names, lines, terminal_width(sys.stdout)))
    if next(rows, None) is not None:
        say(f"only the first {ROWS_SHOWN_MAX:,} rows; --csv and --json give all", sys.stderr)


def _json(names: Sequence[str], rows: Iterator[Row]) -> None:
    """Write one array once all rows are there, so that nothing is on stdout where one fails."""
    values = (dict(zip(names, map(_plain, row), strict=True)) for row in rows)
    write_whole(array(values))


def _csv(names: Sequence[str], rows: Iterator[Row]) -> None:
    is_terminal = sys.stdout.isatty()
    out = csv.writer(_Lines(), lineterminator="\n")
    out.writerow(names)
    for row in rows:
        values = [_plain(value) for value in row]
        out.writerow([printable(str(one)) if is_terminal else one for one in values])


class _Lines:
    """What a csv writer writes to."""

    def write(self, text: str) -> None:
        """Write to stdout, whatever its encoding."""
        write(text)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)  # JSON has no such number
    return value


def _apart(columns: Sequence[str]) -> list[str]:
    """Return the names of columns, a repeated one with its number."""
    seen: Counter[str] = Counter()
    names = []
    for one in columns:
        seen[one] += 1
        names.append(one if seen[one] == 1 else f"{one}_{seen[one]}")
    return names
