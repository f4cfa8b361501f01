"""Controls of one dataset, joined: generation, cancelled, suspended, removed, for any task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bundle.ids import JOB_MAX, Epoch
from bundle.intervals import IntervalSet
from central.core import state_byte
from central.core.dag import Dag
from central.core.facts import Control, ControlWord, Place
from central.core.state_byte import Jobs

_ONE = IntervalSet(((0, 1),))
_PAIRS = {
    ControlWord.SUSPEND: (ControlWord.SUSPEND, ControlWord.RESUME),
    ControlWord.CANCEL: (ControlWord.CANCEL, ControlWord.UNCANCEL),
}

__all__ = ["NOTHING", "ControlWord", "Controls", "Standing", "make_control", "make_reset"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What controls say of a task.

    `generation` counts the resets that cover it; results from generation `since` on count, which is
    the same unless older ones were adopted.
    """

    generation: int = 0
    since: int = 0
    suspended: bool = False
    cancelled: bool = False
    removed: bool = False

    def word(self) -> str:
        """Return the controls in force as words, for the state hash."""
        names = ("suspended", "cancelled", "removed")
        words = [name for name in names if getattr(self, name)]
        return " ".join([*words, *(["adopted"] if self.since < self.generation else [])])

    def takes(self, generation: int) -> bool:
        """Return whether results of a generation count."""
        return self.since <= generation <= self.generation

    def flags(self) -> int:
        """Return what is in force as the flags that go with a state byte."""
        return (
            self.suspended * state_byte.SUSPENDED_FLAG
            | self.cancelled * state_byte.CANCELLED_FLAG
            | self.removed * state_byte.REMOVED_FLAG
        )


@dataclass(frozen=True, slots=True)
class Standings:
    """What controls say of many tasks of a step: one number of each per task."""

    generation: Jobs
    since: Jobs
    flags: state_byte.Bytes


NOTHING = Standing()


class Controls:
    """All controls of a dataset; the newest (epoch, commit) of a pair is in force."""

    def __init__(self, controls: Iterable[Control] = (), tasks: Sequence[int] = ()) -> None:
        """Join controls, in any order, repeats allowed.

        Args:
            controls: all of a dataset.
            tasks: how many tasks each of its steps has now; what was begun of others is removed.
                Empty: no bound.
        """
        self._tasks = tuple(tasks)
        unique = {(one.epoch, one.commit, one.word, one.regions): one for one in controls}
        self.all: tuple[Control, ...] = tuple(
            sorted(unique.values(), key=lambda one: (one.epoch, one.commit, one.word))
        )
        self.is_partial = any(one.regions is not None for one in self.all)
        self.cancels = any(one.word is ControlWord.CANCEL for one in self.all)
        self.resets = any(one.word is ControlWord.RESET for one in self.all)
        self._whole = _standing([one for one in self.all if one.regions is None])
        self._spans: dict[tuple[int, int], tuple[Jobs, Jobs]] = {}

    @property
    def document(self) -> bytes:
        """The digest of the document that the newest edit put in force; empty where none did."""
        edits = [one.document for one in self.all if one.word is ControlWord.EDIT]
        return edits[-1] if edits else b""

    def standings(self, step: int, jobs: Jobs) -> Standings:
        """Return what is in force for many jobs of a step, ascending."""
        count, whole = len(jobs), self._whole
        if not self.is_partial:
            found = Standings(
                np.full(count, whole.generation, np.int64),
                np.full(count, whole.since, np.int64),
                np.full(count, whole.flags(), np.uint8),
            )
            return self._bounded(found, step, jobs)
        generation, since = np.zeros(count, np.int64), np.zeros(count, np.int64)
        flags = np.zeros(count, np.uint8)
        for place, control in enumerate(self.all):
            covered = self._covered(place, step, jobs)
            match control.word:
                case ControlWord.RESET:
                    generation[covered] += 1
                    since[covered] = generation[covered]
                case ControlWord.ADOPT:
                    since[covered] = 0
                case ControlWord.SUSPEND:
                    flags[covered] |= state_byte.SUSPENDED_FLAG
                case ControlWord.RESUME:
                    flags[covered] &= 255 - state_byte.SUSPENDED_FLAG
                case ControlWord.CANCEL:
                    flags[covered] |= state_byte.CANCELLED_FLAG
                case ControlWord.UNCANCEL:
                    flags[covered] &= 255 - state_byte.CANCELLED_FLAG
                case ControlWord.TOMBSTONE:
                    flags[covered] |= state_byte.REMOVED_FLAG
        return self._bounded(Standings(generation, since, flags), step, jobs)

    def past(self, step: int) -> int:
        """Return the number behind a step's last task."""
        return self._tasks[step] if step < len(self._tasks) else JOB_MAX + 1

    def _bounded(self, found: Standings, step: int, jobs: Jobs) -> Standings:
        """Have tasks removed that the dataset has no more: it was truncated."""
        past = self.past(step)
        if len(jobs) and jobs[-1] >= past:
            found.flags[np.searchsorted(jobs, past) :] |= state_byte.REMOVED_FLAG
        return found

    def _covered(self, place: int, step: int, jobs: Jobs) -> slice | state_byte.Mask:
        """Return which jobs of a step a control is about."""
        regions = self.all[place].regions
        if regions is None:
            return slice(None)
        known = self._spans.get((place, step))
        if known is None:
            spans = [span for of, one in regions if of == step for span in one.spans]
            bounds = np.array(sorted(spans), np.int64).reshape(-1, 2)
            known = self._spans[place, step] = (bounds[:, 0].copy(), bounds[:, 1].copy())
        first, past = known
        if not len(first):
            return np.zeros(len(jobs), np.bool_)
        if len(first) == 1:
            low, high = np.searchsorted(jobs, (first[0], past[0]))
            return slice(int(low), int(high))
        at = np.searchsorted(first, jobs, side="right") - 1
        inside: state_byte.Mask = (at >= 0) & (jobs < past[np.maximum(at, 0)])
        return inside

    def standing(self, place: Place) -> Standing:
        """Return what is in force for a task."""
        found = self._whole
        if self.is_partial:
            found = _standing([one for one in self.all if one.covers(place)])
        return replace(found, removed=True) if place[1] >= self.past(place[0]) else found

    def implied(self, place: Place) -> Standing:
        """Return what is in force for a task as long as no control names it."""
        gone = place[1] >= self.past(place[0])
        return replace(self._whole, removed=True) if gone else self._whole

    @property
    def whole(self) -> Standing:
        """What is in force for tasks that no control names."""
        return self._whole


