"""The pilot's side of its slots: starts them, talks to them, replaces one that died.

The first slots are forks of a pilot that has just begun, and share its memory as it was then: it
has no key yet. One that replaces another is an interpreter of its own, for by then the pilot's
memory is no slot's business (ADR 21).
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from pilot import children, folder, linux
from pilot.core.holding import ISOLATED, Holding, Isolation
from pilot.messages import Channel
from pilot.offline import NAMESPACE
from pilot.slot import serve

log = logging.getLogger("pulk.pilot")


class SlotsFailed(PulkError):
    """A slot's process dies as soon as it starts: this node cannot run tasks. Try another one.

    The pilot's standard error says what the slot's last words were.
    """

    code = "slots-failed"
    transient = True
    what = "slot {slot} died {deaths} times in a row ({how})"
    remedy = "look at the pilot's standard error; another node may be better"


class IsolationMissing(PulkError):
    """The site demands that tasks are isolated, and this node cannot do that.

    Try another node, let its administrator allow user namespaces, or set `[tasks] isolation`.
    """

    code = "isolation-missing"
    what = "tasks can't be isolated here ({reason})"
    remedy = 'allow user namespaces on the node, or set [tasks] isolation = "auto"'


@dataclass(slots=True)
class Slot:
    """One slot as the pilot sees it. `offline` is empty until the slot said how it settled in."""

    number: int
    pid: int
    channel: Channel
    offline: str = ""
    isolation: str = ""

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; False where the slot is gone."""
        try:
            self.channel.send(message)
        except OSError:
            return False
        return True


class Slots:
    """All slots of a pilot."""

    def __init__(self, place: Path, data: Path, between: tuple[Path, Path], count: int) -> None:
        """Fork the slots; they settle in once they are told how tasks are held.

        To be called before the pilot has a key, or threads. `between`: folders of inputs that were
        brought, and of outputs that are handed on.
        """
        self._holding: Holding | None = None
        self._places = place
        self._data, self._between = data, between
        self.spared: set[int] = set()  # children of the pilot that are no slots
        self.all: dict[int, Slot] = {}
        linux.become_subreaper()
        gc.collect()
        gc.freeze()  # what is collected later leaves the shared pages alone
        for number in range(count):
            channels = [one.channel for one in self.all.values()]
            told = self._told(number)
            self.all[number] = Slot(number, *children.fork(partial(serve, *told), channels))

    def hold(self, holding: Holding) -> None:
        """Tell every slot, and those that replace one, how tasks are held."""
        self._holding = holding
        for slot in self.all.values():
            slot.send({"holding": holding.to_wire()})

    @property
    def offline(self) -> str:
        """`namespace`, or why a slot has no network namespace."""
        words = [slot.offline for slot in self.all.values()]
        return next((word for word in words if word != NAMESPACE), NAMESPACE)

    @property
    def isolation(self) -> str:
        """How tasks are held: `isolated`, or `plain: <reason>` of a slot."""
        words = [slot.isolation for slot in self.all.values()]
        return next((word for word in words if word != ISOLATED), ISOLATED)

    def check_isolation(self, holding: Holding) -> None:
        """Raise IsolationMissing where the site demands what does not work here."""
        if holding.isolation is Isolation.REQUIRED and self.isolation != ISOLATED:
            raise IsolationMissing(reason=self.isolation)

    def replace(self, number: int) -> str:
        """Start a new slot in place of a dead one, once all that ran in it is dead.

        Returns how the old one ended.
        """
        old = self.all[number]
        old.channel.socket.close()
        ending = children.reaped(old.pid)
        others = {slot.pid for slot in self.all.values()} - {old.pid}
        self._kill_strays(except_pids=others | self.spared)
        log.warning("slot ended", extra={"slot": number, "how": ending})
        self.all[number] = self._started(number)
        return ending

    def close(self) -> None:
        """Let every slot go; whatever it ran dies with it."""
        for slot in self.all.values():
            slot.channel.socket.close()
        for slot in self.all.values():
            children.reaped(slot.pid)
        self._kill_strays(except_pids=set())

    def _started(self, number: int) -> Slot:
        folder_, others, pilot = self._told(number)
        command = folder.slot_command()
        made = Slot(number, *children.start(command, (folder_, *others, pilot)))
        if self._holding is not None:
            made.send({"holding": self._holding.to_wire()})
        return made

    def _told(self, number: int) -> tuple[Path, list[Path], int]:
        """Return a slot's directory, the other folders that it opens, and who the pilot is."""
        return self._places / str(number), [self._data, *self._between], os.getpid()

    def _kill_strays(self, except_pids: set[int]) -> None:
        """Kill what a dead slot left to the pilot, which adopts orphans as the slots do."""
        give_up_s = time.monotonic() + children.GO_S_MAX
        while time.monotonic() < give_up_s:
            strays = [pid for pid in linux.children(os.getpid()) if pid not in except_pids]
            if not strays:
                return
            for stray in strays:
                for pid in (*linux.descendants(stray), stray):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stray, os.WNOHANG)
            time.sleep(0.002)
