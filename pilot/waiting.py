"""A slot waits for its task's first process, within limits, and hears the pilot meanwhile."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from pilot import asides, containers, linux, reap
from pilot.core.fate import NO_GRACE, Stop
from pilot.isolation.hold import Hold
from pilot.messages import Channel
from pilot.slot_log import SlotLog
from pilot.watching.limits import MIB
from pilot.watching.watch import NEVER_S, Watch

TERM_GRACE_S = 5.0


class Waiting:
    """Waits for one task of a slot after the other."""

    def __init__(
        self,
        channel: Channel,
        log: SlotLog,
        hold: Hold,
        images: containers.Images,
        report: Callable[[], None],
        leave: Callable[[], NoReturn],
    ) -> None:
        """Share what the slot has. `report` tells what ended before; `leave` ends the slot."""
        self._channel, self._log, self._hold, self._images = channel, log, hold, images
        self._report, self._leave = report, leave
        self._early: list[dict[str, Any]] = []  # stops of tasks of the batch that have not begun
        self._tell_s = NEVER_S  # how often the pilot hears what a task uses, though nothing changed
        self._poll = select.poll()
        self._poll.register(channel.socket, select.POLLIN)

    def note(self, message: dict[str, Any]) -> None:
        """Take what a message of the pilot says for this task and those to come."""
        self._tell_s = message.get("tell_s", self._tell_s)

    def reaped(
        self,
        pid: int,
        watch: Watch,
        request: dict[str, Any],
        reply: dict[str, Any],
        task: asides.Plain,
    ) -> reap.Ended:
        """Wait until a task's first process is reaped; the reply says whether it was stopped."""
        descriptor = os.pidfd_open(pid)
        self._poll.register(descriptor, select.POLLIN)
        try:
            self._wait(pid, descriptor, watch, request["walltime_ms"] / 1000, reply, task)
        finally:
            self._poll.unregister(descriptor)
            os.close(descriptor)
        moved = (0, 0)
        moves = bool(request["outputs"]) or "inputs" in request or "generated" in request
        if watch.has_looked or moves:
            moved = linux.read_and_written_bytes(pid)  # still there until it is reaped
        _, status, usage = os.wait4(pid, 0)
        ended = reap.Ended(status, read_bytes=moved[0], written_bytes=moved[1])
        ended.add(usage)
        return ended

    def _wait(
        self,
        pid: int,
        descriptor: int,
        watch: Watch,
        walltime_s: float,
        reply: dict[str, Any],
        task: asides.Plain,
    ) -> None:
        """Wait until the process is dead; stop it where that is due."""
        time_limit_s, kill_at_s = time.monotonic() + walltime_s, NEVER_S

        def is_due() -> bool:
            return bool(self._poll.poll(0)) or time.monotonic() >= min(time_limit_s, kill_at_s)

        still = partial(reap.held_still, pid)
        early = [one for one in self._early if one["local"] == reply["local"]]
        self._early = [one for one in self._early if one["local"] > reply["local"]]
        while True:
            wake_s = min(watch.next_look_s, kill_at_s, time_limit_s, task.next_s)
            left_ms = 0 if early else max(0.0, wake_s - time.monotonic()) * 1000 + 1
            ready = [one for one, _ in self._poll.poll(left_ms)]
            if descriptor in ready:
                return
            stop, evidence = Stop.NONE, ""
            if early or ready:
                messages, early = early or self._channel.arrived(), []
                stop, evidence = self._asked(messages, reply["local"], task, watch)
            task.tick()
            now_s = time.monotonic()
            is_over = now_s >= time_limit_s
            if now_s >= watch.next_look_s and kill_at_s == NEVER_S and not is_over:
                self._report()  # this one is not short: nothing should wait behind it
                log_bytes, ram_bytes = self._log.size(), self._ram_bytes()
                looked = watch.look(log_bytes, ram_bytes, linux.spared, is_due, still)
                stop, evidence = _first(stop, evidence, looked)
                self._tell(watch.news(self._tell_s))
                now_s = time.monotonic()
            if now_s >= time_limit_s:
                time_limit_s = NEVER_S
                limit = (Stop.WALLTIME, f"ran longer than {round(1000 * walltime_s)} ms")
                stop, evidence = _first(stop, evidence, limit)
            if stop is not Stop.NONE and "stop" not in reply:
                reply["stop"], reply["stop_evidence"] = str(stop), evidence
                kill_at_s = now_s if stop in NO_GRACE else now_s + TERM_GRACE_S
                reap.signal_group(pid, signal.SIGTERM)
            if now_s >= kill_at_s:
                self._hold.kill_all()
                kill_at_s = now_s + 1

    def _asked(
        self,
        messages: list[dict[str, Any]] | None,
        local: int,
        task: asides.Plain,
        watch: Watch,
    ) -> tuple[Stop, str]:
        """Take what the pilot says while a task runs; a later one's stop waits until that begins.

        Not so its grant or the wish for a checkpoint: they come with a signal, which would end a
        program that has just begun.
        """
        if messages is None:
            self._leave()
        for message in messages:
            self.note(message)
            if (of := message.get("local", local)) != local:
                if of > local and message.get("stop"):
                    self._early.append(message)
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


def _first(stop: Stop, evidence: str, other: tuple[Stop, str]) -> tuple[Stop, str]:
    return (stop, evidence) if stop is not Stop.NONE else other
