"""The end of a rehearsal: one document for scripts, tables and a verdict for people."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bundle.dataset.spec import Dataset
from bundle.fates import Fate
from central.rehearsal.evidence import Verdict, Witnessed
from central.rehearsal.loop import Ran

MS_PER_HOUR = 3_600_000
FAILURES_SHOWN_MAX = 10


def document(ran: Ran, attempts: list[Witnessed], verdict: Verdict) -> dict[str, Any]:
    """Return what `--json` prints; docs/commands.md lists the fields."""
    bundles = ran.fsck["bundles"]
    return {
        "jobs": ran.dataset.jobs,
        "tasks": ran.dataset.tasks(),
        "done": _total(ran, "done"),
        "failed": _total(ran, "failed"),
        "held": _total(ran, "held"),
        "attempts": len(attempts),
        "bundles": {
            "work": bundles["work"],
            "result": bundles["result"],
            "duplicates": bundles["duplicates"],
            "rejected": bundles["rejected"],
        },
        "lost": len(verdict.lost),
        "double": len(verdict.double),
        "repeated": verdict.repeated,
        "edges": {"checked": verdict.edges.checked, "violations": len(verdict.edges.violations)},
        "faults": ran.faults,
        "fates": _fates(attempts),
        "failures": failures(ran.dataset, attempts),
        "steps": step_usage(ran.dataset, attempts),
        "offline": ran.offline,
        "state_hash": ran.fsck["state_hash"],
        "fsck_ok": ran.fsck["ok"],
        "dataset": ran.dataset_id,
        "wall_s": round(ran.wall_s, 1),
        "dir": str(ran.stage.root),
        "problems": [*verdict.lost, *verdict.double, *verdict.edges.violations][:20],
    }


def sound(summary: dict[str, Any]) -> bool:
    """Return whether nothing was lost, doubled or out of order, and fsck agrees."""
    wrong = (summary["lost"], summary["double"], summary["edges"]["violations"])
    return not any(wrong) and bool(summary["fsck_ok"])


def step_usage(dataset: Dataset, attempts: list[Witnessed]) -> list[dict[str, Any]]:
    """Return per step what its successful attempts really used, and the attempts of any fate."""
    rows = []
    by_step: dict[int, list[Witnessed]] = defaultdict(list)
    for one in attempts:
        by_step[one.attempt.step].append(one)
    for index, step in enumerate(dataset.steps):
        mine = by_step[index]
        well = [one.attempt.usage for one in mine if one.attempt.fate is Fate.SUCCESS]
        denied = [one for one in mine if one.attempt.fate is Fate.NETWORK_DENIED]
        rows.append(
            {
                "step": step.name,
                "tasks": dataset.tasks_of(index),
                "attempts": len(mine),
                "cpu_hours": round(sum(u.cpu_ms for u in well) / MS_PER_HOUR, 6),
                "wall_hours": round(sum(u.wall_ms for u in well) / MS_PER_HOUR, 6),
                "wall_ms_max": max((u.wall_ms for u in well), default=0),
                "memory_peak_mib": max((u.memory_peak_mib for u in well), default=0),
                "disk_peak_bytes": max((u.disk_peak_bytes for u in well), default=0),
                "read_bytes": sum(u.read_bytes for u in well),
                "written_bytes": sum(u.written_bytes for u in well),
                "tried_the_network": len(denied),
            }
        )
    return rows


def failures(dataset: Dataset, attempts: list[Witnessed]) -> list[dict[str, Any]]:
    """Return per step and fate how many attempts failed, and the evidence of one of them."""
    found: dict[tuple[int, Fate], list[Witnessed]] = defaultdict(list)
    for one in attempts:
        if one.attempt.fate is not Fate.SUCCESS:
            found[one.attempt.step, one.attempt.fate].append(one)
    return [
        {
            "step": dataset.steps[step].name,
            "fate": fate,
            "attempts": len(members),
            "evidence": members[-1].attempt.evidence,
        }
        for (step, fate), members in sorted(found.items())
    ]


def write_requirements(path: Path, steps: list[dict[str, Any]]) -> None:
    """Write the requests that would have sufficed: measured peaks and a quarter on top."""
    measured = {
        row["step"]: {
            "memory": f"{max(1, -(-row['memory_peak_mib'] * 5 // 4))}MiB",
            "disk": f"{max(1, -(-row['disk_peak_bytes'] * 5 // (4 << 20)))}MiB",
            "walltime": f"{max(1, -(-row['wall_ms_max'] * 5 // 4000))}s",
        }
        for row in steps
        if row["wall_ms_max"]
    }
    path.write_text(json.dumps(measured, indent=1) + "\n")


def show(console: Console, ran: Ran, summary: dict[str, Any], rows_max: int = 15) -> None:
    """Print the table and the verdict."""
    table = Table(title=f"{ran.dataset.name}: {summary['tasks']} tasks", title_justify="left")
    table.add_column("step")
    for name in ("tasks", "done", "failed", "attempts", "cpu", "wall", "peak MiB"):
        table.add_column(name, justify="right")
    steps = summary["steps"]
    shown = list(range(len(steps)))
    if len(steps) > rows_max:
        longest = sorted(shown, key=lambda number: steps[number]["wall_hours"], reverse=True)
        shown = sorted(longest[:rows_max])
        table.caption = f"the {rows_max} longest of {len(steps)} steps; all of them with --json"
    for number in shown:
        row, counts = steps[number], ran.counts[number]["counts"]
        table.add_row(
            row["step"],
            str(row["tasks"]),
            str(counts.get("done", 0)),
            str(counts.get("failed", 0)),
            str(row["attempts"]),
            _duration(row["cpu_hours"]),
            _duration(row["wall_hours"]),
            str(row["memory_peak_mib"]),
        )
    console.print(table)
    for line in verdict_lines(summary):
        console.print(line, highlight=False, soft_wrap=True)


def verdict_lines(summary: dict[str, Any]) -> list[str]:
    """Return the verdict in words."""
    edges, bundles = summary["edges"], summary["bundles"]
    word = "[bold green]sound[/]" if sound(summary) else "[bold red]NOT SOUND[/]"
    lines = [
        f"Verdict: {word}. lost {summary['lost']}, double {summary['double']}, measured against "
        f"the ledger that the payloads wrote themselves",
        f"  {edges['checked']} edges of the DAG checked, {edges['violations']} not respected; "
        f"{summary['repeated']} tasks ran again because a kill came before their record was safe",
        f"  bundles: {bundles['work']} work, {bundles['result']} result, "
        f"{bundles['duplicates']} came twice, {bundles['rejected']} rejected; "
        f"network of the pilots: {summary['offline']}",
    ]
    if summary["failed"] or summary["held"]:
        lines.append(f"  {summary['failed']} tasks failed, {summary['held']} wait for them")
    lines += [
        f"  {one['step']}: {one['attempts']} x {one['fate']}: {escape(one['evidence'])}"
        for one in summary["failures"][:FAILURES_SHOWN_MAX]
    ]
    lines += [f"  [red]{problem}[/]" for problem in summary["problems"]]
    lines.append(f"  state hash {summary['state_hash']}")
    return lines


def _duration(hours: float) -> str:
    return f"{hours:.2f} h" if hours >= 1 else f"{hours * 3600:.1f} s"


def _fates(attempts: list[Witnessed]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in attempts:
        counted[one.attempt.fate] = counted.get(one.attempt.fate, 0) + 1
    return counted


def _total(ran: Ran, word: str) -> int:
    return sum(step["counts"].get(word, 0) for step in ran.counts)
