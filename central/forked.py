"""What a process does that parts from the server: keep nothing of the server's but its own ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

CHANNEL_BYTES = 1 << 20
LOOK_S = 0.01


def pair(kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a channel between processes; neither blocks."""
    ours, its = socket.socketpair(socket.AF_UNIX, kind)
    for end in (ours, its):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
    return ours, its


def part(*kept: int) -> None:
    """Be a child of the server's: close all files but the standard ones and `kept`.

    The folder's lock is not the child's. The server says when it ends, not the terminal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    first = 3
    for number in sorted(kept):
        os.closerange(first, number)
        first = number + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def end(pid: int, patience_s: float = 0.0) -> None:
    """Wait so long for a child to end, then have it end."""
    deadline = time.monotonic() + patience_s
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(LOOK_S)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
