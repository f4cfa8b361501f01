"""When somebody is to be told of a dataset: that it ended, that it fails, that nothing happens.

A condition is told once when it begins, and again only after it had ceased. Which rounds were told
is an argument and a result, so that a restart tells nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

ENDED_MIN = 5  # tasks that must have ended before their rate of failure says something
HOUR_US = 3_600_000_000
KEY_CHARS = 32


class Event(StrEnum):
    """What somebody can be told of."""

    COMPLETION = "completion"
    FAILURES = "failures"
    SILENCE = "silence"
    TEST = "test"  # only by asking for one


@dataclass(frozen=True, slots=True)
class Wish:
    """What one person wants to be told of one dataset. `failure_rate`: of the tasks that ended."""

    person: str
    on: frozenset[Event]
    failure_rate: float = 0.1
    silence_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a dataset stands. `open`: tasks that may run or run; `changed_us`: when it last moved."""

    dataset: str
    name: str
    tasks: int
    done: int
    failed: int
    open: int
    attempts: int
    is_stopped: bool
    changed_us: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that one person is told. `key`: the same whenever it is told again."""

    key: str
    person: str
    event: Event
    dataset: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """Whether a condition holds, and how often it began."""

    holds: bool = False
    rounds: int = 0


def holds(event: Event, standing: Standing, wish: Wish, now_us: int) -> bool:
    """Return whether a dataset is so now."""
    match event:
        case Event.COMPLETION:
            began = standing.attempts > 0 and standing.tasks > 0
            return began and not standing.open and not standing.is_stopped
        case Event.FAILURES:
            ended = standing.done + standing.failed
            share = standing.failed / ended if ended else 0.0
            enough = ended >= min(ENDED_MIN, standing.tasks)
            return standing.failed > 0 and enough and share >= wish.failure_rate
        case Event.SILENCE:
            quiet_us = now_us - standing.changed_us
            return bool(standing.open) and quiet_us >= wish.silence_hours * HOUR_US
        case Event.TEST:
            return False


def due(
    standing: Standing, wish: Wish, told: Mapping[Event, Told], now_us: int
) -> tuple[list[Notice], dict[Event, Told]]:
    """Return what a person is to be told now, and what was told then."""
    notices, after = [], dict(told)
    for event in sorted(wish.on):
        before = told.get(event, Told())
        is_so = holds(event, standing, wish, now_us)
        if is_so and not before.holds:
            after[event] = Told(True, before.rounds + 1)
            notices.append(notice(event, standing, wish, before.rounds + 1))
        elif before.holds != is_so:
            after[event] = Told(is_so, before.rounds)
    return notices, after


def notice(event: Event, standing: Standing, wish: Wish, number: int) -> Notice:
    """Return one notice; its key is that of event, dataset, person and how often it was told."""
    said = f"{event.value}\n{standing.dataset}\n{wish.person}\n{number}"
    key = hashlib.sha256(said.encode()).hexdigest()[:KEY_CHARS]
    text = "; ".join(_words(event, standing, wish))
    return Notice(key, wish.person, event, standing.dataset, standing.name, text)


def wait_s(tries: int, first_s: float, most_s: float = 3600.0) -> float:
    """Return how long to wait after a number of tries that failed."""
    return float(min(most_s, first_s * 2 ** min(tries, 30)))


def _words(event: Event, standing: Standing, wish: Wish) -> Iterator[str]:
    match event:
        case Event.COMPLETION:
            yield f"it ended: {standing.done} of {standing.tasks} tasks are done"
            if standing.failed:
                yield f"{standing.failed} failed"
            if left := standing.tasks - standing.done - standing.failed:
                yield f"{left} wait for them or were taken out"
        case Event.FAILURES:
            ended = standing.done + standing.failed
            yield f"{standing.failed} of {ended} tasks that ended have failed"
            yield f"that is {standing.failed / ended:.0%}, you asked from {wish.failure_rate:.0%}"
        case Event.SILENCE:
            yield f"nothing came for {wish.silence_hours:g} hours"
            yield f"{standing.open} tasks are ready or leased"
        case Event.TEST:
            yield "this is how you will be told"
