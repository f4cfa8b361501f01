"""The slot's side of what is settled with a task while it runs: checkpoints and grants."""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH101, PTH108

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from pilot import linux, stage
from pilot.core.asides import GRANT_FILE
from pilot.core.fate import Stop
from pilot.watching.watch import Watch

_NEW_GRANT = f"{GRANT_FILE}.new"
_KEPT_AT = frozenset({str(Stop.ALLOCATION_END), str(Stop.PREEMPTED)})


class Plain:
    """A task with which nothing is settled."""

    next_s = float("inf")

    def begin(self, pid: int) -> None:
        """Take note that the task runs."""

    def tick(self) -> None:
        """Do what is due."""

    def hear(self, message: Mapping[str, Any], watch: Watch) -> None:
        """Take what the pilot says of the task."""

    def leave(self, reply: dict[str, Any]) -> None:
        """Add to the reply what is left once the task is dead."""


PLAIN = Plain()


class Asides(Plain):
    """One task that leaves checkpoints, or can use more than it asked for."""

    def __init__(self, request: dict[str, Any], folders: stage.Folders) -> None:
        """Bring what it goes on from and write its grant, in the current directory."""
        self._folders, self._pid = folders, 0
        self._files, name, every_ms = request.get("keeps", ([], "", 0))
        self._ask = _number(name)
        self._every_s = every_ms / 1000
        self._asked_at_the_end = False
        self._granted = _number(request.get("elastic", ""))
        self._cpu_milli = self._most_milli = 0
        self._restored = self._bring(request)
        if "grant" in request:
            self._cpu_milli = request["grant"]["cpu_milli"]
            _write_grant(request["grant"])
            request["env"]["PULK_GRANT"] = GRANT_FILE

    def begin(self, pid: int) -> None:
        """Take note that the task runs."""
        self._pid = pid
        if self._ask and self._every_s:
            self.next_s = time.monotonic() + self._every_s

    def tick(self) -> None:
        """Ask for a checkpoint where one is due."""
        now_s = time.monotonic()
        if now_s >= self.next_s:
            self.next_s = now_s + self._every_s
            self._signal(self._ask)

    def hear(self, message: Mapping[str, Any], watch: Watch) -> None:
        """Take what the pilot says of the task."""
        if message.get("checkpoint"):
            self._asked_at_the_end = True
            self.next_s = float("inf")
            self._signal(self._ask)
        grant = message.get("grant")
        if grant is not None:
            _write_grant(grant)
            watch.allow(grant["memory_mib"])
            _bind(self._pid, grant["cpus"])
            if grant["cpu_milli"] > self._cpu_milli:
                self._most_milli = max(self._most_milli, grant["cpu_milli"])
            self._signal(self._granted)

    def leave(self, reply: dict[str, Any]) -> None:
        """Take the checkpoint of a task that was stopped, and say what it had.

        One that was asked for a checkpoint at the end, left it and ended by itself, was stopped.
        """
        if self._restored:
            reply["restored"] = self._restored
        if self._most_milli:
            reply["grant_milli"] = self._most_milli
        ended_well = reply["exit_code"] == 0
        if not self._files or ended_well:
            return
        if self._asked_at_the_end and "stop" not in reply:
            reply["stop"] = str(Stop.ALLOCATION_END)
            reply["stop_evidence"] = "it ended after it was asked for a checkpoint"
        if reply.get("stop") in _KEPT_AT:
            with contextlib.suppress(stage.NotStaged):  # it left none: it begins anew
                taken = stage.take(self._files, self._folders)
                pairs = zip(self._files, taken, strict=True)
                reply["checkpoint"] = [[name, digest, size] for name, (digest, size) in pairs]

    def _bring(self, request: dict[str, Any]) -> list[bytes]:
        """Lay out the checkpoint that the pilot found; a damaged one is as good as none."""
        rows = request.get("restore", ())
        if not rows:
            return []
        try:
            stage.bring({"inputs": rows}, self._folders)
        except stage.NotStaged:
            for name, *_ in rows:
                with contextlib.suppress(OSError):
                    os.unlink(name)
            return []
        for name, *_ in rows:
            os.chmod(name, 0o600)
        request["env"]["PULK_CHECKPOINT"] = "\n".join(name for name, *_ in rows)
        return [digest for _, digest, _ in rows]

    def _signal(self, number: signal.Signals | None) -> None:
        """Signal the first process alone: it knows what its children can stand.

        One that has not got so far that it can take the signal would die of it.
        """
        if number is not None and self._pid and linux.is_ready_for(self._pid, number):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, number)


def for_task(request: dict[str, Any], folders: stage.Folders) -> Plain:
    """Return what is to be settled with a task; costs nothing for one that declares nothing."""
    if "keeps" in request or "elastic" in request:
        return Asides(request, folders)
    return PLAIN


def _number(name: str) -> signal.Signals | None:
    return signal.Signals[f"SIG{name}"] if name else None


def _write_grant(grant: Mapping[str, Any]) -> None:
    """Replace the task's grant file as a whole; whatever the task put in its place goes."""
    text = {
        "cpus": grant["cpu_milli"] / 1000,
        "memory_mib": grant["memory_mib"],
        "cores": grant["cpus"],
    }
    import json  # few tasks have a grant

    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW_GRANT)
        with os.fdopen(os.open(_NEW_GRANT, flags, 0o644), "w") as file:
            json.dump(text, file)
        os.replace(_NEW_GRANT, GRANT_FILE)


def _bind(pid: int, cpus: list[int]) -> None:
    """Let every thread of a task run on these cores; on none named, where they are."""
    if not cpus:
        return
    for one in [pid, *linux.descendants(pid)]:
        for thread in linux.threads(one):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, cpus)
