"""Parts of a status in words, for `pulk relay status`."""

from __future__ import annotations

from typing import Any

TASKS_SHOWN = 20


def edits(about: dict[str, Any]) -> list[str]:
    """Return which datasets were edited while they are leased here."""
    return [
        f"dataset {one['dataset']}: edited by commit {one['commit']}, heard {one['age_s']} s ago"
        for one in about["edits"]
    ]


def radio(about: dict[str, Any]) -> list[str]:
    """Return what the running relay hears: how many pilots, and their oldest tasks."""
    radio, running = about["radio"], about["running"]
    if radio is None:
        return []
    if running is None:
        return [f"radio {radio['endpoint']} does not answer; said {radio['said_s']} s ago"]
    lines = [f"radio: {radio['pilots']} pilots heard, {len(running)} tasks run"]
    lines += [
        f"task {t['task']}: {t['age_s']:.0f} s, {t['cpu']:.2f} cores, {t['memory_mib']} MiB, "
        f"on {t['host']}, told {t['told_s']} s ago"
        for t in running[:TASKS_SHOWN]
    ]
    if len(running) > TASKS_SHOWN:
        lines.append(f"and {len(running) - TASKS_SHOWN} more tasks (--json shows all)")
    return lines
