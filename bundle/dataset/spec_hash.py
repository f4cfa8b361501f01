"""The spec hash: what determines a step's output, and nothing else.

Requests, retry budgets and descriptions may be edited without making any result stale. What the
parents computed is not in it either: that is the attempt's lineage.
"""

from __future__ import annotations

import hashlib
from typing import Any

from bundle import canonical
from bundle.dataset import foreign, macros
from bundle.dataset.spec import Command, Dataset, Per, Step, Synthetic
from bundle.digest import digest


def spec_hash(dataset: Dataset, step: int) -> bytes:
    """Return the 32 bytes that change exactly when the step's output could."""
    return digest("spec", canonical.encode(_determinants(dataset, step)))


def _determinants(dataset: Dataset, index: int) -> dict[str, Any]:
    step = dataset.steps[index]
    # What is the default is not in it: a step without a container keeps its hash.
    contained = {"container": step.container} if step.container else {}
    blocks = {"block_jobs": step.block_jobs} if step.per is Per.BLOCK else {}
    numbered = {} if step.iteration is None else {"iteration": step.iteration}
    listed = {"lists": {n: list(of) for n, of in dataset.lists}} if dataset.lists else {}
    return (
        contained
        | blocks
        | numbered
        | listed
        | foreign.to_wire(step.foreign)  # what is consumed; what it holds stands in the lease
        | {
            "step": index,  # seeds and $(step) depend on it
            "per": str(step.per),
            "run": _run(step),
            "environment": dict(step.environment),
            "inputs": [_input(dataset, one.step, one.output, one.name) for one in step.inputs],
            "generated": [[one.name, one.size_bytes, one.seed] for one in step.generated],
            "files": _files(dataset, step),
            "outputs": [one.name for one in step.outputs],
            "seed": dataset.seed,
            "parameters": dict(dataset.parameters),
            "jobs": dataset.jobs if _depends_on_jobs(dataset, step) else None,
        }
    )


def _run(step: Step) -> list[Any]:
    match step.run:
        case Command(argv):
            return ["command", *argv]
        case Synthetic(cpu_ms, wall_ms, memory_mib, output_bytes):
            return ["synthetic", cpu_ms, wall_ms, memory_mib, *output_bytes]


def _input(dataset: Dataset, parent: int, output: int, name: str) -> list[Any]:
    source = dataset.steps[parent]
    return [source.name, str(source.per), source.outputs[output].name, name]


def _files(dataset: Dataset, step: Step) -> list[list[Any]]:
    if not step.files:
        return []
    contents = dict(dataset.files)
    return [[name, hashlib.sha256(contents[name]).digest()] for name in step.files]


def _depends_on_jobs(dataset: Dataset, step: Step) -> bool:
    """What needs every job; any other step where it mentions their number.

    Which jobs a block gathers is told by its lineage: it has an outcome for each of them.
    """
    if step.per is Per.DATASET and any(
        dataset.steps[one].per is not Per.DATASET for one in step.needs
    ):
        return True
    return any("jobs" in macros.names_in(text, dataset) for _, text in macros.texts(step))
