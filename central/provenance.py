"""The story of one task: where its outputs come from, as the archive tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from bundle.dataset import macros
from bundle.dataset.seeds import seed
from bundle.dataset.spec import Command, Dataset, Step
from bundle.fates import Fate
from bundle.ids import Task
from bundle.records import host as hosts
from bundle.records.attempt import Attempt
from bundle.records.foreign import read_by
from central.attempts import Found, attempt_row, attempts_of
from central.core.changes import implied_row
from central.core.dag import Dag
from central.core.facts import Place, TaskRow
from central.state.reading import Reading
from central.state.recall import Recalled
from central.store.rows import DatasetRow, Outputs
from central.workings import Workings

ATTEMPTS_MAX = 50
JOBS_MAX = 10_000  # whose outputs are told of, of those that a task over all jobs reads
YEAR_10000_US = 253_402_300_800_000_000


def story(workings: Workings, task: Task) -> dict[str, Any]:
    """Return verdict, attempts, inputs and outputs by digest, and where and how it ran.

    `complete` says whether all jobs that a task over all of them reads from were looked at.
    """
    row, dag, place = workings.task(task)
    reading = Reading(workings, row)
    parents = _parents(dag, place)
    rows = {one.place: one for one in reading.rows([*parents, place], outcomes=True)}
    state = rows.get(place) or implied_row(dag, workings.controls(row), place)
    built = reading.built([place for place, one in rows.items() if one.outcome])
    outcomes = {one.outcome: one.outputs for one in built.values()}
    found: dict[str, Any] = {
        "task": str(task),
        "dataset": task.dataset,
        "job": task.job,
        "step": task.step,
        "name": dag.dataset.steps[task.step].name,
        "verdict": state.verdict.value,
        "generation": state.generation,
        "failures": state.failures,
        "outcome": state.outcome.hex(),
        "command": _command(dag.dataset, task),
        "seed": seed(dag.dataset.seed, task.job, task.step),
        "inputs": _inputs(dag, task, rows, outcomes),
        "consumed": [
            {"task": f"{task.dataset}/{job}/{step}", "outcome": rows[step, job].outcome.hex()}
            for step, job in parents
            if (step, job) in rows and rows[step, job].outcome
        ],
        "outputs": _brought(workings, _outputs(dag, task.step, outcomes.get(state.outcome, ()))),
        "complete": dag.dataset.jobs <= JOBS_MAX
        or not any(dag.is_fan_in(task.step, parent) for parent in dag.needs[task.step]),
    }
    return found | _attempts(workings, row, task, state)


def detailed(workings: Workings, row: DatasetRow, found: Sequence[Found]) -> list[dict[str, Any]]:
    """Return attempts with everything that is known of each: what it ran on, took in, put out.

    `consumed` has an outcome per parent task, in the order of `bundle.dataset.graph.parents`;
    what a `canonical` one put out is what counts of its task.
    """
    steps, rows = workings.dag(row.digest).dataset.steps, []
    bundles: dict[int, str] = {}
    details = [one.segment.columns.attempt(one.number) for one in found]
    places = sorted({(one.step, one.job) for one in details})
    states = {one.place: one for one in Reading(workings, row).rows(places, outcomes=True)}
    for one, detail in zip(found, details, strict=True):
        state = states.get((detail.step, detail.job))
        names = [output.name for output in steps[detail.step].outputs]
        shown = attempt_row(row, one)
        rows.append(
            shown
            | {"canonical": state is not None and _counts(detail, shown, state)}
            | _came(workings, one, bundles)
            | _ran(detail, one.segment)
            | {"consumed": [each.hex() for each in detail.consumed]}
            | {"outputs": _files(names, detail.outputs)}
            | {"foreign": _of_others(workings, one.segment, steps[detail.step], detail.job)}
        )
    return rows


def _of_others(workings: Workings, segment: Recalled, step: Step, job: int) -> list[dict[str, Any]]:
    """Return the files of other datasets that an attempt read, as its lease states them."""
    if not step.foreign:
        return []
    found: list[dict[str, Any]] = []
    for need, pins, task in read_by(step, job, workings.lease(segment.lease).foreign):
        made_by = {"task": task.attempt.partition(":")[0], "attempt": task.attempt}
        for output, name in need.inputs[: JOBS_MAX - len(found)]:
            file, size = pins.file(task, output)
            about = {"name": need.named(name, task.task), "sha256": file.hex(), "bytes": size}
            found.append(about | made_by | {"step": pins.step})
    return found


@lru_cache(4096)
def iso(at_us: int) -> str | None:
    """Return UTC microseconds as text; None for 0, and for what is no date of people's."""
    if not 0 < at_us < YEAR_10000_US:
        return None
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")


