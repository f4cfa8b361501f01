"""What a slot is asked to do for one attempt, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bundle.dataset import graph, macros
from bundle.dataset.seeds import seed
from bundle.dataset.spec import Command, Dataset, Request, Step, Synthetic
from bundle.ids import AttemptKey
from bundle.records.foreign import ForeignPins, read_by
from pilot.core import container
from pilot.core.ahead import Staging
from pilot.core.asides import declared
from pilot.core.container import Containers
from pilot.core.holding import Holding
from pilot.core.lineage import Outcome, Place
from pilot.core.provenance import environment_word
from pilot.core.room import Room, wanted

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Site:
    """What a site gives every task: the search path of commands, and variables of its own."""

    task_path: str = "/usr/local/bin:/usr/bin:/bin"
    environment: tuple[tuple[str, str], ...] = ()
    software: tuple[str, ...] = ()  # words of provenance, see pilot.core.provenance
    holding: Holding = field(default_factory=Holding)
    containers: Containers = field(default_factory=Containers)
    staging: Staging = field(default_factory=Staging)
    name: str = ""  # known where the relay is listened for
    has_radio: bool = False  # whether to listen for the site's relay

    def variables(self) -> dict[str, str]:
        """Return the environment that every task starts from."""
        return {"PATH": self.task_path, "LANG": "C.UTF-8"} | dict(self.environment)

    def words(self) -> tuple[str, ...]:
        """Return the words of provenance that hold for every attempt of this pilot."""
        return (environment_word(self.variables()), *self.software)


def request(
    dataset: Dataset,
    place: Place,
    ask: Request,
    attempt: AttemptKey,
    outcomes: Mapping[Place, Outcome],
    variables: Mapping[str, str],
    node: Room,
    granted: Mapping[str, str] = NOTHING,
    containers: Containers = Containers(),  # noqa: B008  frozen
    foreign: tuple[ForeignPins, ...] = (),
) -> dict[str, Any]:
    """Return the request for one attempt.

    `ask` is what this try asks for. Macros are expanded, files are named by digest. `variables` is
    `Site.variables()`; `granted` is `granted.told()`, and no step may say otherwise; `foreign` is
    the lease's. Raises DatasetRefused where a macro does not resolve.
    """
    index, job = place
    step = dataset.steps[index]
    message: dict[str, Any] = {
        "local": attempt.local,
        "walltime_ms": ask.walltime_ms,
        "memory_mib": min(ask.memory_mib, node.memory_mib),
        "disk_bytes": ask.disk_bytes,
        "env": _environment(dataset, step, place, attempt, variables, granted),
        "outputs": [one.name for one in step.outputs],
    }
    match step.run:
        case Command(argv):
            message["argv"] = [macros.expand(text, dataset, index, job) for text in argv]
        case Synthetic(cpu_ms, wall_ms, memory_mib, output_bytes):
            message["synthetic"] = [cpu_ms, wall_ms, memory_mib, list(output_bytes)]
    asides = declared(step, wanted(ask, node))
    if asides:
        message.update(asides)
    if step.container:
        message["container"] = container.wanted(containers, step.container)
    if step.requires.network:
        message["network"] = step.requires.network
    if step.inputs or step.foreign:
        message["inputs"] = inputs(dataset, place, outcomes, foreign)
    if step.generated:
        message["generated"] = [[one.name, one.size_bytes, one.seed] for one in step.generated]
    if step.files:
        contents = dict(dataset.files)
        message["files"] = [[name, contents[name]] for name in step.files]
    return message


def inputs_bytes(
    dataset: Dataset,
    place: Place,
    outcomes: Mapping[Place, Outcome],
    foreign: tuple[ForeignPins, ...] = (),
) -> int:
    """Return the size of all files that a task whose parents succeeded reads from the spool."""
    step = dataset.steps[place[0]]
    if not (step.inputs or step.generated or step.foreign):
        return 0
    size = sum(one.size_bytes for one in step.generated)
    return size + sum(row[2] for row in inputs(dataset, place, outcomes, foreign))


def _environment(
    dataset: Dataset,
    step: Step,
    place: Place,
    attempt: AttemptKey,
    variables: Mapping[str, str],
    granted: Mapping[str, str],
) -> dict[str, str]:
    index, job = place
    environment = {
        **variables,
        "PULK_TASK": str(attempt.task),
        "PULK_DATASET": attempt.task.dataset,
        "PULK_JOB": str(job),
        "PULK_STEP": str(index),
        "PULK_ATTEMPT": str(attempt),
        "PULK_SEED": str(seed(dataset.seed, job, index)),
    }
    own = {name: macros.expand(text, dataset, index, job) for name, text in step.environment}
    environment.update(own)
    if step.container:
        environment = container.passed(environment, own)
    environment.update(granted)
    return environment


def inputs(
    dataset: Dataset,
    place: Place,
    outcomes: Mapping[Place, Outcome],
    foreign: tuple[ForeignPins, ...] = (),
) -> list[tuple[str, bytes, int]]:
    """Return (name in the task's directory, file digest, size) for every input."""
    rows: list[tuple[str, bytes, int]] = []
    index, job = place
    for one in dataset.steps[index].inputs:
        needed = graph.needed(dataset, index, job, one.step)
        if graph.is_fan_in(dataset, index, one.step):
            sources = [(every, f"{every}/{one.name}") for every in needed]
        else:
            sources = [(needed[0], one.name)]
        for source, name in sources:
            digest, size = outcomes[one.step, source].outputs[one.output]
            rows.append((name, digest, size))
    for need, pins, task in read_by(dataset.steps[index], job, foreign):
        rows += ((need.named(name, task.task), *pins.file(task, of)) for of, name in need.inputs)
    return rows
