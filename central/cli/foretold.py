"""What `pulk dataset check` says beforehand: tasks, commands, hours, and where they fit."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from bundle.cli.table import printable
from bundle.dataset import macros
from bundle.dataset.containers import required
from bundle.dataset.foreign import Which
from bundle.dataset.spec import Command, Dataset, Per
from bundle.records.profile import Gpu, Profile
from central.core import matching
from central.core.matching import Needs

HOUR_MS = 3_600_000
COMMAND_CHARS_MAX = 300
STEPS_SHOWN_MAX = 50


def about(dataset: Dataset) -> dict[str, Any]:
    """Return tasks, first and last command, and the hours that requests allow, by step."""
    steps = [_step(dataset, index) for index in range(len(dataset.steps))]
    return {
        "name": dataset.name,
        "jobs": dataset.jobs,
        "tasks": dataset.tasks(),
        "core_hours_max": round(sum(one["core_hours_max"] for one in steps), 2),
        "gpu_hours_max": round(sum(one["gpu_hours_max"] for one in steps), 2),
        "steps": steps,
    }


def fits(dataset: Dataset, sites: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return by site which steps cannot run there, with the first reason of each.

    Args:
        dataset: the dataset.
        sites: as central lists them; what one did not report keeps nothing away.
    """
    found = []
    for site in sites:
        told = (site.get("report") or {}).get("site") or {}
        profile = _profile(told)
        account = matching.refusals(dataset.account, "", str(site["site"]), profile)
        why = [{"step": "", "why": one.text} for one in account[:1]]
        for step in () if why else dataset.steps:
            if reasons := matching.mismatches(Needs(step.request, required(step)), profile):
                why.append({"step": step.name, "why": reasons[0].text})
        found.append({"site": site["site"], "fits": not why, "told": bool(told), "not": why})
    return found


def words(said: Mapping[str, Any]) -> str:
    """Return all of it for a person."""
    lines = [
        f"{said['name']}: {said['jobs']:,} jobs, {len(said['steps'])} steps, "
        f"{said['tasks']:,} tasks; nothing is wrong with it",
        f"  at most {said['core_hours_max']:,} core hours{_gpus(said)}, by what steps request",
    ]
    for one in said["steps"][:STEPS_SHOWN_MAX]:
        lines.append(f"  {one['name']}: {_often(one)}; each at most {one['request']}")
        lines += [f"    {place}: {one[place]}" for place in ("first", "last") if one[place]]
        lines += [f"    needs {_other(need)}" for need in one["foreign"]]
    if left := len(said["steps"]) - STEPS_SHOWN_MAX:
        lines += [f"  and {left} more steps"] if left > 0 else []
    lines += [f"  {_site(one)}" for one in said.get("sites", ())]
    return "\n".join(map(printable, lines))


def _step(dataset: Dataset, index: int) -> dict[str, Any]:
    step, tasks = dataset.steps[index], dataset.tasks_of(index)
    ask = step.request
    hours = tasks * ask.walltime_ms / HOUR_MS
    first, last = _command(dataset, index, 0), _command(dataset, index, tasks - 1)
    gpus = f", {ask.gpu_milli / 1000:g} GPUs" if ask.gpu_milli else ""
    return {
        "name": step.name,
        "per": str(step.per),
        "tasks": tasks,
        "jobs_per_task": dataset.span(index),
        "first": first,
        "last": last if tasks > 1 else "",
        "foreign": [
            {
                "dataset": one.dataset,
                "step": one.step,
                "jobs": str(one.which),
                "inputs": [{"output": of, "as": name} for of, name in one.inputs],
            }
            for one in step.foreign
        ],
        "core_hours_max": round(hours * ask.cpu_milli / 1000, 2),
        "gpu_hours_max": round(hours * ask.gpu_milli / 1000, 2),
        "request": f"{ask.cpu_milli / 1000:g} cores{gpus}, {ask.memory_mib} MiB, "
        f"{ask.disk_bytes / 2**20:,.0f} MiB of disk, {ask.walltime_ms / HOUR_MS:.3g} h",
    }


def _other(need: Mapping[str, Any]) -> str:
    which = "every task" if need["jobs"] == str(Which.ALL) else "the task of the same job"
    folder = "TASK/" if need["jobs"] == str(Which.ALL) else ""
    read = ", ".join(f"{one['output']} as {folder}{one['as']}" for one in need["inputs"])
    files = f", and reads {read}" if read else ""
    return f"{which} of step {need['step']} of dataset {need['dataset']} to be done{files}"


def _command(dataset: Dataset, step: int, job: int) -> str:
    run = dataset.steps[step].run
    if not isinstance(run, Command):
        return ""
    text = shlex.join(macros.expand(one, dataset, step, job) for one in run.argv)
    return text if len(text) <= COMMAND_CHARS_MAX else f"{text[:COMMAND_CHARS_MAX]}..."


def _often(one: Mapping[str, Any]) -> str:
    each = {
        str(Per.JOB): "one for each job",
        str(Per.BLOCK): f"one for {one['jobs_per_task']:,} jobs each",
        str(Per.DATASET): "one over all jobs",
    }
    return f"{one['tasks']:,} tasks, {each[one['per']]}"


def _gpus(said: Mapping[str, Any]) -> str:
    return f" and {said['gpu_hours_max']:,} GPU hours" if said["gpu_hours_max"] else ""


def _site(one: Mapping[str, Any]) -> str:
    if not one["told"]:
        return f"at {one['site']}: it did not tell what its nodes are"
    if one["fits"]:
        return f"at {one['site']}: all of it may run"
    why = "; ".join(": ".join(filter(None, (of["step"], of["why"]))) for of in one["not"][:5])
    return f"at {one['site']}: not {why}"


def _profile(told: Mapping[str, Any]) -> Profile:
    known = {name: told[name] for name in Profile.__dataclass_fields__ if name in told}
    gpus, software = known.get("gpus"), known.get("software")
    known["gpus"] = None if gpus is None else tuple(Gpu(**one) for one in gpus)
    known["software"] = None if software is None else tuple(software)
    for name in ("allow", "deny"):
        known[name] = tuple(known.get(name) or ())
    return Profile(**known)
