"""A slot: a small process that runs one task at a time, with nothing but loopback.

It is started, not forked, so that no task ever descends from a process that held the pilot's key.
It adopts and kills whatever a task leaves behind; when the pilot ends, it
kills its task and ends too.
"""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from pilot import asides, containers, emptying, linux, offline, reap, stage
from pilot.core.fate import NO_GRACE, Stop
from pilot.core.holding import Holding, from_wire
from pilot.isolation import hold
from pilot.messages import Channel
from pilot.slot_log import SlotLog
from pilot.staging import handing
from pilot.starting import Starter
from pilot.watching.files import file_bytes_max, full_file_bytes
from pilot.watching.limits import MIB
from pilot.watching.processes import Processes
from pilot.watching.watch import NEVER_S, Watch

TERM_GRACE_S = 5.0
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
        self._poll = select.poll()
        self._poll.register(channel.socket, select.POLLIN)
        self._hold = hold.settle(str(folder), self._holding())
        linux.die_with_parent(signal.SIGTERM)  # what changes rights may have cleared it
        self._starter = Starter(self._hold, folder, channel)
        data_folder, isolated = self._folders.data, self._hold.ram >= 0
        self._images = containers.Images(data_folder, isolated=isolated)
        self._no_routes = offline.NoRoutes()
        self._tried = self._no_routes.count()
        self._successes_try = False  # to reach the network, though nobody looked at each
        self._oom_kills = 0
        self._processes = Processes()
        self._tell_s = NEVER_S  # how often the pilot hears what a task uses, though nothing changed
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
            self._tell_s = message.get("tell_s", self._tell_s)
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
        moves = bool(request["outputs"]) or "inputs" in request or "generated" in request
        task.begin(pid)
        ended = self._await(pid, watch, request["walltime_ms"] / 1000, reply, task, moves=moves)
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

    def _await(
        self,
        pid: int,
        watch: Watch,
        walltime_s: float,
        reply: dict[str, Any],
        task: asides.Plain,
        *,
        moves: bool,
    ) -> reap.Ended:
        """Wait for the task's first process, within limits, until it is reaped."""
        descriptor = os.pidfd_open(pid)
        self._poll.register(descriptor, select.POLLIN)
        time_limit_s = time.monotonic() + walltime_s
        kill_at_s = float("inf")

        def is_due() -> bool:
            return bool(self._poll.poll(0)) or time.monotonic() >= min(time_limit_s, kill_at_s)

        still = partial(reap.held_still, pid)
        try:
            while True:
                wake_s = min(watch.next_look_s, kill_at_s, time_limit_s, task.next_s)
                left_ms = max(0.0, wake_s - time.monotonic()) * 1000 + 1
                ready = [one for one, _ in self._poll.poll(left_ms)]
                if descriptor in ready:
                    break
                stop, evidence = Stop.NONE, ""
                if ready:
                    stop, evidence = self._asked(reply["local"], task, watch)
                task.tick()
                now_s = time.monotonic()
                is_over = now_s >= time_limit_s
                if now_s >= watch.next_look_s and kill_at_s == float("inf") and not is_over:
                    self._report()  # this one is not short: nothing should wait behind it
                    log_bytes, ram_bytes = self._log.size(), self._ram_bytes()
                    looked = watch.look(log_bytes, ram_bytes, linux.spared, is_due, still)
                    stop, evidence = _first(stop, evidence, looked)
                    self._tell(watch.news(self._tell_s))
                    now_s = time.monotonic()
                if now_s >= time_limit_s:
                    time_limit_s = float("inf")
                    limit = (Stop.WALLTIME, f"ran longer than {round(1000 * walltime_s)} ms")
                    stop, evidence = _first(stop, evidence, limit)
                if stop is not Stop.NONE and "stop" not in reply:
                    reply["stop"], reply["stop_evidence"] = str(stop), evidence
                    kill_at_s = now_s if stop in NO_GRACE else now_s + TERM_GRACE_S
                    reap.signal_group(pid, signal.SIGTERM)
                if now_s >= kill_at_s:
                    self._hold.kill_all()
                    kill_at_s = now_s + 1
        finally:
            self._poll.unregister(descriptor)
            os.close(descriptor)
        moved = (0, 0)
        if watch.has_looked or moves:
            moved = linux.read_and_written_bytes(pid)  # still there until it is reaped
        _, status, usage = os.wait4(pid, 0)
        ended = reap.Ended(status, read_bytes=moved[0], written_bytes=moved[1])
        ended.add(usage)
        return ended

    def _asked(self, local: int, task: asides.Plain, watch: Watch) -> tuple[Stop, str]:
        """Read what the pilot says while a task runs."""
        messages = self._channel.arrived()
        if messages is None:
            self._leave()
        for message in messages:
            self._tell_s = message.get("tell_s", self._tell_s)
            if message.get("local", local) != local:
                continue
            task.hear(message, watch)
            if "gpus" in message:
                watch.see_gpus(*message["gpus"])
            elif message.get("stop"):
                self._report()
                return Stop(message["stop"]), message["evidence"] + self._in_files()
        return Stop.NONE, ""

    def _tell(self, news: list[Any] | None) -> None:
        """Tell the pilot what the task uses, where that is news."""
        if news is not None:
            try:
                self._channel.send({"use": news})
            except OSError:
                self._leave()

    def _ram_bytes(self) -> int:
        return self._hold.ram_bytes() + self._images.ram_bytes()

    def _in_files(self) -> str:
        """Return what evidence adds where a task keeps memory in files."""
        ram_mib = self._ram_bytes() // MIB
        return f"; {ram_mib} MiB of it in files of /tmp or /dev/shm" if ram_mib > 1 else ""

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


def _first(stop: Stop, evidence: str, other: tuple[Stop, str]) -> tuple[Stop, str]:
    return (stop, evidence) if stop is not Stop.NONE else other


def main(arguments: list[str]) -> NoReturn:
    """Serve as a slot in a fresh interpreter: socket, folder, others as in Folders, pilot's pid."""
    descriptor, folder, *others, pilot = arguments
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    _close_inherited(int(descriptor))
    Slot(Channel(end), Path(folder), [*map(Path, others)], int(pilot)).serve()


def _close_inherited(channel: int) -> None:
    """Close what the scheduler or a shell left open to the pilot, and so to its slots."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor != channel:
            with contextlib.suppress(OSError):
                if os.get_inheritable(descriptor):
                    os.close(descriptor)
