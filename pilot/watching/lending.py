"""Whose task is stopped for memory: borrowing among the slots of a node. Pure.

A task may use more than it asked for as long as other running tasks leave that much of theirs
unused, and the node has memory free. The worst offender, relative to its request, goes first, so
that the kernel never has to choose.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

MIB = 1 << 20
SLACK_BYTES = 64 * MIB  # or a tenth of the request: what an interpreter or loader needs
RESERVE_BYTES_MIN = 128 * MIB
RESERVE_BYTES_MAX = 4096 * MIB
RESERVE_SHARE = 32  # of the node's memory is kept free
STALLED_PERCENT = 20.0  # of the time everything waited for memory


@dataclass(frozen=True, slots=True)
class Use:
    """What one running task uses now, has used at most, and asked for, in bytes."""

    local: int
    used: int
    peak: int
    asked: int

    @property
    def over(self) -> int:
        """Bytes beyond the request and its slack."""
        return max(0, self.used - allowed(self.asked))

    @property
    def ratio(self) -> float:
        """How many times its request it uses."""
        return self.used / max(1, self.asked)


@dataclass(frozen=True, slots=True)
class Free:
    """What a node has left: bytes, and the percentage of time in which all waited for memory."""

    available: int
    stalled_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A task to be stopped. `at_fault`: it used more than it asked for."""

    local: int
    evidence: str
    at_fault: bool = True


def allowed(asked: int) -> int:
    """Return what a task may use without borrowing."""
    return asked + max(SLACK_BYTES, asked // 10)


def reserve(node_bytes: int) -> int:
    """Return how much memory a node should have free."""
    share = min(RESERVE_BYTES_MAX, max(RESERVE_BYTES_MIN, node_bytes // RESERVE_SHARE))
    return min(share, node_bytes // 4)


def is_tight(free: Free, kept: int) -> bool:
    """Return whether the kernel may soon choose; `kept` is `reserve()`."""
    stalls = free.stalled_percent >= STALLED_PERCENT
    return free.available < (2 * kept if stalls else kept)


def beyond_what_is_lent(uses: Collection[Use]) -> list[Verdict]:
    """Return who is stopped because the others do not leave enough of theirs unused."""
    running = list(uses)
    found: list[Verdict] = []
    while True:
        lent = sum(max(0, use.asked - use.used) for use in running)
        if sum(use.over for use in running) <= lent:
            return found
        worst = _worst(running)
        running.remove(worst)
        found.append(Verdict(worst.local, _evidence(worst, f", others lend {_mib(lent)}")))


def when_tight(uses: Collection[Use], free: Free, kept: int) -> Verdict | None:
    """Return who is stopped because the node has no memory left: one beyond its request.

    Where nobody is, one goes only at half of the reserve, and it is not its fault.
    """
    if not uses or not is_tight(free, kept):
        return None
    worst = _worst(list(uses))
    left = f"the node has {_mib(free.available)} left"
    if worst.over:
        return Verdict(worst.local, _evidence(worst, f", {left}"))
    if free.available < kept // 2:
        words = f"{left}; of all tasks within their requests this one used the largest part"
        return Verdict(worst.local, f"{words}: {_evidence(worst, '')}", at_fault=False)
    return None


def _worst(uses: list[Use]) -> Use:
    """Return who uses most, relative to its request; of those over theirs if there are any."""
    return max(uses, key=lambda use: (use.over > 0, use.ratio, use.used, -use.local))


def _evidence(use: Use, more: str) -> str:
    peak = max(use.peak, use.used)
    return f"used {_mib(use.used)} (peak {_mib(peak)}{more}), requested {_mib(use.asked)}"


def _mib(size: int) -> str:
    return f"{size // MIB} MiB"
