"""What of a step decides how it is run and tried again, and never what it computes.

So it may be replaced while the step's tasks are leased: their spec hash stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from bundle.dataset.spec import Dataset, Step


def settings(step: Step) -> dict[str, Any]:
    """Return request, retry rules, requirements and abilities of a step, by field."""
    return {
        "request": step.request,
        "failures_max": step.failures_max,
        "requires": step.requires,
        "retry": step.retry,
        "checkpoint": step.checkpoint,
        "elastic": step.elastic,
    }


def taken(
    leased: Dataset,
    newest: Dataset,
    hashes: Iterable[tuple[int, bytes]],
    spec_hash: Callable[[int], bytes],
) -> tuple[Dataset, frozenset[int]]:
    """Return a leased document with the settings of a newer one, and the steps that they change.

    Args:
        leased: the document that was leased from.
        newest: the one in force.
        hashes: the leased steps, each with the spec hash that its lease gives.
        spec_hash: of a step of `newest`; a step whose hash is another one keeps its settings.
    """
    steps, changed = list(leased.steps), set()
    for number, known in hashes:
        if number >= len(newest.steps) or number >= len(steps):
            continue
        wanted = settings(newest.steps[number])
        if wanted != settings(steps[number]) and spec_hash(number) == known:
            steps[number] = replace(steps[number], **wanted)
            changed.add(number)
    if not changed:
        return leased, frozenset()
    return replace(leased, steps=tuple(steps)), frozenset(changed)
