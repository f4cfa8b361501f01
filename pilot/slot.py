"""A slot: a small process that runs one task at a time, with nothing but loopback.

It is forked off a pilot that has no key yet, or started by one that has: so nothing that a slot, or
a fork of it, ever held knows the key. It adopts and kills whatever a task leaves behind; when the
pilot ends, it kills its task and ends too.
"""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import time
from collections import deque
from pathlib import Path
from typing import Any, NoReturn

from pilot import asides, containers, emptying, linux, offline, reap, stage
from pilot.core.holding import Holding, from_wire
from pilot.isolation import hold
from pilot.messages import Channel
from pilot.slot_log import SlotLog
from pilot.staging import handing
from pilot.starting import Starter
from pilot.waiting import Waiting
from pilot.watching.files import file_bytes_max, full_disk, full_file_bytes
from pilot.watching.limits import MIB
from pilot.watching.processes import Processes
from pilot.watching.watch import Watch

SHORT_S = 0.02  # a success shorter than this costs no look at the network's counters of its own


class Slot:
    """The process's side of a slot."""

    def __init__(self, channel: Channel, folder: Path, others: list[Path], pilot: int) -> None:
        """Settle in: own directory, log, namespaces. Tells the pilot how it went."""
        self._channel = channel
        self._folder = folder
        self._pilot = pilot
        self._hold = hold.Hold("", "")  # nothing holds yet
        linux.become_subreaper()
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        linux.die_with_parent(signal.SIGTERM)
        if os.getppid() != pilot:
            self._leave()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log = SlotLog(folder.with_suffix(".log"))
        os.chdir(folder)
        self._folders = stage.open_folders(folder, *others)
        emptying.empty(self._folders.here)
        self._batch: deque[dict[str, Any]] = deque()
        self._replies: list[dict[str, Any]] = []
        self._hold = hold.settle(str(folder), self._holding())
        linux.die_with_parent(signal.SIGTERM)  # what changes rights may have cleared it
        self._starter = Starter(self._hold, folder, channel)
        data_folder, isolated = self._folders.data, self._hold.ram >= 0
        self._images = containers.Images(data_folder, isolated=isolated)
        self._waiting = Waiting(
            channel, self._log, self._hold, self._images, self._report, self._leave
        )
        self._no_routes = offline.NoRoutes()
        self._tried = self._no_routes.count()
        self._successes_try = False  # to reach the network, though nobody looked at each
        self._oom_kills = 0
        self._processes = Processes()
        gc.collect()
        gc.freeze()
        channel.send({"hello": self._hold.offline, "isolation": self._hold.isolation})

    def _holding(self) -> Holding:
        """Wait for what the pilot says first: how tasks are held."""
        message = self._channel.receive()
        if message is None:
            self._leave()
        return from_wire(message["holding"])

    def serve(self) -> NoReturn:
        """Run what the pilot asks for until it is gone."""
        while True:
            message = self._channel.receive()
            if message is None:
                self._leave()
            self._waiting.note(message)
            self._batch.extend(message.get("tasks", ()))  # a stop came too late for its task
            self._catch_up()
            while self._batch:
                self._replies.append(self._attempt(self._batch.popleft()))
                if self._left:
                    emptying.empty(self._folders.here)
                if self._hold.is_damaged:
                    break
            self._report()
            if self._hold.is_damaged:  # the pilot starts a new slot
                self._leave()

    def _catch_up(self) -> None:
        """Read the counters, so that no task to come is blamed for what was before.

        Short successes are looked at together, for a look costs a twentieth of the shortest;
        once they were seen to try the network, each is looked at.
        """
        self._oom_kills = linux.kernel_oom_kills()
        tried = self._no_routes.count()
        self._successes_try = self._successes_try or tried > self._tried
        self._tried = tried

    def _report(self) -> None:
        """Tell what ended, and hand back what was not begun."""
        if self._replies or self._batch:
            back = [request["local"] for request in self._batch]
            self._channel.send({"ended": self._replies, "back": back})
            self._replies.clear()
            self._batch.clear()

    def _attempt(self, request: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {
            "local": request["local"],
            "exit_code": -1,
            "signal": 0,
            "started_us": time.time_ns() // 1000,
            "started_mono_us": time.monotonic_ns() // 1000,
        }
        self._log.clear()
        self._left_behind = 0
        self._left = True
        began_s = time.monotonic()
        try:
            handing.bring(request, self._folders)
            self._images.settle(request, reply)
        except stage.NotStaged as error:
            reply["stage_in"] = error.what.format(**error.fields)
            _note_full(error, reply)
        else:
            self._run(request, reply)
        took_s = time.monotonic() - began_s
        if reply["exit_code"] or took_s > SHORT_S or self._successes_try:
            tried = self._no_routes.count()
            reply["no_routes"], self._tried = tried - self._tried, tried
        if self._log.size() or self._left_behind:
            reply["last_line"] = self._log.last_line()
            if self._left_behind:
                self._log.note(f"{self._left_behind} process(es) left behind were killed")
            reply["log"] = self._log.read()
        if "container" in request:
            containers.note_entry(request, reply, isolated=self._hold.ram >= 0)
            self._images.leave()
        reply["ended_mono_us"] = time.monotonic_ns() // 1000
        return reply

    def _run(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        watch = Watch(request, self._processes)
        task = asides.for_task(request, self._folders)
        try:
            pid = self._starter.start(request)
        except OSError as error:
            if self._hold.is_gone():
                self._leave()  # no fault of the task's: it is tried again in a new slot
            reply["not_started"] = f"{request['argv'][0]}: {error.strerror or error}"
            reply["exit_code"] = 127 if isinstance(error, FileNotFoundError) else 126
            return
        task.begin(pid)
        ended = self._waiting.reaped(pid, watch, request, reply, task)
        self._hold.sweep(ended)
        self._left_behind = ended.left_behind
        reply["wall_ms"] = round(1000 * (time.monotonic() - watch.began_s))
        if os.WIFSIGNALED(ended.status):
            reply["signal"] = os.WTERMSIG(ended.status)
            kills, self._oom_kills = self._oom_kills, linux.kernel_oom_kills()
            reply["kernel_oom"] = self._oom_kills > kills
        else:
            reply["exit_code"] = os.WEXITSTATUS(ended.status)
        task.leave(reply)
        self._finish(request, reply, ended, watch)

    def _finish(
        self, request: dict[str, Any], reply: dict[str, Any], ended: reap.Ended, watch: Watch
    ) -> None:
        self._left = bool(os.listdir(self._folders.here))
        if self._left:
            watch.look_at_end(self._log.size())
            reply["software"] = stage.software()
        if self._may_be_the_disk(request, reply, watch) and (full := full_disk()):
            reply["disk_failed"] = full
        if reply["exit_code"]:
            limit = file_bytes_max(request["disk_bytes"])
            reply["full_file"] = full_file_bytes(limit, self._log.size())
        if request["outputs"] and reply["exit_code"] == 0:
            try:
                reply.update(handing.take(request, self._folders))
            except stage.NotStaged as error:
                reply["stage_out"] = error.what.format(**error.fields)
                _note_full(error, reply)
        peak, series = watch.end(reap.own_peak_bytes(ended, watch.memory_peak_bytes))
        if series:
            reply["series"] = series
        reply["usage"] = {
            "cpu_ms": round(1000 * ended.cpu_s),
            "memory_peak_mib": -(-peak // MIB),
            "disk_peak_bytes": watch.disk_peak_bytes,
            "read_bytes": ended.read_bytes,
            "written_bytes": ended.written_bytes,
        }

    @staticmethod
    def _may_be_the_disk(request: dict[str, Any], reply: dict[str, Any], watch: Watch) -> bool:
        """Return whether a task failed that nobody stopped and that kept to its request."""
        failed = reply["exit_code"] or reply["signal"]
        kept_to = watch.disk_peak_bytes <= request["disk_bytes"]
        return bool(failed) and "stop" not in reply and kept_to

    def _on_term(self, _number: int, _frame: object) -> None:
        # A scheduler that signals the whole group means the pilot: it decides what is stopped.
        if os.getppid() != self._pilot:
            self._leave()

    def _leave(self) -> NoReturn:
        """End with everything that runs here: the pilot is gone or wants no more."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._hold.end()
        os._exit(0)


def _note_full(error: stage.NotStaged, reply: dict[str, Any]) -> None:
    """Say where a filesystem takes no more: no later task will fare better on this node."""
    if full := stage.disk_failed(error):
        reply["disk_failed"] = full


def serve(folder: Path, others: list[Path], pilot: int, channel: Channel) -> NoReturn:
    """Serve as a slot in this process. `others` as in Folders, `pilot`: the pilot's pid."""
    _close_inherited(channel.socket.fileno())
    linux.call_this(f"pilot-slot-{folder.name}")
    Slot(channel, folder, others, pilot).serve()


def main(arguments: list[str]) -> NoReturn:
    """Serve as a slot in a fresh interpreter: socket, folder, others as in Folders, pilot's pid."""
    descriptor, folder, *others, pilot = arguments
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    serve(Path(folder), [*map(Path, others)], int(pilot), Channel(end))


def _close_inherited(channel: int) -> None:
    """Close what the scheduler or a shell left open to the pilot, and so to its slots."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor != channel:
            with contextlib.suppress(OSError):
                if os.get_inheritable(descriptor):
                    os.close(descriptor)
