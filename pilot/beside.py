"""What goes beside running tasks: checkpoints, grants, and what their ends tell of the node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.attempt import Attempt
from pilot.attempts import Running
from pilot.checkpoints import Checkpoints
from pilot.core.fingerprints import Fingerprints
from pilot.core.packing import Packing
from pilot.holdings import Held
from pilot.stretching import Stretching


class Beside:
    """For the attempts of one pilot. `fingerprint`: why the node should run no more."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        stretching: Stretching,
        packing: Packing,
        pilot_run: PilotRun,
    ) -> None:
        """Begin with nothing that runs."""
        self.stretching, self.fingerprint = stretching, ""
        self._checkpoints, self._packing, self._pilot_run = checkpoints, packing, pilot_run
        self._fingerprints = Fingerprints()

    def settle(self, number: int, running: Running, message: dict[str, Any], held: Held) -> None:
        """Find what a task goes on from; take note of one that can use more than it asked for."""
        start = running.start
        if "keeps" in message and (rows := self._checkpoints.of(running)):
            message["restore"] = [list(row) for row in rows]
        if "elastic" in message:
            message["grant"]["cpus"] = list(held.cpus)
            took_us = self._packing.took_us(running.shard.key, start.place[0])
            done_us, elastic = running.asked_us + took_us, running.step.elastic
            self.stretching.begin(number, running.local, start.need, elastic, done_us)

    def ended(self, running: Running, attempt: Attempt, reply: Mapping[str, Any]) -> None:
        """Take note of how an attempt ended."""
        if running.step.checkpoint.files:
            self._checkpoints.ended(running, attempt, reply, self._pilot_run)
        if attempt.fate is Fate.SUCCESS:
            self._fingerprints.row.clear()
        elif not self.fingerprint:
            self.fingerprint = reply.get("disk_failed", "") or self._fingerprints.note(
                running.kind,
                attempt.fate,
                attempt.usage.wall_ms,
                kernel_oom=reply.get("kernel_oom", False),
            )
