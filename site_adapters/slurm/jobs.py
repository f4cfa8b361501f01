"""Batch jobs as squeue, sacct and scontrol print them, text or JSON, 21.08 to 25.05. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from site_adapters.errors import OutputRefused
from site_adapters.slurm import job_ids, tables, values, words
from site_adapters.slurm.job_ids import JobId

# Names of a column in squeue -o, squeue -O, sacct and scontrol, lower case without separators.
_ID = ("jobarrayid", "jobid", "arrayjobid")
_COLUMNS = {
    "state": ("state", "statecompact", "jobstate", "st"),
    "name": ("jobname", "name"),
    "reason": ("reason",),
    "comment": ("comment",),
    "user": ("user", "username"),
    "partition": ("partition",),
    "cluster": ("cluster",),
    "nodes": ("nodelist", "nodes"),
}
_NOT_SAID = frozenset({"(null)", "None", "None assigned", "N/A", "NULL", ""})


@dataclass(frozen=True, slots=True)
class Job:
    """A row. `states` are Slurm's words; None and empty texts are what was not printed.

    Times are UTC seconds. `limit_s` may be `values.UNLIMITED`.
    """

    id: JobId
    states: tuple[str, ...]
    name: str = ""
    reason: str = ""
    comment: str = ""
    user: str = ""
    partition: str = ""
    cluster: str = ""
    nodes: str = ""
    exit_code: tuple[int, int] | None = None
    restarts: int | None = None
    submitted_s: int | None = None
    began_s: int | None = None
    ended_s: int | None = None
    limit_s: int | None = None
    memory_mib: int | None = None


def from_table(
    raw: bytes, program: str, columns: Sequence[str] | None = None, separator: str = "|"
) -> list[Job]:
    """Read a table of squeue or sacct; `columns` as asked for, None: the first row names them.

    Raises OutputRefused.
    """
    found = tables.rows(raw, program, columns, separator)
    return [_from_words(row, program) for row in found]


def from_scontrol(raw: bytes) -> list[Job]:
    """Read `scontrol show job`. Raises OutputRefused."""
    found = []
    for row in tables.records(raw, "scontrol", "JobId"):
        said = dict(row.words)
        array, task = said.pop("ArrayJobId", ""), said.pop("ArrayTaskId", "")
        if array and task:
            inner = task if task.isdecimal() else f"[{task}]"
            said["JobId"] = f"{array}_{inner}"
        found.append(_from_words(tables.Row(row.line, said), "scontrol"))
    return found


def _from_words(row: tables.Row, program: str) -> Job:
    said = {_bare(name): word for name, word in row.words.items()}
    text = next((said[one] for one in _ID if said.get(one)), "")
    task = said.get("arraytaskid", "")
    if "jobarrayid" not in said and "_" not in text and said.get("arrayjobid", "0").isdecimal():
        array = said.get("arrayjobid", "")
        if array and task not in _NOT_SAID and array != "0":
            text = f"{array}_{task if task.isdecimal() else f'[{task}]'}"
    try:
        facts = {
            name: next((said[one] for one in names if one in said), "")
            for name, names in _COLUMNS.items()
        }
        facts = {name: "" if one in _NOT_SAID else one for name, one in facts.items()}
        states = words.states(facts.pop("state"))
        if not states:
            raise ValueError("no state")
        return Job(
            id=job_ids.job_id(text),
            states=states,
            exit_code=values.exit_code(said.get("exitcode", "")),
            restarts=_count(said, "restartcnt", "restarts"),
            submitted_s=values.at_s(_first(said, "submit", "submittime")),
            began_s=values.at_s(_first(said, "start", "starttime")),
            ended_s=values.at_s(_first(said, "end", "endtime")),
            limit_s=_limit(said),
            memory_mib=values.memory_mib(_first(said, "reqmem", "minmemory")),
            **facts,
        )
    except ValueError as error:
        shown = " ".join(row.words.values())
        raise tables.refused(program, row.line, shown, f"a batch job ({error})") from error


def _bare(name: str) -> str:
    return name.replace("_", "").replace(" ", "").lower()


def _first(said: Mapping[str, str], *names: str) -> str:
    return next((said[one] for one in names if said.get(one)), "")


def _count(said: Mapping[str, str], *names: str) -> int | None:
    word = _first(said, *names)
    return int(word) if word.isdecimal() else None


def _limit(said: Mapping[str, str]) -> int | None:
    if said.get("timelimitraw", "").isdecimal():
        return int(said["timelimitraw"]) * 60
    return values.duration_s(_first(said, "timelimit"))


def from_json(raw: bytes, program: str) -> list[Job]:
    """Read what `squeue --json`, `sacct --json` or the REST service print.

    Errors that stand in the document, and placeholders of an example, raise OutputRefused.
    """
    return [_from_object(one, at, program) for at, one in enumerate(objects(raw, program, "jobs"))]


def objects(raw: bytes, program: str, key: str) -> list[Mapping[str, Any]]:
    """Return the list under a key of Slurm's JSON. Raises OutputRefused, also for its errors."""
    try:
        document = json.loads(raw.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise _refused(program, "the document", raw[:60], f"JSON ({error})") from error
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _refused(program, key, found, "a list of objects")
    if not found and document.get("errors"):
        raise _refused(program, "errors", document["errors"], "none")
    return found


def _from_object(said: Mapping[str, Any], at: int, program: str) -> Job:
    where = f"jobs[{at}]"
    try:
        state, reason = _state_of(said)
        limit_min = values.number(said.get("time_limit", _inner(said, "time", "limit")))
        return Job(
            id=_id_of(said),
            states=state,
            name=str(said.get("name") or ""),
            reason="" if reason in _NOT_SAID else reason,
            comment=_comment(said.get("comment")),
            user=str(said.get("user") or said.get("user_name") or ""),
            partition=str(said.get("partition") or ""),
            cluster=str(said.get("cluster") or ""),
            nodes=str(said.get("nodes") or ""),
            exit_code=_exit_code(said.get("exit_code")),
            restarts=values.number(said.get("restart_cnt")),
            submitted_s=_time(said, "submission", "submit_time"),
            began_s=_time(said, "start", "start_time"),
            ended_s=_time(said, "end", "end_time"),
            limit_s=limit_min if limit_min in (None, values.UNLIMITED) else limit_min * 60,
            memory_mib=_memory(said),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise _refused(program, where, said.get("job_id"), f"a batch job ({error})") from error


def _state_of(said: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    state, reason = said.get("job_state"), said.get("state_reason")
    if state is None:
        state, reason = _inner(said, "state", "current"), _inner(said, "state", "reason")
    listed = [state] if isinstance(state, str) else state
    if not isinstance(listed, list) or not listed or not all(isinstance(s, str) for s in listed):
        raise ValueError(f"{state!r} is no state")
    return tuple(word for one in listed for word in words.states(one)), str(reason or "")


def _id_of(said: Mapping[str, Any]) -> JobId:
    job = values.number(said.get("job_id"))
    array = values.number(said.get("array_job_id", _inner(said, "array", "job_id")))
    task = values.number(said.get("array_task_id", _inner(said, "array", "task_id")))
    waiting = said.get("array_task_string") or _inner(said, "array", "task") or ""
    if job is None or job <= 0:
        raise ValueError(f"{said.get('job_id')!r} is no id")
    if array and waiting:
        found, is_cut = job_ids.indices(str(waiting))
        return JobId(array, tasks=found, is_cut=is_cut)
    if array and task is not None:
        return JobId(array, task)
    return JobId(job)


def _exit_code(value: Any) -> tuple[int, int] | None:
    """Read a plain wait status (21.08) or an object with `return_code` and `signal`."""
    if isinstance(value, Mapping) and "return_code" in value:
        code = values.number(value["return_code"])
        signal = value.get("signal")
        inner = signal.get("id", signal.get("signal_id")) if isinstance(signal, Mapping) else None
        number = values.number(inner)
        return None if code is None and number is None else (code or 0, number or 0)
    status = values.number(value)
    return None if status is None else (status >> 8, status & 0x7F)


def _time(said: Mapping[str, Any], inner: str, outer: str) -> int | None:
    found = values.number(said.get(outer, _inner(said, "time", inner)))
    return found if found and found > 0 else None


def _memory(said: Mapping[str, Any]) -> int | None:
    required = said.get("required")
    source = required if isinstance(required, Mapping) else said
    return values.number(source.get("memory_per_node", source.get("memory")))


def _comment(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("job")
    return str(value or "")


def _inner(said: Mapping[str, Any], *path: str) -> Any:
    value: Any = said
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _refused(program: str, where: str, found: Any, expected: str) -> OutputRefused:
    shown = repr(found)[:200]
    return OutputRefused(where=where, program=program, found=shown, expected=expected)
