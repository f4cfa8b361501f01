"""The pilot's side of checkpoints: what a task goes on from, and what it left to go on from."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from bundle.fates import Fate
from bundle.ids import PilotRun, Task
from bundle.records.attempt import Attempt
from bundle.spool import checkpoints
from bundle.spool.checkpoints import Kept, Row
from bundle.spool.layout import Spool
from pilot.attempts import Running

_STOPPED = frozenset({Fate.ALLOCATION_END, Fate.PREEMPTED})
_NOT_ITS_FAULT = _STOPPED | {Fate.NODE_FAILURE, Fate.CANCELLED, Fate.STAGE_IN}

log = logging.getLogger("pulk.pilot")


class Checkpoints:
    """The checkpoints of one spool. Only asked for tasks whose step declares some."""

    def __init__(self, spool: Spool) -> None:
        """Read nothing yet."""
        self._spool = spool

    def of(self, running: Running) -> tuple[Row, ...]:
        """Return the files that an attempt goes on from; none where it begins anew."""
        kept = checkpoints.read(checkpoints.path(self._spool, _task(running)))
        if kept is None or _state(running) != (kept.generation, kept.spec_hash, kept.consumed):
            return ()
        declared = running.step.checkpoint.files
        names = [name for name, *_ in kept.files]
        return kept.files if names == list(declared) else ()

    def ended(
        self, running: Running, attempt: Attempt, reply: Mapping[str, Any], pilot_run: PilotRun
    ) -> None:
        """Keep what a stopped attempt left; forget what is used up, or led to a failure."""
        task = _task(running)
        left = reply.get("checkpoint")
        if left and attempt.fate in _STOPPED:
            generation, spec_hash, consumed = _state(running)
            files = tuple((name, digest, size) for name, digest, size in left)
            key = str(running.key(pilot_run))
            kept = Kept(generation, spec_hash, consumed, files, key, time.time_ns() // 1000)
            try:
                checkpoints.write(self._spool, task, kept)
            except OSError as error:
                log.warning("checkpoint not kept", extra={"task": str(task), "reason": str(error)})
        elif attempt.fate not in _NOT_ITS_FAULT:
            checkpoints.forget(self._spool, task)


def _task(running: Running) -> Task:
    step, job = running.start.place
    return Task(running.shard.claimed.lease.dataset, job, step)


def _state(running: Running) -> tuple[int, bytes, tuple[bytes, ...]]:
    """Return what must be the same for a checkpoint to be good."""
    start = running.start
    spec_hash = dict(running.shard.claimed.lease.spec_hashes).get(start.place[0], b"")
    return start.generation, spec_hash, start.consumed
