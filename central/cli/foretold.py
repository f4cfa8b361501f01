"""What `pulk dataset check` says beforehand, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.cli.table import printable
from bundle.dataset.foreign import Which
from bundle.dataset.spec import Per
from central.foretold import about, fits

STEPS_SHOWN_MAX = 50

__all__ = ["about", "fits", "words"]


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


def _other(need: Mapping[str, Any]) -> str:
    which = "every task" if need["jobs"] == str(Which.ALL) else "the task of the same job"
    folder = "TASK/" if need["jobs"] == str(Which.ALL) else ""
    read = ", ".join(f"{one['output']} as {folder}{one['as']}" for one in need["inputs"])
    files = f", and reads {read}" if read else ""
    return f"{which} of step {need['step']} of dataset {need['dataset']} to be done{files}"


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
