"""The facts that central knows of a dataset, and the row that stands for one touched task.

Facts only ever join a set; a row is a function of them and can be made again at any time. Places
are (step, job) pairs as `bundle.dataset.graph` gives them; times are UTC microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bundle import canonical
from bundle.digest import digest
from bundle.fates import FATES, Fate
from bundle.ids import AttemptKey, DatasetId, Epoch, LeaseId, PilotRun, Task
from bundle.intervals import IntervalSet
from bundle.records.attempt import Attempt, lineage_digest, outcome_digest
from bundle.records.rules import TIME_US_MAX, USED_MAX

Place = tuple[int, int]

# One attempt counts for at most this much in each sum, so that no site's word, however wild, takes
# the sums of a step out of 63 bits: 557 years, 17 TB.
USAGE_MAX = USED_MAX


class Verdict(StrEnum):
    """Where a task stands."""

    HELD = "held"
    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REMOVED = "removed"


class AttemptFact(NamedTuple):
    """One attempt, as far as verdicts and hours rest on it; the rest lies in its segment.

    `outcome` is empty unless the fate is success. `content` tells two attempts apart that claim
    one key.
    """

    step: int
    job: int
    generation: int
    lease: bytes
    pilot_run: bytes
    local: int
    fate: Fate
    spec_hash: bytes
    lineage: bytes
    outcome: bytes
    content: bytes
    wall_ms: int
    cpu_ms: int
    memory_peak_mib: int
    disk_peak_bytes: int
    read_bytes: int
    written_bytes: int
    ended_us: int = 0  # by the node's clock; tells when to try again, and nothing else

    @property
    def place(self) -> Place:
        """The task inside its dataset."""
        return self.step, self.job

    @property
    def key(self) -> tuple[int, bytes, bytes, int]:
        """The attempt key but for its task: generation, lease, pilot_run, local."""
        return self.generation, self.lease, self.pilot_run, self.local

    def name(self, dataset: DatasetId) -> str:
        """Return the text form of the whole attempt key."""
        task = Task(dataset, self.job, self.step)
        lease, run = LeaseId(self.lease), PilotRun(self.pilot_run)
        return str(AttemptKey(task, self.generation, lease, run, self.local))


@dataclass(frozen=True, slots=True)
class Pin:
    """Central's word, in commit (epoch, commit), on which success of a task is built upon."""

    step: int
    job: int
    generation: int
    attempt: str  # text form of the attempt key
    outcome: bytes
    epoch: Epoch
    commit: int


class ControlWord(StrEnum):
    """What a person may ask of tasks; a tombstone of a whole dataset."""

    SUSPEND = "suspend"
    RESUME = "resume"
    CANCEL = "cancel"
    UNCANCEL = "uncancel"
    RESET = "reset"
    ADOPT = "adopt"  # results of older generations count again
    EDIT = "edit"  # another document: same jobs, steps and needs
    TOMBSTONE = "tombstone"


@dataclass(frozen=True, slots=True)
class Control:
    """One control in commit (epoch, commit). `regions`: (step, jobs); None is the whole dataset.

    `document` is the digest of the document that an edit puts in force.
    """

    word: ControlWord
    regions: tuple[tuple[int, IntervalSet], ...] | None
    epoch: Epoch
    commit: int
    document: bytes = b""

    def covers(self, place: Place) -> bool:
        """Return whether the control is about a task."""
        if self.regions is None:
            return True
        step, job = place
        return any(one == step and job in jobs for one, jobs in self.regions)


class TaskRow(NamedTuple):
    """What is known of a touched task. `lease` is 1 where a live lease covers it."""

    step: int
    job: int
    generation: int
    verdict: Verdict
    outcome: bytes  # of the canonical success; empty where there is none
    failures: int  # counted, of this generation
    lease: int

    @property
    def place(self) -> Place:
        """The task inside its dataset."""
        return self.step, self.job


def attempt_fact(
    attempt: Attempt, lease: LeaseId, pilot_run: PilotRun, spec_hash: bytes
) -> AttemptFact:
    """Return the fact of an attempt of a segment."""
    a, used = attempt, attempt.usage
    fate = a.fate
    flat = (
        lease, pilot_run,
        a.job, a.step, a.generation, a.local, FATES.index(fate), a.exit_code, a.signal,
        a.started_us, a.started_mono_us, a.ended_mono_us, a.slot,
        used.wall_ms, used.cpu_ms, used.memory_peak_mib, used.disk_peak_bytes,
        used.read_bytes, used.written_bytes,
        b"".join(a.consumed), b"".join(file for file, _ in a.outputs),
        a.software, a.evidence, *(size for _, size in a.outputs),
    )  # fmt: skip
    return AttemptFact(
        a.step,
        a.job,
        a.generation,
        lease,
        pilot_run,
        a.local,
        fate,
        spec_hash,
        lineage_digest(a.consumed),
        outcome_digest(a.outputs) if fate is Fate.SUCCESS else b"",
        digest("attempt", canonical.encode(flat)),
        min(used.wall_ms, USAGE_MAX),
        min(used.cpu_ms, USAGE_MAX),
        min(used.memory_peak_mib, USAGE_MAX),
        min(used.disk_peak_bytes, USAGE_MAX),
        min(used.read_bytes, USAGE_MAX),
        min(used.written_bytes, USAGE_MAX),
        min(a.started_us + max(a.ended_mono_us - a.started_mono_us, 0), TIME_US_MAX),
    )
