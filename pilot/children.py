"""Processes of its own code that a pilot starts, each with an end of a channel."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from pilot.messages import Channel

GO_S_MAX = 15.0  # a slot that is told to go sweeps its task first


def fork(serve: Callable[[Channel], NoReturn], others: Iterable[Channel]) -> tuple[int, Channel]:
    """Fork this process; return the pid and the pilot's end of the channel.

    To be called while this process has one thread and knows nothing that a task must not learn.

    Args:
        serve: what the fork does, with its own end; it never returns.
        others: the pilot's ends of other channels, which the fork closes.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, Channel(ours)
    try:
        for end in (ours, *(one.socket for one in others)):
            end.close()
        serve(Channel(theirs))
    except BaseException:  # a fork must never return into the pilot's code
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def start(command: Sequence[str], told: Iterable[object]) -> tuple[int, Channel]:
    """Start an interpreter; return its pid and the pilot's end of its channel.

    Its arguments are the number of its own end's descriptor, then what it is `told`.
    """
    ours, theirs = socket.socketpair()
    arguments = [*command, str(theirs.fileno()), *map(str, told)]
    theirs.set_inheritable(True)
    try:
        pid = os.posix_spawn(sys.executable, arguments, os.environ)
    finally:
        theirs.close()
    return pid, Channel(ours)


def reaped(pid: int) -> str:
    """Wait for a process of ours that lost its pilot's end of the socket; at last kill it.

    Returns how it ended.
    """
    give_up_s = time.monotonic() + GO_S_MAX
    while True:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return "reaped already"
        if found:
            if os.WIFSIGNALED(status):
                return f"signal {os.WTERMSIG(status)}"
            return f"exit {os.WEXITSTATUS(status)}"
        if time.monotonic() > give_up_s:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