def _attempts(workings: Workings, row: DatasetRow, task: Task, state: TaskRow) -> dict[str, Any]:
    """Return all attempts in detail, and beside them how the canonical one ran."""
    attempts: list[dict[str, Any]] = []
    canonical: dict[str, Any] = {}
    step = workings.dag(row.digest).dataset.steps[task.step]
    for one in attempts_of(workings, row, (task.step, task.job), ATTEMPTS_MAX):
        detail = one.segment.columns.attempt(one.number)
        shown = attempt_row(row, one) | _came(workings, one) | _ran(detail, one.segment)
        if step.foreign:
            shown |= {"foreign": _of_others(workings, one.segment, step, task.job)}
        attempts.append(shown)
        if _counts(detail, shown, state) and not canonical:
            canonical = shown
    names = ("started", "host", "software", "site", "pilot_run", "wall_ms", "cpu_ms", "attempt")
    best = canonical or (attempts[-1] if attempts else {})
    return {name: best.get(name) for name in names} | {"attempts": attempts}


def _came(workings: Workings, found: Found, known: dict[int, str] | None = None) -> dict[str, Any]:
    """Return which bundle brought an attempt; `known` keeps their ids by number."""
    number, ids = found.segment.row.bundle, {} if known is None else known
    if number not in ids:
        ids[number] = workings.store.bundles.bundle_id(number)
    return {"result_bundle": ids[number]}


def _counts(attempt: Attempt, shown: Mapping[str, Any], state: TaskRow) -> bool:
    """Return whether what an attempt put out is what counts of its task."""
    is_its = shown["outcome"] == state.outcome.hex() and attempt.generation == state.generation
    return attempt.fate is Fate.SUCCESS and is_its


def _ran(attempt: Attempt, segment: Recalled) -> dict[str, Any]:
    host = segment.columns.header.host
    return {
        "started": iso(attempt.started_us),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "slot": attempt.slot,
        "software": attempt.software,
        "evidence": attempt.evidence,
        "salvaged": segment.columns.salvaged,
        "host": hosts.to_wire(host),
    }


def _parents(dag: Dag, place: Place) -> list[Place]:
    found = list(dag.parents(place))
    for parent in dag.needs[place[0]]:
        if dag.is_fan_in(place[0], parent):
            found += [(parent, job) for job in dag.needed(place, parent)[:JOBS_MAX]]
    return sorted(found)


def _inputs(
    dag: Dag, task: Task, rows: Mapping[Place, TaskRow], outcomes: Mapping[bytes, Outputs]
) -> list[dict[str, Any]]:
    """Return every staged file by name and digest, and the task that made it."""
    steps = dag.dataset.steps
    found = []
    for one in steps[task.step].inputs:
        fan_in = dag.is_fan_in(task.step, one.step)
        for parent_job in dag.needed((task.step, task.job), one.step)[:JOBS_MAX]:
            row = rows.get((one.step, parent_job))
            outputs = outcomes.get(row.outcome, ()) if row else ()
            if one.output < len(outputs):
                file, size = outputs[one.output]
                name = f"{parent_job}/{one.name}" if fan_in else one.name
                made_by = f"{task.dataset}/{parent_job}/{one.step}"
                about = {"name": name, "sha256": file.hex(), "bytes": size}
                found.append(about | {"task": made_by, "step": steps[one.step].name})
    return found


def _outputs(dag: Dag, step: int, outputs: Outputs) -> list[dict[str, Any]]:
    return _files([one.name for one in dag.dataset.steps[step].outputs], outputs)


def _files(names: Sequence[str], outputs: Outputs) -> list[dict[str, Any]]:
    return [
        {"name": name, "sha256": file.hex(), "bytes": size}
        for name, (file, size) in zip(names, outputs, strict=False)
    ]


def _brought(workings: Workings, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say of each output which bundle brought it home; nil where it stayed at its site."""
    home = workings.store.tasks.files([bytes.fromhex(one["sha256"]) for one in outputs])
    found = []
    for one in outputs:
        place = home.get(bytes.fromhex(one["sha256"]))
        bundle = None if place is None else workings.store.bundles.bundle_id(place.bundle)
        found.append(one | {"bundle": bundle})
    return found


def _command(dataset: Dataset, task: Task) -> list[str]:
    step = dataset.steps[task.step]
    if isinstance(step.run, Command):
        return [macros.expand(text, dataset, task.step, task.job) for text in step.run.argv]
    return ["synthetic", f"cpu {step.run.cpu_ms} ms", f"memory {step.run.memory_mib} MiB"]
