"""The stager: a process that moves large files of tasks while the slots run others.

It is started like a slot, holds no key, and decides nothing: orders come from the pilot, in order.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from bundle.errors import PulkError
from pilot import linux, stage
from pilot.isolation import kernel
from pilot.messages import Channel
from pilot.staging.transfers import GivenUp, Mover, Pace

Order = dict[str, Any]


class Stager:
    """Threads for each direction, and the pilot's word on what is still wanted."""

    def __init__(self, channel: Channel, folders: stage.Folders, staging: tuple[int, int]) -> None:
        """Start the threads. `staging`: bytes per second, and threads, of each direction."""
        self._channel = channel
        self._sending = threading.Lock()
        self._dropped: set[int] = set()
        self._until_s = float("inf")
        self._inward: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._outward: queue.SimpleQueue[Order] = queue.SimpleQueue()
        bytes_per_s, threads = staging
        for orders, work in ((self._inward, self._bring), (self._outward, self._keep)):
            for _ in range(threads):
                mover = Mover(folders.brought, folders.handed, folders.data, Pace(bytes_per_s))
                threading.Thread(target=_serve, args=(orders, work, mover), daemon=True).start()

    def serve(self) -> NoReturn:
        """Take orders until the pilot is gone; then end at once, for nothing will count."""
        while (order := self._channel.receive()) is not None:
            if "give_up_s" in order:
                self._until_s = time.monotonic() + order["give_up_s"]
            elif "keep" in order:
                self._outward.put(order)
            else:
                if "drop" in order:
                    self._dropped.add(order["drop"])
                self._inward.put(order)
        os._exit(0)

    def _bring(self, mover: Mover, order: Order) -> None:
        if "drop" in order:
            mover.drop(order["drop"])
            return
        number, began_s = order["bring"], time.monotonic()

        def wanted() -> bool:
            return number not in self._dropped

        reply: dict[str, Any] = {"brought": number}
        try:
            if wanted():
                mover.bring(order, wanted)
        except GivenUp:
            pass
        except (PulkError, OSError) as error:
            reply["why"] = _told(error)
        if not wanted() or "why" in reply:
            mover.drop(number)
        self._send(reply, began_s)

    def _keep(self, mover: Mover, order: Order) -> None:
        local, began_s = order["keep"], time.monotonic()
        reply: dict[str, Any] = {"kept": local}
        try:
            reply["outputs"] = mover.keep(
                local, order["count"], lambda: time.monotonic() < self._until_s
            )
        except GivenUp:
            reply["late"] = True
        except OSError as error:
            reply["why"] = f"could not be kept: {_told(error)}"
            if full := stage.disk_failed(error):
                reply["disk_failed"] = full
        self._send(reply, began_s)
        mover.forget(local)

    def _send(self, reply: dict[str, Any], began_s: float) -> None:
        reply["took_ms"] = round(1000 * (time.monotonic() - began_s))
        try:
            with self._sending:
                self._channel.send(reply)
        except OSError:
            os._exit(0)  # the pilot is gone


def _serve(
    orders: queue.SimpleQueue[Order], work: Callable[[Mover, Order], None], mover: Mover
) -> NoReturn:
    try:
        while True:
            work(mover, orders.get())
    finally:
        os._exit(1)  # half a stager would let tasks wait for ever: the pilot starts another one


def _told(error: Exception) -> str:
    if isinstance(error, PulkError):
        return str(error.what.format(**error.fields))
    return getattr(error, "strerror", None) or str(error)


def main(arguments: list[str]) -> NoReturn:
    """Serve in a fresh interpreter: socket, data, brought, handed, pilot's pid, rate, threads."""
    descriptor, data, brought, handed, pilot, bytes_per_s, threads = arguments
    linux.die_with_parent(signal.SIGKILL)
    if os.getppid() != int(pilot):
        os._exit(0)
    # The pilot decides what ends; SIGIO only says that somebody wants to write what is hashed.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO):
        signal.signal(number, signal.SIG_IGN)
    kernel.hide_memory()
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    here = Path(brought)
    folders = stage.open_folders(here, Path(data), here, Path(handed))
    Stager(Channel(end), folders, (int(bytes_per_s), int(threads))).serve()
