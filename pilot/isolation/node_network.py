"""A thread that stays in the node's network, for steps that may reach it where the site says so.

Namespaces belong to threads: what this thread starts has the node's network and, in all else, what
the slot's other tasks have.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from pilot import linux
from pilot.isolation import kernel


class NodeNetwork:
    """Starts programs that reach the node's network."""

    def __init__(self) -> None:
        """Start the thread; to be called while the slot's main thread is in that network too."""
        self._asked: queue.SimpleQueue[Callable[[], int]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="node network", daemon=True).start()

    def settle(self, *, inside: bool) -> None:
        """Enter the process namespace that the main thread made for its tasks; drop all rights."""

        def enter() -> int:
            if inside:
                path = "self/ns/pid_for_children"  # `self` is the main thread
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=linux.PROC)
                kernel.enter_namespace(descriptor, kernel.CLONE_NEWPID)
                os.close(descriptor)
            kernel.gain_nothing_more()
            kernel.drop_capabilities()
            return 0

        self.call(enter)

    def call(self, start: Callable[[], int]) -> int:
        """Call a function in the thread and return what it returns, or raise what it raises."""
        self._asked.put(start)
        answer = self._done.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _serve(self) -> None:
        while True:
            try:
                self._done.put(self._asked.get()())
            except BaseException as error:
                self._done.put(error)
