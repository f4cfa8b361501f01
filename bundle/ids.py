"""Identities that cross a border.

Random ids come from the caller (`os.urandom` in a shell, a seeded generator in a test): this
module draws nothing itself. Sizes are those of docs/bundle-format.md.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple, NewType

from bundle.errors import PulkError

DatasetId = NewType("DatasetId", str)  # 26 characters, base32 lower case of 128 random bits
BundleId = NewType("BundleId", str)  # 64 hex characters: SHA-256 of the manifest bytes
LeaseId = NewType("LeaseId", bytes)  # 16 bytes
PilotRun = NewType("PilotRun", bytes)  # 8 bytes
StreamId = NewType("StreamId", bytes)  # 16 bytes
SiteName = NewType("SiteName", str)  # see SITE_NAME

DATASET_ID_BYTES = 16
LEASE_ID_BYTES = 16
PILOT_RUN_BYTES = 8
STREAM_ID_BYTES = 16
EPOCH_NONCE_BYTES = 16
DIGEST_BYTES = 32

JOB_MAX = 2**32 - 1
STEP_MAX = 2**16 - 1

SITE_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DATASET_ID = re.compile(r"[a-z2-7]{26}")


class MalformedId(PulkError):
    """A text is not the id it should be. Copy the id again from `pulk dataset list`."""

    code = "malformed-id"
    what = "{text!r} is not a {kind}"
    remedy = "copy the id again"


class Task(NamedTuple):
    """One step of a dataset's DAG for one job: the schedulable unit."""

    dataset: DatasetId
    job: int
    step: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.job}/{self.step}"


class AttemptKey(NamedTuple):
    """One try at a task; written once, never changes."""

    task: Task
    generation: int
    lease: LeaseId
    pilot_run: PilotRun
    local: int

    def __str__(self) -> str:
        return (
            f"{self.task}:{self.generation}:{self.lease.hex()}:{self.pilot_run.hex()}:{self.local}"
        )


class Epoch(NamedTuple):
    """One incarnation of the central database: ordered by counter, told apart by nonce."""

    counter: int
    nonce: bytes


def dataset_id(random_bytes: bytes) -> DatasetId:
    """Make a dataset id from 16 random bytes."""
    if len(random_bytes) != DATASET_ID_BYTES:
        raise MalformedId(text=random_bytes.hex(), kind="dataset id")
    return DatasetId(base64.b32encode(random_bytes).decode().rstrip("=").lower())


def parse_dataset_id(text: str) -> DatasetId:
    """Check the text of a dataset id. Raises MalformedId."""
    if not _DATASET_ID.fullmatch(text):
        raise MalformedId(text=text, kind="dataset id")
    return DatasetId(text)


def parse_task(text: str) -> Task:
    """Read `dataset/job/step`. Raises MalformedId."""
    match text.split("/"):
        case [dataset, job, step] if job.isdecimal() and step.isdecimal():
            task = Task(parse_dataset_id(dataset), int(job), int(step))
            if task.job <= JOB_MAX and task.step <= STEP_MAX:
                return task
    raise MalformedId(text=text, kind="task (dataset/job/step)")


def parse_attempt(text: str) -> AttemptKey:
    """Read the text form of an attempt key. Raises MalformedId."""
    match text.split(":"):
        case [task, generation, lease, pilot_run, local]:
            try:
                return AttemptKey(
                    parse_task(task),
                    int(generation),
                    LeaseId(bytes.fromhex(lease)),
                    PilotRun(bytes.fromhex(pilot_run)),
                    int(local),
                )
            except ValueError:
                pass
    raise MalformedId(text=text, kind="attempt key")


def parse_site(text: str) -> SiteName:
    """Check a site's name: lower case letters, digits, dashes, at most 63. Raises MalformedId."""
    if not SITE_NAME.fullmatch(text):
        raise MalformedId(text=text, kind="site name (lower case letters, digits, dashes)")
    return SiteName(text)
