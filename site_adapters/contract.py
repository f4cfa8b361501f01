"""The contract of every site adapter: what a relay may expect of Slurm, HTCondor or this machine.

What a scheduler prints is outside input: an adapter answers UNKNOWN to what it does not
understand and never asserts on it. `tests/site_adapters/test_adapter_contract.py` runs the same
sentences against every adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bundle.errors import PulkError


class PilotState(StrEnum):
    """What is known of a pilot's batch job.

    ABSENT is *confirmed* to have no process any more; not to be in a queue is UNKNOWN.
    """

    WAITING = "waiting"
    RUNNING = "running"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PilotRequest:
    """A pilot to start. `name` is unique for ever; `argv` may hold `{batch_id}` in any place."""

    name: str
    argv: tuple[str, ...]
    folder: Path  # where it starts
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PilotView:
    """One pilot as the adapter sees it now. `submitted_us` is UTC microseconds."""

    name: str
    batch_id: str
    state: PilotState
    submitted_us: int


class SubmitFailed(PulkError):
    """The site did not take the batch job. Look at the reason; the next tick tries again."""

    code = "submit-failed"
    transient = True
    what = "pilot {name} could not be started: {reason}"
    remedy = "correct the reason; the next tick tries again"


class Adapter(Protocol):
    """Starts, finds and stops pilots. Each call may be made by another relay process."""

    def submit(self, request: PilotRequest) -> str:
        """Start the pilot once and return its batch id, which never names another pilot.

        Idempotent by name: a second call, also of another process or after a crash at any point,
        returns the same batch id and starts nothing. Raises SubmitFailed.
        """

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot not yet forgotten, by batch id, from one look at the site."""

    def clear(self, batch_id: str, mark: str) -> bool:
        """Stop what is left of a pilot and of its tasks; True once nothing of it is left.

        `mark` is text that stands in the environment of each of its tasks (PULK_ATTEMPT names the
        pilot run). Never touches a process that it cannot prove to belong to the pilot. An id
        that this adapter does not know gives False.
        """

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Ask pilots to end in order; unknown and ended ones are passed over."""

    def forget(self, batch_id: str) -> None:
        """Drop what is remembered of an ABSENT pilot; passed over while it is not ABSENT."""
