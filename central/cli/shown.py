"""How `pulk dataset` shows a dataset to a person: its facts, and a table of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bundle.cli.table import printable
from central.cli.tables import table
from central.core.facts import Verdict

HOUR_MS = 3_600_000
NEED_STATES = {
    "met": "all of it is there",
    "waiting": "waits",
    "open": "waits until that dataset is closed",
    "changed": "an edit took away what it needs there",
    "gone": "that dataset is not there any more",
    "hidden": "you may not read that dataset",
}
Rows = Sequence[Mapping[str, Any]]


def dataset(about: Mapping[str, Any], counted: Rows, needs: Rows = ()) -> str:
    """Return what there is to say of one dataset: what it is, how far it is, its steps.

    `needs`: of other datasets.
    """
    done = sum(int(one["counts"].get(Verdict.DONE.value, 0)) for one in counted)
    share = f" ({done / about['tasks']:.1%})" if about["tasks"] else ""
    lines = [
        f"{about['name']}  {about['id']}",
        *([f"  {about['description']}"] if about.get("description") else []),
        f"  {about['jobs']:,} jobs, {about['tasks']:,} tasks; done {done:,}{share}",
        f"  submitted {about['submitted']}{''.join(_people(about))}",
        *([f"  control: {about['control']}"] if about.get("control") else []),
        *(f"  {_need(one)}" for one in needs),
    ]
    steps = {one["step"]: one for one in about["steps"]}
    merged = []
    for one in counted:
        of = steps[one["step"]]
        needs = [steps[need]["name"] for need in of["needs"]]
        merged.append({**one, "per": of["per"], "needs": needs})
    return "\n".join(map(printable, lines)) + "\n" + counts(merged)


def _need(one: Mapping[str, Any]) -> str:
    which = "all tasks" if one["jobs"] == "all" else "the same task"
    named = f"{one['name']} ({one['dataset']})" if one["name"] else one["dataset"]
    words = f"step {one['step']} needs {which} of step {one['of_step']} of {named}"
    far = "" if one["done"] is None else f": {one['done']:,} of {one['tasks']:,} done"
    return f"{words}{far}; {NEED_STATES.get(one['state'], one['state'])}"


def counts(counted: Rows) -> str:
    """Return the table of steps: tasks by verdict, and what their attempts used."""
    verdicts = [one.value for one in Verdict if any(row["counts"].get(one) for row in counted)]
    has_needs = any("needs" in row for row in counted)
    left = ["step", "per", "needs"] if has_needs else ["step"]
    head = [*left, "tasks", *verdicts, "attempts", "wall h", "cpu h", "peak MiB"]
    rows = (_cells(row, verdicts, has_needs) for row in counted)
    return table(head, len(left), rows, ("cpu h", "per", "needs", "peak MiB", "attempts"))


def datasets(listed: Rows) -> str:
    """Return the table of datasets, without what only programs compare."""
    if not listed:
        return "none"
    head = ["id", "name", "submitted", "jobs", "steps", "tasks"]
    rows = ([_text(row[name]) for name in head] for row in listed)
    return table(head, 3, rows, ("steps", "submitted", "jobs"))


def _people(about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("submitted_by"):
        yield f" by {about['submitted_by']}"
    if about.get("cosigned_by"):
        yield f"; co-signed by {', '.join(about['cosigned_by'])}"


def _cells(row: Mapping[str, Any], verdicts: Sequence[str], has_needs: bool) -> list[str]:
    needs = [str(row.get("per", "")), ", ".join(row.get("needs", ()))] if has_needs else []
    return [
        f"{row['step']} {row['name']}",
        *needs,
        _text(row["tasks"]),
        *(_text(row["counts"].get(one, 0)) for one in verdicts),
        _text(row["attempts"]),
        f"{row['wall_ms'] / HOUR_MS:,.2f}",
        f"{row['cpu_ms'] / HOUR_MS:,.2f}",
        _text(row["memory_peak_mib"]),
    ]


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
