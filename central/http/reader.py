"""The reader: a process that answers what people only read, so that no merge holds it up.

The merge holds the interpreter, its garbage collection stops every thread of it; here it has none.
The door hands connections over; the database is opened to be read only, once the server says that
it is there. Forked like the door. It ends with the door, and so with the server.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from central import epochs, forked
from central.archive import open_archive
from central.config import Config
from central.door.heads import HEAD_BYTES_MAX
from central.door.process import raise_files
from central.home import Home, now_us
from central.http.app import make_reading_app
from central.http.budgets import Budgets
from central.http.desk import Desk
from central.marks import Marks
from central.questions import Questions
from central.store.opening import open_store
from central.workings import Workings

OPENED = b"o"
END_S = 2.0  # for reads that are under way when the server ends
LINGER_S = 1.0
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class ReaderProcess:
    """The server's side of a reader. `hand`: where the door brings it connections."""

    pid: int
    hand: socket.socket
    go: socket.socket

    def open(self) -> None:
        """Tell it that the database is there."""
        try:
            self.go.send(OPENED)
        except OSError:
            _LOG.warning("the reader is gone before it began")

    def end(self) -> None:
        """Wait for its end, which the door's brings about."""
        self.go.close()
        forked.end(self.pid, END_S + LINGER_S)


def start(home: Home, config: Config, marks: Marks) -> ReaderProcess:
    """Fork the reader. The caller has no threads yet."""
    hand, its = forked.pair(socket.SOCK_SEQPACKET)
    go, wait = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _be_reader(home, config, marks, its, wait)
    its.close()
    wait.close()
    return ReaderProcess(pid, hand, go)


def _be_reader(
    home: Home, config: Config, marks: Marks, hand: socket.socket, wait: socket.socket
) -> NoReturn:
    """Read in this process, which never returns to what its parent was doing."""
    status = 1
    try:
        forked.part(hand.fileno(), wait.fileno())
        raise_files(config.http.connections_max)
        if wait.recv(1) == OPENED:
            _read(home, config, marks, hand)
        status = 0
    except BaseException:
        _LOG.exception("the reader failed")
    finally:
        os._exit(status)


def _read(home: Home, config: Config, marks: Marks, hand: socket.socket) -> None:
    store = open_store(config, home, read_only=True)
    epoch = epochs.stored(store)
    assert epoch is not None  # noqa: S101  the server has opened it
    archive = open_archive(home, config, beside=True).reading()
    workings = Workings(home, config, store, archive, None, epoch, now_us)
    gc.freeze()
    asyncio.run(_serve(Questions(workings), home, config, marks, hand))


async def _serve(
    questions: Questions, home: Home, config: Config, marks: Marks, hand: socket.socket
) -> None:
    budgets = Budgets(config.http.concurrent_uploads, config.http.site_uploads_max)
    executor = ThreadPoolExecutor(budgets.reads.running_max, "reads")
    asyncio.get_running_loop().set_default_executor(executor)
    runner = web.AppRunner(
        make_reading_app(questions, home, config, budgets),
        access_log=None,
        auto_decompress=False,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
        lingering_time=LINGER_S,
        shutdown_timeout=END_S,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101  setup made it
    desk = Desk(hand, runner.server, marks)
    desk.open()
    await desk.gone.wait()
    await runner.cleanup()
