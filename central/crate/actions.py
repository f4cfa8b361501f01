"""Who did what: an action for each attempt, the steps' and the whole run's around them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bundle.dataset import graph, macros
from bundle.dataset.spec import Command, Dataset
from bundle.fates import Fate
from central.core.facts import Verdict
from central.crate import names
from central.crate.facts import CANONICAL, DOCUMENT, Entity, Facts, Row, file_id, ref

STATUS = "http://schema.org/"
USED = {"wall_ms": "ms", "cpu_ms": "ms", "memory_peak_mib": "MiB", "disk_peak_bytes": "byte"}
OPEN = (Verdict.READY, Verdict.LEASED)  # what only waits for a failed parent is at its end too


def attempts(facts: Facts) -> Iterator[Entity]:
    """Yield an action for each attempt, with what it used, where it ran, its files."""
    made_by = {row["outcome"]: row["outputs"] for row in facts.rows if row["outcome"]}
    hosts: dict[str, Entity] = {}
    sites: dict[str, Entity] = {}
    for row in facts.rows:
        hosts.setdefault(names.host(row), names.host_entity(row))
        site = row["site"]
        sites[site] = {"@id": names.site(site), "@type": "Organization", "name": site}
        step = facts.dataset.steps[row["step"]]
        taken = consumed(facts.dataset, row, made_by)
        started = row["started"]
        action: Entity = {
            "@id": names.attempt(row),
            "@type": "CreateAction",
            "name": f"{step.name} of job {row['job']}: {row['fate']}",
            "identifier": row["attempt"],
            "instrument": ref(names.tool(row["step"])),
            "agent": ref(names.site(site)),
            "location": ref(names.host(row)),
            "description": _words(facts.dataset, row),
            "actionStatus": ref(f"{STATUS}{_status(row)}"),
            "resourceUsage": ref(*(f"{names.attempt(row)}/{one}" for one in USED)),
        }
        if started:
            action |= {"startTime": started, "endTime": _after(started, row["wall_ms"])}
        read = [*taken, *row.get("foreign", ())]
        if read:
            action["object"] = ref(*dict.fromkeys(file_id(one["sha256"]) for one in read))
        if row["outputs"]:
            action["result"] = ref(*(file_id(one["sha256"]) for one in row["outputs"]))
        if row["fate"] != Fate.SUCCESS:
            action["error"] = row["evidence"] or row["fate"]
        if step.container:
            action["containerImage"] = ref(names.container(step.container))
        if step.environment:
            variables = (names.variable(row["step"], name) for name, _ in step.environment)
            action["environment"] = ref(*variables)
        yield action
        yield from _used(row)
    yield from hosts.values()
    yield from sites.values()


def consumed(dataset: Dataset, row: Row, made_by: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files that an attempt took in, with the place of the input each was for.

    Of a parent whose attempt is not among those at hand nothing is known here.
    """
    parents = graph.parents(dataset, row["step"], row["job"])
    outcomes = dict(zip(parents, row["consumed"], strict=False))
    found = []
    for place, one in enumerate(dataset.steps[row["step"]].inputs):
        for (step, _), outcome in outcomes.items():
            outputs = made_by.get(outcome, ()) if step == one.step else ()
            if one.output < len(outputs):
                found.append({**outputs[one.output], "input": place})
    return found


def around(facts: Facts) -> Iterator[Entity]:
    """Yield the actions of the steps, of the run, and of Pulk, which organised it."""
    controls = []
    for step in facts.began:
        shown = [names.attempt(row) for row in facts.rows_of(step)]
        if facts.attempts_at(step) > len(shown):
            shown.append(names.rest(step))
            yield _rest(facts, step, len(shown) - 1)
        controls.append(names.control(step))
        yield {
            "@id": names.control(step),
            "@type": "ControlAction",
            "name": f"step {facts.dataset.steps[step].name}",
            "instrument": ref(names.step(step)),
            "object": ref(*shown),
        }
    agent = ref(names.owner(facts.about))
    times = _times(facts)
    yield {
        "@id": names.RUN,
        "@type": "CreateAction",
        "name": f"the run of {facts.about['name']}",
        "instrument": ref(DOCUMENT),
        "agent": agent,
        "object": ref(*names.values(facts.dataset), CANONICAL),
        "actionStatus": ref(f"{STATUS}{_of_all(facts)}"),
        **({"result": ref(*results(facts))} if results(facts) else {}),
        **times,
    }
    yield {
        "@id": names.ORGANIZE,
        "@type": "OrganizeAction",
        "name": f"Pulk {facts.version}",
        "agent": agent,
        "instrument": ref(names.ENGINE),
        "object": ref(*controls),
        "result": ref(names.RUN),
        **times,
    }


def results(facts: Facts) -> list[str]:
    """Return the files that count and that no other step was to consume, or that are kept."""
    steps = facts.dataset.steps
    inner = {(one.step, one.output) for step in steps for one in step.inputs}
    found = [
        file_id(one["sha256"])
        for row in facts.rows
        if row["canonical"]
        for place, one in enumerate(row["outputs"])
        if (row["step"], place) not in inner or steps[row["step"]].outputs[place].keep
    ]
    return list(dict.fromkeys(found))


def _rest(facts: Facts, step: int, shown: int) -> Entity:
    used = facts.counted[step]
    left = facts.attempts_at(step) - shown
    words = f"{left} more attempts at this step, of {facts.attempts_at(step)}; all together used "
    words += f"{used['wall_ms']} ms of wall time and {used['cpu_ms']} ms of cpu time"
    return {
        "@id": names.rest(step),
        "@type": "CreateAction",
        "name": f"{facts.dataset.steps[step].name}: {left} attempts, summed up",
        "description": words,
        "instrument": ref(names.tool(step)),
        "agent": ref(names.owner(facts.about)),
    }


def _used(row: Row) -> Iterator[Entity]:
    for name, unit in USED.items():
        yield {
            "@id": f"{names.attempt(row)}/{name}",
            "@type": "PropertyValue",
            "name": name,
            "propertyID": name,
            "unitText": unit,
            "value": str(row[name]),
        }


def _words(dataset: Dataset, row: Row) -> str:
    """Return what ran, as typed: the command with everything filled in."""
    run = dataset.steps[row["step"]].run
    if isinstance(run, Command):
        filled = (macros.expand(text, dataset, row["step"], row["job"]) for text in run.argv)
        said = shlex.join(filled)
    else:
        said = f"a synthetic payload of {run.cpu_ms} ms cpu and {run.memory_mib} MiB"
    return f"{said}\nsoftware: {row['software']}" if row["software"] else said


def _status(row: Row) -> str:
    return "CompletedActionStatus" if row["fate"] == Fate.SUCCESS else "FailedActionStatus"


def _of_all(facts: Facts) -> str:
    counts = [one["counts"] for one in facts.counted]
    is_stopped = bool(facts.about.get("control"))
    if is_stopped or any(one.get(word.value) for one in counts for word in OPEN):
        return "ActiveActionStatus"
    is_done = all(set(one) <= {Verdict.DONE.value} for one in counts)
    return "CompletedActionStatus" if is_done else "FailedActionStatus"


def _times(facts: Facts) -> dict[str, str]:
    started = [row["started"] for row in facts.rows if row["started"]]
    if not started:
        return {}
    ended = max(_after(row["started"], row["wall_ms"]) for row in facts.rows if row["started"])
    return {"startTime": min(started), "endTime": ended}


def _after(started: str, wall_ms: int) -> str:
    at = datetime.fromisoformat(started) + timedelta(milliseconds=wall_ms)
    return at.isoformat(timespec="milliseconds")
