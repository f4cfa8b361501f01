"""Cutting a selection into shards: what one pilot claims at a time.

Several jobs share a shard; a job larger than a shard is cut along the topological order, so that a
shard needs earlier ones only; steps per dataset come last and need the shards of their parents.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bundle.intervals import IntervalSet
from bundle.records.lease import Block
from central.core.facts import Place
from central.core.plan import Selection, View


@dataclass(slots=True)
class Shard:
    """One planned shard.

    `needs` are places of earlier shards in the list; `outside` are parents that were done before,
    whose outputs must be told; `returns` are the steps whose outputs travel home.
    """

    blocks: tuple[Block, ...]
    needs: tuple[int, ...] = ()
    outside: tuple[Place, ...] = ()
    returns: tuple[int, ...] = ()

    def places(self) -> Iterator[tuple[Place, int]]:
        """Yield every task with its generation."""
        for block in self.blocks:
            for step in block.steps:
                for job in block.jobs:
                    yield (step, job), block.generation

    def steps(self) -> set[int]:
        """Return the steps that the shard has tasks of."""
        return {step for block in self.blocks for step in block.steps}


@dataclass(slots=True)
class _Cut:
    """Shards in the making. `of` tells the shard of places that were selected one by one."""

    shards: list[Shard] = field(default_factory=list)
    of: dict[Place, int] = field(default_factory=dict)
    fresh: list[tuple[IntervalSet, int]] = field(default_factory=list)  # ascending, disjoint


def cut(view: View, chosen: Selection, shard_tasks_max: int) -> list[Shard]:
    """Return the shards of a selection; each has at most `shard_tasks_max` tasks if it can."""
    made = _Cut()
    pending: list[Place] = []
    for job in sorted(chosen.jobs):
        places = chosen.jobs[job]
        if len(places) > shard_tasks_max:
            for piece in _pieces(view, places, shard_tasks_max):
                _add(view, made, piece)
            continue
        if len(pending) + len(places) > shard_tasks_max:
            _add(view, made, pending)
            pending = []
        pending += places
    _add(view, made, pending)
    _cut_fresh(view, chosen, made, shard_tasks_max)
    for at in range(0, len(chosen.whole), shard_tasks_max):
        _add(view, made, chosen.whole[at : at + shard_tasks_max])
    selected = _Selected(chosen, made)
    for shard in made.shards:
        shard.returns = tuple(sorted(_returns(view, selected, shard)))
    return made.shards


def _cut_fresh(view: View, chosen: Selection, made: _Cut, shard_tasks_max: int) -> None:
    if not chosen.fresh.spans:
        return
    generation = view.controls.whole.generation
    if len(chosen.prefix) > shard_tasks_max:
        for job in chosen.fresh:
            ordered = [(step, job) for step in chosen.prefix]
            for piece in _pieces(view, ordered, shard_tasks_max):
                _add(view, made, piece)
        return
    per_shard = max(1, shard_tasks_max // len(chosen.prefix))
    left = chosen.fresh
    while left.spans:
        jobs = left.take(per_shard)
        left = left - jobs
        made.fresh.append((jobs, len(made.shards)))
        made.shards.append(Shard((Block(generation, jobs, tuple(sorted(chosen.prefix))),)))


def _pieces(view: View, places: list[Place], shard_tasks_max: int) -> Iterator[list[Place]]:
    """Cut one job, level by level; a new level starts a new piece once half of one is full.

    So tasks that could start at once don't wait in one shard with those that need other shards.
    """
    levels = view.dag.levels
    piece: list[Place] = []
    for place in sorted(places, key=lambda one: (levels[one[0]], one[0])):
        deeper = piece and levels[piece[-1][0]] != levels[place[0]]
        if len(piece) >= shard_tasks_max or (deeper and 2 * len(piece) >= shard_tasks_max):
            yield piece
            piece = []
        piece.append(place)
    if piece:
        yield piece


def _add(view: View, made: _Cut, places: list[Place]) -> None:
    """Make a shard of places, find what it needs and what lies outside of the bundle."""
    if not places:
        return
    number = len(made.shards)
    made.of.update(dict.fromkeys(places, number))
    needs: set[int] = set()
    outside: set[Place] = set()
    for place in places:
        for parent in _all_parents(view, place):
            shard = _shard_of(made, parent)
            if shard is None:
                outside.add(parent)
            elif shard != number:
                needs.add(shard)
    blocks = _blocks(view, places)
    made.shards.append(Shard(blocks, tuple(sorted(needs)), tuple(sorted(outside))))


def _all_parents(view: View, place: Place) -> Iterator[Place]:
    yield from view.dag.parents(place)
    yield from view.dag.fan_ins(place)


def _shard_of(made: _Cut, place: Place) -> int | None:
    found = made.of.get(place)
    if found is not None:
        return found
    step, job = place
    at = bisect_right(made.fresh, job, key=lambda one: one[0].spans[0][0])
    if at:
        jobs, number = made.fresh[at - 1]
        if job in jobs and step in made.shards[number].blocks[0].steps:
            return number
    return None


def _blocks(view: View, places: Iterable[Place]) -> tuple[Block, ...]:
    """Return few blocks that hold exactly the places."""
    by_step: dict[tuple[int, int], list[int]] = {}
    for place in places:
        generation = view.controls.standing(place).generation
        by_step.setdefault((generation, place[0]), []).append(place[1])
    by_jobs: dict[tuple[int, IntervalSet], list[int]] = {}
    for (generation, step), jobs in by_step.items():
        by_jobs.setdefault((generation, IntervalSet.of(jobs)), []).append(step)
    return tuple(
        Block(generation, jobs, tuple(sorted(steps)))
        for (generation, jobs), steps in sorted(
            by_jobs.items(), key=lambda one: (one[0][0], one[0][1].spans, one[1])
        )
    )


class _Selected:
    """Whether a task is in the bundle."""

    def __init__(self, chosen: Selection, made: _Cut) -> None:
        self._fresh, self._prefix = chosen.fresh, frozenset(chosen.prefix)
        self._of: Mapping[Place, int] = made.of

    def __contains__(self, place: Place) -> bool:
        return place in self._of or (place[0] in self._prefix and place[1] in self._fresh)


def _returns(view: View, selected: _Selected, shard: Shard) -> set[int]:
    """Return the steps whose outputs travel home: final, kept, or read outside of the bundle."""
    dag = view.dag
    found: set[int] = set()
    for block in shard.blocks:
        for step in block.steps:
            if step in found:
                continue
            readers = dag.consumed_by[step]
            kept = any(one.keep for one in dag.dataset.steps[step].outputs)
            inside = (_inside(view, selected, block, step, reader) for reader in readers)
            if kept or not readers or not all(inside):
                found.add(step)
    return found


def _inside(view: View, selected: _Selected, block: Block, step: int, reader: int) -> bool:
    if view.dag.single[step]:
        return all((reader, task) in selected for task in view.dag.needing((step, 0), reader))
    reached = view.dag.reached(step, block.jobs, reader)
    return all((reader, task) in selected for task in reached)
