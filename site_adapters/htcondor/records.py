"""What is remembered of a submission to HTCondor. Pure; `remembered` reads and writes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from site_adapters.contract import Ending


@dataclass(frozen=True, slots=True)
class Ended:
    """How a batch job ended: its last start, why, in whose words, when (UTC seconds).

    `alone_s`: until then a node that was lost may still run the pilot; 0: it can't.
    """

    start: int
    ending: Ending
    word: str
    at_s: int = 0
    alone_s: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """One cluster of batch jobs. `cluster` 0: its id is not known (yet).

    `carries`: what each pilot needs travels with it, and what it made is to be fetched. `again`:
    the first start of a batch job that may still live; all before are over. `missing_us`: since
    when it is neither in the queue nor in the history. `fetched`: of whom everything is back here.
    """

    name: str
    jobs: int
    submitted_us: int
    host: str = ""
    submitter: tuple[int, int] = (0, 0)
    cluster: int = 0
    carries: bool = False
    requeue: bool = False
    ended: dict[int, Ended] = field(default_factory=dict)
    missing_us: dict[int, int] = field(default_factory=dict)
    again: dict[int, int] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()
    fetched: frozenset[int] = frozenset()

    @property
    def is_over(self) -> bool:
        """Whether every batch job has ended."""
        return len(self.ended) >= self.jobs


def batch_id(name: str, job: int, start: int) -> str:
    """Return the batch id of one start of one pilot: `htcondor:NAME:JOB:START`."""
    return f"htcondor:{name}:{job}:{start}"


def parse_batch_id(text: str) -> tuple[str, int, int] | None:
    """Return name, job and start of a batch id; None where it is none of ours."""
    kind, *rest = text.split(":")
    if kind != "htcondor" or len(rest) != 3 or not all(one.isdecimal() for one in rest[1:]):
        return None
    return rest[0], int(rest[1]), int(rest[2])
