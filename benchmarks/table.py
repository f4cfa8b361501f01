"""One row per thing measured, and the table and file they end in."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, and its ratio to a peer or floor measured in the same run.

    Without a figure `unit` says why it could not be measured.
    """

    bench: str
    what: str
    figure: float | None
    unit: str
    against: str = ""
    ratio: float | None = None
    must: float | None = None
    stretch: float | None = None
    lower_is_better: bool = False

    def verdict(self) -> str:
        """Return how the ratio stands against its targets."""
        if self.ratio is None:
            return ""
        sign = -1 if self.lower_is_better else 1
        if self.stretch is not None and sign * self.ratio >= sign * self.stretch:
            return "stretch reached"
        if self.must is None:
            return "" if self.stretch is None else "below the stretch"
        return "must reached" if sign * self.ratio >= sign * self.must else "FALLS SHORT"


def below(
    bench: str, what: str, figure: float, unit: str, must: float, stretch: float | None = None
) -> Row:
    """Return a row whose targets are absolute figures; its ratio is a share of the one to reach."""
    share = stretch / must if stretch is not None else None
    return Row(bench, what, figure, unit, f"{must:g} {unit}", figure / must, 1.0, share, True)


def missing(bench: str, what: str, why: str) -> Row:
    """Return a row that says what could not be measured here, and why."""
    return Row(bench, what, None, f"not measured: {why}")


def interleaved(rounds: int, measures: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Run every measure once per round, in turn, and return each one's median."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        for name, measure in measures.items():
            started = time.monotonic()
            figures[name].append(measure())
            took_s = time.monotonic() - started
            print(
                f"  round {number + 1}/{rounds} {name}: {figures[name][-1]:.4g} ({took_s:.1f} s)",
                file=sys.stderr,
            )
    return {name: statistics.median(values) for name, values in figures.items()}


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="Pulk, measured in one run", title_justify="left")
    for name in ("bench", "what", "figure", "against", "ratio", "must / stretch", ""):
        table.add_column(name, overflow="fold")
    for row in rows:
        musts = ("-" if one is None else f"{one:g}" for one in (row.must, row.stretch))
        targets = "" if row.must is row.stretch is None else " / ".join(musts)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(
            row.bench,
            row.what,
            row.unit if row.figure is None else f"{row.figure:,.4g} {row.unit}",
            row.against,
            ratio,
            targets,
            row.verdict(),
        )
    Console(width=150).print(table)


def save(name: str, rows: list[Row]) -> Path:
    """Write the rows of one bench as JSON and return where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    body = {
        "measured": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(body, indent=1) + "\n")
    return path
