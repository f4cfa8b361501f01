"""The pilot's side of watching: what all slots use, and who is stopped before the kernel chooses.

Slots whose tasks are short never report, and cost nothing here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pilot.core.fate import Stop
from pilot.watching import lending
from pilot.watching.free import FreeMemory
from pilot.watching.gpus import Gpus
from pilot.watching.lending import Use, Verdict

LOOK_S = 1.0
WARY_LOOK_S = 0.1  # where a task borrows, or the node has little left
WARY_RESERVES = 4
GOING_S = 1.0  # a stopped task gets so long to free its memory before another must go
GPU_LOOK_S = 5.0

Send = Callable[[int, dict[str, Any]], None]


class NodeWatch:
    """Uses by slot. `send` gives a slot a message."""

    def __init__(self, node_bytes: int, free: FreeMemory, gpus: Gpus, send: Send) -> None:
        """Watch a node with so much memory for tasks."""
        self._kept = lending.reserve(node_bytes)
        self._free = free
        self._gpus = gpus
        self._send = send
        self._uses: dict[int, Use] = {}
        self._devices: dict[int, list[str]] = {}
        self._cpu_milli: dict[int, int] = {}
        self._stopped: set[int] = set()  # slots whose task was told to stop
        self._stopped_s = 0.0
        self._next_gpu_look_s = 0.0
        self._last_look_s = 0.0
        self._pause_s = LOOK_S

    @property
    def next_look_s(self) -> float:
        """When the next look at the node is due, by the monotonic clock; never while all is new."""
        return self._last_look_s + self._pause_s if self._uses else float("inf")

    def note(self, slot: int, news: list[Any]) -> None:
        """Take what a slot says of its task; stop tasks where too much is borrowed."""
        local, used, peak, asked, devices, cpu_milli = news
        self._cpu_milli[slot] = cpu_milli
        self._uses[slot] = Use(local, used, peak, asked)
        if devices:
            self._devices[slot] = devices
        running = {one: use for one, use in self._uses.items() if one not in self._stopped}
        if used > lending.allowed(asked) or any(use.over for use in running.values()):
            self._pause_s = WARY_LOOK_S
            for verdict in lending.beyond_what_is_lent(running.values()):
                self._stop(verdict)

    def ended(self, slot: int) -> None:
        """Forget a slot's task."""
        if slot in self._uses:
            del self._uses[slot]
            self._devices.pop(slot, None)
            self._stopped.discard(slot)

    def figures(self) -> dict[int, tuple[int, int]]:
        """Return what slots said last, by local number: milli-cores, and bytes of memory."""
        return {
            use.local: (self._cpu_milli.get(slot, 0), use.used) for slot, use in self._uses.items()
        }

    def look(self) -> None:
        """Look at the node if that is due; where it is tight, the worst offender is stopped."""
        now_s = time.monotonic()
        if now_s < self.next_look_s:
            return
        self._last_look_s = now_s
        free = self._free.look()
        borrows = any(use.over for use in self._uses.values())
        is_wary = borrows or free.available < WARY_RESERVES * self._kept
        self._pause_s = WARY_LOOK_S if is_wary else LOOK_S
        goes = bool(self._stopped) and now_s < self._stopped_s + GOING_S
        running = [use for slot, use in self._uses.items() if slot not in self._stopped]
        verdict = None if goes else lending.when_tight(running, free, self._kept)
        if verdict is not None:
            self._stop(verdict)
        if self._devices and now_s >= self._next_gpu_look_s:
            self._next_gpu_look_s = now_s + GPU_LOOK_S
            self._tell_of_gpus()

    def close(self) -> None:
        """End the program that watches the devices."""
        self._gpus.close()

    def _stop(self, verdict: Verdict) -> None:
        stop = Stop.MEMORY if verdict.at_fault else Stop.NODE_MEMORY
        for slot, use in self._uses.items():
            if use.local == verdict.local:
                message = {"stop": str(stop), "evidence": verdict.evidence, "local": use.local}
                self._send(slot, message)
                self._stopped.add(slot)
                self._stopped_s = time.monotonic()
                return

    def _tell_of_gpus(self) -> None:
        seen = self._gpus.latest()
        for slot, devices in self._devices.items():
            here = [seen[device] for device in devices if device in seen]
            if here:
                figures = [sum(column) for column in zip(*here, strict=True)]
                self._send(slot, {"gpus": figures, "local": self._uses[slot].local})
