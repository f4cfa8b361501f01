"""Which successes of a shard, its earlier turns and the shards it needs are built upon.

A success counts only where it consumed what its parents' chosen successes made, so that a child
never mixes outputs of two different runs of one parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bundle import retry
from bundle.dataset import graph
from bundle.dataset.spec import Dataset
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.attempt import Attempt, outcome_digest
from bundle.records.lease import Lease, Pinned
from bundle.records.rules import NO_HISTORY, History
from bundle.retry import Ended

Place = tuple[int, int]
"""A task inside one dataset: (step, job), as `graph.parents` gives it."""

Outputs = tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task left behind: (file digest, size in bytes) per output, and their joint digest."""

    outputs: Outputs
    digest: bytes

    @classmethod
    def of(cls, outputs: Outputs) -> Outcome:
        """Make the outcome of a success's outputs."""
        return cls(outputs, outcome_digest(outputs)) if outputs else NOTHING


NOTHING = Outcome((), outcome_digest(()))
"""The outcome of a task that declares no outputs."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known before a shard starts: chosen outcomes, and what its tasks' retry rests on."""

    outcomes: dict[Place, Outcome]
    tried: dict[Place, History]


def settle(
    dataset: Dataset,
    lease: Lease,
    own: Iterable[tuple[PilotRun, Attempt]],
    needed: Sequence[tuple[Lease, Iterable[Attempt]]] = (),
) -> Earlier:
    """Choose the outcomes that a shard builds upon.

    Args:
        dataset: the dataset of the lease.
        lease: the shard's lease; its pins come first and its histories are where counting starts.
        own: attempts of earlier turns of this lease, in order, with the pilots that made them.
        needed: the leases of the shards it needs, each with the attempts of its seals, in order.
    """
    successes: dict[Place, list[Attempt]] = {}
    outcomes: dict[Place, Outcome] = {}
    for other, attempts in needed:
        _pin(outcomes, other.pins)
        _gather(successes, other, attempts)
    _pin(outcomes, lease.pins)
    tried = carried(lease)
    pairs = tuple(own)
    _gather(successes, lease, (attempt for _, attempt in pairs))
    for pilot_run, attempt in pairs:
        place = (attempt.step, attempt.job)
        after = retry.after(tried.get(place, NO_HISTORY), ended(attempt, pilot_run))
        if after != NO_HISTORY:
            tried[place] = after
    leased = _generations(lease)
    for place in _in_order(dataset, successes):
        if place in outcomes:
            continue
        for attempt in successes[place]:
            if _matches(dataset, place, attempt, outcomes, leased):
                outcomes[place] = Outcome.of(attempt.outputs)
                break
    return Earlier(outcomes, tried)


def carried(lease: Lease) -> dict[Place, History]:
    """Return the histories that a lease tells; of one that it only counts, payload errors."""
    found = {
        (step, job): History(((Fate.PAYLOAD_ERROR, failures),))
        for job, step, failures in lease.spent
    }
    found.update(((step, job), history) for job, step, history in lease.tried)
    return found


def ended(attempt: Attempt, pilot_run: PilotRun) -> Ended:
    """Return what retry needs of an attempt."""
    took_us = max(attempt.ended_mono_us - attempt.started_mono_us, 0)
    used = attempt.usage
    return Ended(
        attempt.fate,
        pilot_run,
        attempt.started_us + took_us,
        used.memory_peak_mib,
        used.wall_ms,
        used.disk_peak_bytes,
    )


def consumed(
    dataset: Dataset, place: Place, outcomes: Mapping[Place, Outcome]
) -> tuple[bytes, ...]:
    """Return the outcome digests of a task's parents, in the order of `graph.parents`."""
    return tuple(outcomes[parent].digest for parent in graph.parents(dataset, *place))


def _pin(outcomes: dict[Place, Outcome], pins: Iterable[Pinned]) -> None:
    for pin in pins:
        outcomes[pin.step, pin.job] = Outcome.of(pin.outputs)


def _gather(
    successes: dict[Place, list[Attempt]], lease: Lease, attempts: Iterable[Attempt]
) -> None:
    generations = _generations(lease)
    for attempt in attempts:
        place = (attempt.step, attempt.job)
        if attempt.fate is Fate.SUCCESS and generations.get(place) == attempt.generation:
            successes.setdefault(place, []).append(attempt)


def _generations(lease: Lease) -> dict[Place, int]:
    return {(task.step, task.job): generation for task, generation in lease.tasks()}


def _in_order(dataset: Dataset, places: Iterable[Place]) -> list[Place]:
    rank = {step: number for number, step in enumerate(graph.order(dataset))}
    return sorted(places, key=lambda place: (rank[place[0]], place[1]))


def _matches(
    dataset: Dataset,
    place: Place,
    attempt: Attempt,
    outcomes: Mapping[Place, Outcome],
    leased: Mapping[Place, int],
) -> bool:
    """Return whether what was consumed is what was chosen, as far as the parents can be known.

    The parents of a needed shard's tasks may lie in a shard that this one does not need; a parent
    of this lease without an outcome will run again, so what was built upon it is not kept.
    """
    parents = graph.parents(dataset, *place)
    if len(parents) != len(attempt.consumed):
        return False
    for parent, digest in zip(parents, attempt.consumed, strict=True):
        known = outcomes.get(parent)
        if parent in leased if known is None else known.digest != digest:
            return False
    return True
