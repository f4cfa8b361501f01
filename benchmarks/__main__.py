"""`make bench`, or `python -m benchmarks [pilot|central ...]`: measure, print, write results."""

from __future__ import annotations

import importlib
import sys

from benchmarks.table import Row, save, show

BENCHES = ("pilot", "central")


def main() -> None:
    """Run the benches named on the command line, or all of them, one after the other."""
    rows: list[Row] = []
    for name in sys.argv[1:] or BENCHES:
        print(f"measuring {name} ...", file=sys.stderr)
        measured = importlib.import_module(f"benchmarks.{name}").measure()
        save(name, measured)
        rows += measured
    show(rows)


main()
