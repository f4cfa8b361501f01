"""What a person may use: tasks that are open, hours, bytes, requests a minute; 0 is no limit."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one person. Hours are wall hours of attempts, bytes what they wrote."""

    tasks_open: int = 0
    hours: float = 0.0
    written_bytes: int = 0
    requests_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class Used:
    """What all datasets of one person have in use. `tasks_open`: those that did not end."""

    tasks_open: int = 0
    wall_ms: int = 0
    written_bytes: int = 0


def exceeded(limits: Limits, used: Used, tasks: int) -> str:
    """Return why so many tasks more may not be submitted; nothing where they may."""
    if limits.tasks_open and used.tasks_open + tasks > limits.tasks_open:
        left = max(0, limits.tasks_open - used.tasks_open)
        return f"{tasks} tasks, and {left} of {limits.tasks_open} are left"
    if limits.hours and used.wall_ms >= limits.hours * HOUR_MS:
        return f"all {limits.hours:g} hours are used up"
    if limits.written_bytes and used.written_bytes >= limits.written_bytes:
        return f"all {limits.written_bytes} bytes are written"
    return ""


@dataclass(slots=True)
class Bucket:
    """How many requests are left of a minute's worth; it fills evenly."""

    left: float
    at_s: float

    def take(self, per_minute: int, now_s: float) -> float:
        """Take one request; return 0, or after how many seconds there is one again."""
        grown = max(0.0, now_s - self.at_s) * per_minute / 60
        self.left, self.at_s = min(float(per_minute), self.left + grown), now_s
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) * 60 / per_minute