def make_control(
    dag: Dag,
    word: ControlWord,
    steps: Iterable[int] | None,
    jobs: IntervalSet | None,
    epoch: Epoch,
    commit: int,
) -> Control:
    """Return a control with its region spelled out; a reset cascades to all descendants.

    A step per dataset is meant where `steps` names it, or where neither is given.
    """
    if word is ControlWord.TOMBSTONE or (steps is None and jobs is None):
        return Control(word, None, epoch, commit)
    cascades = word is ControlWord.RESET
    return Control(word, make_region(dag, steps, jobs, cascades=cascades), epoch, commit)


def make_region(
    dag: Dag, steps: Iterable[int] | None, jobs: IntervalSet | None, *, cascades: bool = True
) -> tuple[tuple[int, IntervalSet], ...]:
    """Return jobs by step, spelled out; `cascades`: with all descendants.

    A step over several jobs is meant where `steps` names it: those tasks that are about the jobs.
    """
    everything = IntervalSet(((0, dag.dataset.jobs),))
    wanted = everything if jobs is None else jobs & everything
    region: dict[int, IntervalSet] = {}
    for step in range(len(dag.whole)) if steps is None else sorted(set(steps)):
        if not dag.whole[step] or steps is not None:
            region[step] = dag.covering(step, wanted) if wanted.spans else _of_none(dag, step)
    return spelled(dag, region, cascades=cascades)


def spelled(
    dag: Dag, region: dict[int, IntervalSet], *, cascades: bool
) -> tuple[tuple[int, IntervalSet], ...]:
    """Return jobs by step in the form that a control has; `cascades`: with all descendants."""
    if cascades:
        _cascade(dag, region)
    return tuple((step, region[step]) for step in sorted(region) if region[step].spans)


def make_reset(dag: Dag, places: Iterable[Place], epoch: Epoch, commit: int) -> Control:
    """Return the reset of single tasks and all their descendants."""
    jobs: dict[int, list[int]] = {}
    for step, job in places:
        jobs.setdefault(step, []).append(job)
    region = {step: IntervalSet.of(numbers) for step, numbers in jobs.items()}
    _cascade(dag, region)
    regions = tuple((step, region[step]) for step in sorted(region))
    return Control(ControlWord.RESET, regions, epoch, commit)


def _standing(covering: list[Control]) -> Standing:
    if not covering:
        return NOTHING
    words = [one.word for one in covering]  # ascending by (epoch, commit)
    generation = since = 0
    for word in words:
        if word is ControlWord.RESET:
            generation += 1
            since = generation
        elif word is ControlWord.ADOPT:
            since = 0
    return Standing(
        generation=generation,
        since=since,
        suspended=_last(words, ControlWord.SUSPEND),
        cancelled=_last(words, ControlWord.CANCEL),
        removed=ControlWord.TOMBSTONE in words,
    )


def _last(words: list[ControlWord], which: ControlWord) -> bool:
    pair = [word for word in words if word in _PAIRS[which]]
    return bool(pair) and pair[-1] is which


def _of_none(dag: Dag, step: int) -> IntervalSet:
    """Return what is meant where none of the jobs named exists: a step per dataset all the same."""
    return _ONE if dag.single[step] else IntervalSet()


def _cascade(dag: Dag, region: dict[int, IntervalSet]) -> None:
    for step in dag.order:
        if step not in region or not region[step].spans:
            continue
        for child in dag.children[step]:
            reached = dag.reached(step, region[step], child)
            region[child] = region.get(child, IntervalSet()) | reached
