"""What a dataset would run: tasks, commands, hours, and at which sites it fits."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from bundle.dataset.containers import required
from bundle.dataset.macros import Expander
from bundle.dataset.spec import Command, Dataset, Synthetic
from bundle.records.profile import Gpu, Profile
from central.core import matching
from central.core.matching import Needs

HOUR_MS = 3_600_000
COMMAND_CHARS_MAX = 300


def about(dataset: Dataset) -> dict[str, Any]:
    """Return tasks, first and last command, and the hours that requests allow, by step."""
    expander = Expander(dataset)
    steps = [_step(dataset, index, expander) for index in range(len(dataset.steps))]
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


def _step(dataset: Dataset, index: int, expander: Expander) -> dict[str, Any]:
    step, tasks = dataset.steps[index], dataset.tasks_of(index)
    ask = step.request
    hours = tasks * ask.walltime_ms / HOUR_MS
    first, last = (_command(step.run, expander, index, job) for job in (0, tasks - 1))
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


def _command(run: Command | Synthetic, expander: Expander, step: int, job: int) -> str:
    if not isinstance(run, Command):
        return ""
    text = shlex.join(expander.expand(one, step, job) for one in run.argv)
    return text if len(text) <= COMMAND_CHARS_MAX else f"{text[:COMMAND_CHARS_MAX]}..."


def _profile(told: Mapping[str, Any]) -> Profile:
    known = {name: told[name] for name in Profile.__dataclass_fields__ if name in told}
    gpus, software = known.get("gpus"), known.get("software")
    known["gpus"] = None if gpus is None else tuple(Gpu(**one) for one in gpus)
    known["software"] = None if software is None else tuple(software)
    for name in ("allow", "deny"):
        known[name] = tuple(known.get(name) or ())
    return Profile(**known)
