"""How tasks, jobs, attempts and outputs are shown to a person."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bundle.cli.table import printable
from central.cli import tables

Row = Mapping[str, Any]
Rows = Sequence[Row]
SECOND_CHARS = 19  # of a date, down to its seconds
SILENT = "(it wrote nothing)"
NOT_KEPT = "(it is older than what is shown of a task)"
OLDER = "\n== older attempts are not shown"
DIGEST_CHARS = 12  # of a digest in a line; --json has all of it


def tasks(listed: Rows, names: Mapping[int, str], more: str) -> str:
    """Return the table of tasks."""
    rows = [
        {
            "job": row["job"],
            "step": names.get(row["step"], str(row["step"])),
            "verdict": row["verdict"],
            "failures": row["failures"],
        }
        for row in listed
    ]
    return tables.plain(rows) + more


def jobs(listed: Rows, more: str) -> str:
    """Return the table of jobs: how each step of them stands."""
    rows = [{"job": row["job"], "state": row["state"], **row["verdicts"]} for row in listed]
    return tables.plain(rows) + more


def outputs(listed: Rows) -> str:
    """Return the table of outputs: what they are, and where."""
    rows = [
        {
            "job": row["job"],
            "step": row["step"],
            "name": row["name"],
            "bytes": row["bytes"],
            "sha256": row["sha256"][:DIGEST_CHARS],
            "place": row.get("file") or place(row),
        }
        for row in listed
    ]
    return tables.plain(rows, spare=("sha256",))


def place(row: Row) -> str:
    """Return where an output lies, in words."""
    if row["bundle"] is None:
        return f"at site {row['site']}, not brought home"
    return "home"


def task(story: Row) -> str:
    """Return all that is known of one task, as lines and two tables."""
    lines = [f"{story['task']} ({story['name']}) is {story['verdict']}", *_facts(story)]
    text = "\n".join(map(printable, lines))
    for title, rows in (("inputs", story["inputs"]), ("outputs", story["outputs"])):
        if rows:
            text += f"\n{title}:\n{tables.plain([_file(one, story) for one in rows])}"
    if story["attempts"]:
        text += f"\nattempts:\n{tables.plain([_attempt(one) for one in story['attempts']])}"
    return text


def logs(told: Rows, names: Mapping[int, str] | None = None) -> str:
    """Return what attempts wrote, each below a line that says which; nil was not kept apart.

    Their lines are indented: none of them can be taken for one of Pulk's. With `names` of steps
    the attempts are of several tasks.
    """
    lines = []
    for one in told:
        of = "" if names is None else f"job {one['job']} {names[one['step']]}: "
        why = f": {one['evidence']}" if one["evidence"] else ""
        lines.append(f"== {of}{one['no']} at {one['site']}: {one['fate']}{why}")
        log = one["log"]
        wrote = [NOT_KEPT] if log is None else log.expandtabs().splitlines() or [SILENT]
        lines += [f"  {line}" for line in wrote]
    return "\n".join(map(printable, lines)) or tables.NONE


def attempts(listed: Rows, names: Mapping[int, str]) -> str:
    """Return the table of attempts, without digests and ids; the number is for `--after`."""
    if not listed:
        return tables.NONE
    about = ["no", "job", "step", "generation", "fate", "why", "site", "host", "started"]
    head = [*about, "wall_ms", "cpu_ms", "memory_peak_mib", "disk_peak_bytes"]
    spare = ("generation", "disk_peak_bytes", "host", "started", "cpu_ms", "memory_peak_mib")
    rows = ([str(_told(row, name, names)) for name in head] for row in listed)
    return tables.table(head, len(about), rows, spare)


def _told(row: Row, name: str, names: Mapping[int, str]) -> Any:
    match name:
        case "step":
            return names.get(row["step"], row["step"])
        case "host":
            return row.get("host", {}).get("name", "-")
        case "why":
            return row.get("evidence") or "-"
        case "started":
            return (row.get("started") or "-")[:SECOND_CHARS]
    return row[name]


def _facts(story: Row) -> Iterator[str]:
    yield f"  command:  {shlex.join(story['command'])}"
    yield f"  seed:     {story['seed']}"
    yield f"  failures: {story['failures']}; generation {story['generation']}"
    retry = story.get("retry") or {}
    if retry.get("exhausted"):
        yield f"  retry:    no more: {retry['exhausted']} used up"
    host = story.get("host")
    if host:
        yield f"  ran at:   {story['site']}, {host['name']} ({host['cpu_model']})"
        yield f"  started:  {story['started']}"
        yield f"  network:  {host['offline']}"
    if story.get("software"):
        yield f"  software: {story['software']}"


def _file(one: Row, story: Row) -> dict[str, Any]:
    shown = {"name": one["name"], "bytes": one["bytes"], "sha256": one["sha256"][:DIGEST_CHARS]}
    if "step" in one:
        return shown | {"from": one["step"]}
    return shown | {"place": place({**one, "site": story["site"]})}


def _attempt(one: Row) -> dict[str, Any]:
    return {
        "no": str(one["no"]),
        "fate": one["fate"],
        "why": one["evidence"] or "-",
        "site": one["site"],
        "host": one["host"]["name"],
        "started": one["started"],
        "wall": f"{one['wall_ms'] / 1000:,.1f} s",
        "peak": f"{one['memory_peak_mib']} MiB",
    }
