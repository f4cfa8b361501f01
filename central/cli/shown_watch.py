"""How `pulk watch` shows datasets and sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle.cli.table import printable
from central.cli import tables

BAR_CELLS = 12
NOT_WAITING = ("leased", "done", "failed", "cancelled")
SHOWN = ("waiting", "leased", "failed", "cancelled", "removed")
ID_CHARS = 8  # enough to tell datasets apart, and taken by every command where they do
Row = Mapping[str, Any]
HEARD = ((86_400, "d"), (3_600, "h"), (60, "min"))


def waiting(row: Row) -> int:
    """Return how many tasks of a dataset wait; those that nothing happened to are in no count.

    What a truncated dataset dropped (`removed`) is none of its tasks.
    """
    return max(0, int(row["tasks"]) - sum(int(row[one]) for one in NOT_WAITING))


def all_of(about: Mapping[str, Sequence[Row]]) -> str:
    """Return the two tables as text."""
    busy_first = sorted(about["datasets"], key=lambda row: not (row["waiting"] or row["leased"]))
    datasets = tables.plain(list(map(_dataset, busy_first)), 2, ("hours", "attempts", "waiting"))
    if not about["sites"]:
        return datasets
    return f"{datasets}\n\n{tables.plain(list(map(_site, about['sites'])), 1, ('gaps', 'slots'))}"


def live(about: Mapping[str, Sequence[Row]]) -> Any:
    """Return the same for a terminal that is written over."""
    from rich.text import Text

    return Text(all_of(about), no_wrap=True, overflow="crop")


def line(row: Row) -> str:
    """Return how a dataset is, in a line."""
    words = [f"{row[one]:,} {one}" for one in SHOWN if row[one]]
    name = f"{row['name']} {row['dataset'][:ID_CHARS]}"
    said = f"{name}: {row['done']:,} of {row['tasks']:,} done{''.join(f', {w}' for w in words)}"
    return printable(said)


def heard(seconds: int | None) -> str:
    """Return how long ago something new came, in words."""
    if seconds is None:
        return "never"
    for size, unit in HEARD:
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{max(0, seconds)} s ago"


def _dataset(row: Row) -> dict[str, Any]:
    done, tasks = row["done"], row["tasks"] or 1
    full = BAR_CELLS * done // tasks
    return {
        "dataset": row["name"],
        "id": row["dataset"][:ID_CHARS],
        "progress": "#" * full + "." * (BAR_CELLS - full),
        "done": f"{done:,}/{row['tasks']:,}",
        "waiting": row["waiting"],
        "leased": row["leased"],
        "failed": row["failed"],
        "attempts": row["attempts"],
        "hours": f"{row['wall_hours']:,.1f}",
    }


def _site(row: Row) -> dict[str, Any]:
    report = row.get("report") or {}
    return {
        "site": row["site"],
        "heard": heard(row["heard_s"]) + (" (silent)" if row["silent"] else ""),
        "leased": row["tasks_leased"],
        "pilots": report.get("pilots_running"),
        "slots": report.get("slots"),
        "gaps": sum(map(len, (row.get("gaps") or {}).values())),
    }
