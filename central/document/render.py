"""From a `Dataset` back to the plain values of a document: what `pulk import` prints."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from bundle.dataset.spec import SCHEMA, Command, Dataset, Per, Request, Step
from central.document import policy
from central.document.form import EPOCH


def render(dataset: Dataset) -> dict[str, Any]:
    """Return the document's values; `parse` of them gives an equal Dataset."""
    made: dict[str, Any] = {"schema": SCHEMA, "name": dataset.name}
    if dataset.description:
        made["description"] = dataset.description
    made |= {"jobs": dataset.jobs, "seed": dataset.seed}
    if dataset.open:
        made["open"] = True
    made |= _account(dataset)
    if dataset.parameters:
        made["parameters"] = dict(dataset.parameters)
    if dataset.files:
        made["files"] = {name: _file(content) for name, content in dataset.files}
    if dataset.lists:
        made["lists"] = {name: list(entries) for name, entries in dataset.lists}
    if learning := policy.render_learning(dataset.learning):
        made["learning"] = learning
    made["steps"] = [_step(dataset, step) for step in dataset.steps]
    return made


def _file(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _step(dataset: Dataset, step: Step) -> dict[str, Any]:
    made: dict[str, Any] = {"name": step.name}
    if step.per is not Per.JOB:
        made["per"] = str(step.per)
    if step.per is Per.BLOCK:
        made["jobs_per_task"] = step.block_jobs
    made["needs"] = [dataset.steps[parent].name for parent in step.needs]
    made["needs"] += [
        {"dataset": one.dataset, "step": one.step, "jobs": str(one.which)} for one in step.foreign
    ]
    made["inputs"] = [_input(dataset, one.step, one.output, one.name) for one in step.inputs]
    made["inputs"] += [
        {"from": f"{one.step}:{output}", "as": name, "dataset": one.dataset}
        for one in step.foreign
        for output, name in one.inputs
    ]
    if step.generated:
        made["generated"] = [
            {"name": one.name, "size": one.size_bytes, "seed": one.seed} for one in step.generated
        ]
    if step.files:
        made["files"] = list(step.files)
    made["outputs"] = [
        {"name": one.name, "keep": True} if one.keep else one.name for one in step.outputs
    ]
    if step.environment:
        made["environment"] = dict(step.environment)
    match step.run:
        case Command(argv):
            made["command"] = list(argv)
        case _:
            made["synthetic"] = {
                "cpu": f"{step.run.cpu_ms}ms",
                "wall": f"{step.run.wall_ms}ms",
                "memory": f"{step.run.memory_mib}MiB",
                "outputs": list(step.run.output_bytes),
            }
    made["request"] = _request(step.request)
    made["failures_max"] = step.failures_max
    if step.iteration is not None:
        made["iteration"] = step.iteration
    if step.deterministic:
        made["deterministic"] = True
    if step.container:
        made["container"] = step.container
    made |= _requires(step)
    made |= _abilities(step)
    if retry := policy.render_retry(step.retry):
        made["retry"] = retry
    return made


def _account(dataset: Dataset) -> dict[str, Any]:
    account, made = dataset.account, {}
    for name in ("user", "group", "priority"):
        if getattr(account, name):
            made[name] = getattr(account, name)
    if account.deadline_us:
        made["deadline"] = (EPOCH + timedelta(microseconds=account.deadline_us)).isoformat()
    sites = {"allow": list(account.allow), "deny": list(account.deny)}
    if any(sites.values()):
        made["sites"] = {name: listed for name, listed in sites.items() if listed}
    return made


def _requires(step: Step) -> dict[str, Any]:
    ask = step.requires
    made: dict[str, Any] = {
        name: value
        for name in ("os", "arch", "libc", "network", "gpu_model")
        if (value := getattr(ask, name))
    }
    if ask.software:
        made["software"] = list(ask.software)
    if ask.gpu_memory_mib:
        made["gpu_memory"] = f"{ask.gpu_memory_mib}MiB"
    return {"requires": made} if made else {}


def _abilities(step: Step) -> dict[str, Any]:
    made: dict[str, Any] = {}
    kept, elastic = step.checkpoint, step.elastic
    if kept.files:
        made["checkpoint"] = {"files": list(kept.files), "signal": kept.signal}
        if kept.every_ms:
            made["checkpoint"]["every"] = f"{kept.every_ms}ms"
    if elastic.cpu_milli_max or elastic.memory_mib_max:
        made["elastic"] = {
            "cpus_max": elastic.cpu_milli_max / 1000,
            "memory_max": f"{elastic.memory_mib_max}MiB",
            "shrinks": elastic.shrinks,
            "signal": elastic.signal,
        }
    return made


def _input(dataset: Dataset, parent: int, output: int, name: str) -> Any:
    source = dataset.steps[parent]
    output_name = source.outputs[output].name
    text = f"{source.name}:{output_name}"
    return text if name == output_name else {"from": text, "as": name}


def _request(ask: Request) -> dict[str, Any]:
    return {
        "cpu": ask.cpu_milli / 1000,
        "gpu": ask.gpu_milli / 1000,
        "memory": f"{ask.memory_mib}MiB",
        "disk": f"{ask.disk_bytes}B",
        "walltime": f"{ask.walltime_ms}ms",
    }
