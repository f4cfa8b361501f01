"""Trouble on the way to central, remembered across ticks: when it is worth trying again. Pure.

After the first failure the next tick tries again; after that the wait doubles each time, spread so
that sites which failed together do not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass

ASKED_S_MAX = 3600.0  # the longest wait that an answer may ask for


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong last. Times are UTC microseconds by this clock.

    `failures` in a row since `since_us`; nothing is tried before `until_us`.
    """

    code: str
    text: str
    failures: int
    since_us: int
    at_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Pace:
    """The wait after the second failure in a row, and the longest."""

    base_s: float
    most_s: float


def after_failure(
    old: Trouble | None,
    now_us: int,
    chance: float,
    pace: Pace,
    code: str,
    text: str,
    *,
    asked_s: float = 0.0,
    at_once: bool = False,
) -> Trouble:
    """Return what to remember of a failure.

    Args:
        old: the trouble before it, if the last try failed too.
        now_us: this clock.
        chance: uniform in [0, 1).
        pace: how long to wait.
        code, text: what went wrong.
        asked_s: how long central asked to wait.
        at_once: looking again costs nobody anything, so the next tick does.
    """
    failures = (old.failures if old else 0) + 1
    wait_s = 0.0
    if failures > 1:
        wait_s = min(pace.most_s, pace.base_s * 2.0 ** min(failures - 2, 32)) * (0.5 + chance)
    wait_s = max(wait_s, min(asked_s, ASKED_S_MAX) * (1 + chance / 2))
    if at_once:
        wait_s = 0.0
    since_us = old.since_us if old else now_us
    return Trouble(code, text, failures, since_us, now_us, now_us + int(wait_s * 1e6))


def waits_s(trouble: Trouble | None, now_us: int) -> float:
    """Return for how many seconds nothing is to be tried; 0 also where the clock was set back."""
    if trouble is None or not trouble.at_us <= now_us < trouble.until_us:
        return 0.0
    return (trouble.until_us - now_us) / 1e6
