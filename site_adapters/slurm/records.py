"""What is remembered of a submission. Pure; `remembered` reads and writes it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ended:
    """How an element ended: its last start, Slurm's word, when (UTC seconds, 0 unknown)."""

    restarts: int
    word: str
    at_s: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """One array of batch jobs. `array` 0: its id is not known (yet).

    `again`: how often an element was started again. `missing_us`: since when it is neither in the
    queue nor in accounting.
    """

    name: str
    jobs: int
    nodes: int
    submitted_us: int
    host: str = ""
    submitter: tuple[int, int] = (0, 0)
    array: int = 0
    ended: dict[int, Ended] = field(default_factory=dict)
    missing_us: dict[int, int] = field(default_factory=dict)
    again: dict[int, int] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether every element has ended."""
        return len(self.ended) >= self.jobs
