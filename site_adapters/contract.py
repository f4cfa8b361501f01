"""The contract of every site adapter: what a relay may expect of Slurm, HTCondor or this machine.

A *submission* starts one or several batch jobs by one name; each batch job starts `pilots_each`
pilots, one for each of its nodes. A batch id names one start of one pilot for ever: what a
scheduler starts again (requeues) is another. What a scheduler prints is outside input: an adapter
answers UNKNOWN to what it does not understand and never asserts on it.
`tests/site_adapters/conformance.py` runs the same sentences against every adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from site_adapters.errors import SubmitFailed

__all__ = [
    "Adapter",
    "Carrying",
    "Ending",
    "Finding",
    "Limits",
    "PilotRequest",
    "PilotState",
    "PilotView",
    "SubmitFailed",
]


class PilotState(StrEnum):
    """What is known of a pilot's batch job.

    ABSENT is *confirmed* to have no process any more; not to be in a queue is UNKNOWN, and so is
    everything while a scheduler does not answer. HELD waits for a person: `PilotView.reason`.
    """

    WAITING = "waiting"
    HELD = "held"
    RUNNING = "running"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Ending(StrEnum):
    """Why an ABSENT pilot's batch job is over, as far as the scheduler tells."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIME_LIMIT = "time-limit"
    OUT_OF_MEMORY = "out-of-memory"
    PREEMPTED = "preempted"
    NODE_FAILURE = "node-failure"
    REQUEUED = "requeued"
    NEVER_BEGAN = "never-began"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PilotRequest:
    """A submission. `name` is unique for ever; `argv` may hold `{batch_id}` in any place.

    `jobs` batch jobs are asked for, each of `Adapter.pilots_each` pilots with the same `argv`.
    `parcel`: a file that travels to the node with the pilot, where no filesystem is shared.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path  # where it starts
    environment: tuple[tuple[str, str], ...] = ()
    jobs: int = 1
    parcel: Path | None = None


@dataclass(frozen=True, slots=True)
class PilotView:
    """One pilot as the adapter sees it now. `submitted_us` is UTC microseconds.

    `reason` is the scheduler's own word, or why nothing is known; `job` is the scheduler's id.
    """

    name: str
    batch_id: str
    state: PilotState
    submitted_us: int
    ending: Ending | None = None
    reason: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the scheduler says of the nodes that pilots get: the largest of them. 0: unknown.

    `gpus` is (model, count); None where nothing is said.
    """

    nodes: int = 0
    cpus: int = 0
    memory_mib: int = 0
    gpus: tuple[tuple[str, int], ...] | None = None
    walltime_s: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at for `pulk relay doctor`. `remedy` is empty where it is well."""

    name: str
    found: str
    remedy: str = ""


class Adapter(Protocol):
    """Starts, finds and stops pilots. Each call may be made by another relay process."""

    @property
    def pilots_each(self) -> int:
        """How many pilots one batch job starts."""

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        """Start the submission's pilots once; return their batch ids, which name no others ever.

        Idempotent by name: a second call, also of another process or after a crash at any point,
        returns the same batch ids and starts nothing. Raises SubmitFailed; then nothing started.
        """

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot not yet forgotten, by batch id, from one look at the site.

        A scheduler is asked once, for all. One that does not answer makes pilots UNKNOWN that
        were not known to be ABSENT; nothing is raised for it.
        """

    def clear(self, batch_id: str, mark: str) -> bool:
        """Stop what is left of a pilot and of its tasks; True once nothing of it is left.

        `mark` is text that stands in the environment of each of its tasks (PULK_ATTEMPT names the
        pilot run). Never touches a process that it cannot prove to belong to the pilot. False:
        call again later; an id that this adapter does not know gives False for ever.
        """

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Ask pilots to end in order; unknown and ended ones are passed over.

        Where batch jobs have several nodes, the pilots beside it end too.
        """

    def forget(self, batch_id: str) -> None:
        """Drop what is remembered of an ABSENT pilot; passed over while it is not ABSENT.

        What belongs to a submission is dropped with its last pilot.
        """

    def limits(self) -> Limits | None:
        """Return what the scheduler says of its nodes, None where nobody can be asked."""

    def examine(self) -> tuple[Finding, ...]:
        """Look at what may go wrong with the batch system here. Raises nothing."""


@runtime_checkable
class Carrying(Protocol):
    """What an adapter can do besides where pilots share no filesystem with the relay.

    `clear` says True only once all that a pilot left has come back.
    """

    def returned(self, batch_id: str) -> Path | None:
        """Return the folder with what came back of an ABSENT pilot.

        None: nothing (yet), or nothing that this adapter knows. The caller moves what it takes;
        the same folder is given again until the pilot is forgotten.
        """
