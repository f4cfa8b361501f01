"""`make bench`, or `python -m benchmarks [NAME ...]`: measure, print, write results."""

from __future__ import annotations

import argparse
import importlib
import sys

from benchmarks.table import Row, save, show

BENCHES = (
    "pilot", "pilot_staging", "packing", "central", "merging", "flood", "wire", "retry", "planner",
    "stores", "several", "queries", "radio", "command_line",
)  # fmt: skip


def main() -> None:
    """Run the benches named on the command line, or all of them, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benches", nargs="*", help=f"which; all of {', '.join(BENCHES)} if none")
    parser.add_argument("--data-gib", type=float, default=10.0, help="of wire's data bundle")
    parser.add_argument("--pilots", type=int, default=10_000, help="of radio, a multiple of four")
    told = parser.parse_args()
    sizes = {"wire": {"data_gib": told.data_gib}, "radio": {"pilots": told.pilots}}
    rows: list[Row] = []
    for name in told.benches or BENCHES:
        print(f"measuring {name} ...", file=sys.stderr)
        measured = importlib.import_module(f"benchmarks.{name}").measure(**sizes.get(name, {}))
        save(name, measured)
        rows += measured
    show(rows)


main()
