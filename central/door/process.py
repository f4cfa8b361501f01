"""Starting the door as a process of its own, forked before the server has threads or files."""

from __future__ import annotations

import logging
import os
import resource
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from central import forked
from central.config import HttpSection
from central.door.admission import Limits
from central.door.asking import Asking
from central.door.handing import Handing
from central.door.loop import Door
from central.door.waiting import Waiting
from central.home import now_us
from central.marks import Marks

FILES_BESIDE = 512  # files that are open beside connections
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class DoorProcess:
    """The server's ends of a running door. `hand` brings connections, `questions` asks."""

    pid: int
    hand: socket.socket
    questions: socket.socket
    is_open: bool = True

    def end(self) -> None:
        """Have it end, and wait for that; its connections that nobody served are closed."""
        if not self.is_open:
            return
        self.is_open = False
        self.hand.close()
        self.questions.close()
        forked.end(self.pid)  # at once: it keeps nothing


def raise_files(connections: int) -> int:
    """Allow this process as many open files as it wants, or may have; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 1 << 20
    wanted = max(soft, min(connections + FILES_BESIDE, most))
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def start(
    listener: socket.socket, reader: socket.socket, trust: Path, http: HttpSection, marks: Marks
) -> DoorProcess:
    """Fork the door; `reader`: where it hands what is only read.

    The caller has no threads yet, and no file whose lock the child must not keep: all that the
    child does not need is closed in it at once.
    """
    files = raise_files(http.connections_max)
    ours, its = forked.pair(socket.SOCK_SEQPACKET)
    ours_questions, its_questions = forked.pair(socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        _be_door(listener, its, reader, its_questions, trust, http, marks, files)
    its.close()
    its_questions.close()
    return DoorProcess(pid, ours, ours_questions)


def _be_door(
    listener: socket.socket,
    hand: socket.socket,
    reader: socket.socket,
    questions: socket.socket,
    trust: Path,
    http: HttpSection,
    marks: Marks,
    files: int,
) -> NoReturn:
    """Run the door in this process, which never returns to what its parent was doing."""
    status = 1
    try:
        forked.part(*(one.fileno() for one in (listener, hand, reader, questions)))
        limits = Limits.of(
            files,
            http.connections_max,
            http.address_connections_max,
            http.asks_per_s_max,
            http.site_asks_per_s_max,
        )
        asking = Asking(trust, marks, limits.site_asks_per_s, now_us)
        handing = Handing(hand, reader, marks, limits)
        waiting = Waiting(http.wait_s_max)
        Door(listener, handing, questions, marks, limits, asking, waiting).run()
        status = 0
    except BaseException:
        _LOG.exception("the door failed")
    finally:
        os._exit(status)
