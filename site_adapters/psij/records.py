"""What is remembered of a submission, and what its batch jobs say of themselves. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Submission:
    """Batch jobs by one name. `native`: the scheduler's id of each, as far as it is known.

    `ended`: the word with which a batch job is over. `missing_us`: since when it is not listed.
    """

    name: str
    jobs: int
    submitted_us: int
    host: str = ""
    submitter: tuple[int, int] = (0, 0)
    native: dict[int, str] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    missing_us: dict[int, int] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether every batch job has ended."""
        return len(self.ended) >= self.jobs


@dataclass(frozen=True, slots=True)
class Marks:
    """What a batch job wrote where it ran. `began_us` 0 and `status` None: nothing (yet).

    `claimed`: it has begun, or it never will.
    """

    claimed: bool = False
    native: str = ""
    began_us: int = 0
    status: int | None = None


def number(native: str) -> str:
    """Return a scheduler's id without the server, which PBS names now long, now short."""
    return native.partition(".")[0]


def batch_id(name: str, job: int) -> str:
    """Return the batch id of a pilot: `psij:NAME:JOB`."""
    return f"psij:{name}:{job}"


def parse_batch_id(text: str) -> tuple[str, int] | None:
    """Return name and job of a batch id; None where it is none of ours."""
    kind, *rest = text.split(":")
    if kind != "psij" or len(rest) != 2 or not (rest[1].isascii() and rest[1].isdecimal()):
        return None
    return rest[0], int(rest[1])
