"""The server's process: lock, listening socket, address file, graceful end."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from aiohttp import http_parser, web

from bundle.errors import PulkError
from bundle.spool import publish
from central import lock
from central.authority import Authority
from central.config import Config
from central.door import process
from central.door.heads import HEAD_BYTES_MAX
from central.door.process import DoorProcess
from central.home import Home, clear_uploads, now_us
from central.http import reader
from central.http.app import make_app
from central.http.budgets import Budgets
from central.http.desk import Desk, answer_questions
from central.http.partials import Partials
from central.http.reader import ReaderProcess
from central.http.watchdog import Watchdog, beat
from central.marks import Marks
from central.notices import run as notices
from central.store.opening import is_on_server

IDLE_S_MAX = 30.0  # for the headers of a request, the first one of a connection included
LINGER_S = 1.0  # for the rest of a body that was refused; the answer is said before
SHUTDOWN_S = 10.0  # for requests under way; a merge that began is finished whatever it takes
BACKLOG = 4096
BESIDE_S = 1.0  # how late the door may hear of what another server committed
TAKEN_S_MAX = 1.0
SWITCH_S = 0.001  # how long a merge keeps a read waiting for the interpreter; 5 ms is the default
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_LOG = logging.getLogger(__name__)


class CannotListen(PulkError):
    """The address is taken, not this machine's, or reserved. Name another with --port, --host."""

    code = "cannot-listen"
    what = "cannot listen on {host} port {port}: {reason}"
    remedy = (
        "stop what listens there (another central?), or choose another with --port, --host,"
        " or [http] in central.toml"
    )


class SlowParser(PulkError):
    """aiohttp was built without its C parser; the pure one is laxer than proxies expect."""

    code = "slow-parser"
    what = "aiohttp has no C parser here"
    remedy = "install a wheel of aiohttp, or build it with its extensions"


def serve(home: Home, config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises InUse, CannotListen, SlowParser."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise SlowParser()
    with lock.held(home, lock.SERVE):
        home.address.unlink(missing_ok=True)  # a killed server's: somebody else may listen there
        Partials(home, config.http.partial_bytes_max).recover()
        if left := clear_uploads(home):
            _LOG.info("uploads that broke off removed", extra={"files": left})
        sys.setswitchinterval(SWITCH_S)
        with closing(_bind(config.http.host, config.http.port)) as listener:
            marks = Marks()
            gc.collect()
            gc.freeze()  # what is there for good is not gone through again, nor copied by a child
            reads = reader.start(home, config, marks)
            door = process.start(listener, reads.hand, home.trust, config.http, marks)
            reads.hand.close()  # the door's alone: the reader ends with it
            try:
                _with_authority(home, config, Entrance(listener, door, reads, marks))
            finally:
                door.end()
                reads.end()
    _LOG.info("stopped")


@dataclass(frozen=True, slots=True)
class Entrance:
    """How requests come in."""

    listener: socket.socket
    door: DoorProcess
    reads: ReaderProcess
    marks: Marks


def _with_authority(home: Home, config: Config, entrance: Entrance) -> None:
    authority = Authority.open(home, config, clock_us=now_us)
    authority.mark_changes(entrance.marks)
    entrance.reads.open()
    try:
        with Watchdog(entrance.marks):
            asyncio.run(_serve(authority, home, config, entrance))
    finally:
        authority.close()


async def _serve(authority: Authority, home: Home, config: Config, entrance: Entrance) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    budgets = Budgets(config.http.concurrent_uploads, config.http.site_uploads_max)
    # Closed by asyncio.run, which waits for calls that still run: a merge is never cut.
    loop.set_default_executor(ThreadPoolExecutor(budgets.threads, "authority"))
    runner = web.AppRunner(
        make_app(authority, home, config, budgets),
        access_log=None,
        auto_decompress=False,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
        keepalive_timeout=IDLE_S_MAX,
        lingering_time=LINGER_S,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101  setup made it
    desk = Desk(entrance.door.hand, runner.server, entrance.marks)
    tasks = [
        asyncio.create_task(beat(entrance.marks)),
        asyncio.create_task(
            answer_questions(entrance.door, authority, budgets.work, budgets.completions)
        ),
        asyncio.create_task(_stand_in(desk, entrance, runner)),
    ]
    if config.notify.is_on:
        tasks.append(asyncio.create_task(notices.run(authority, config.notify)))
    if is_on_server(config):
        tasks.append(asyncio.create_task(_look_beside(authority)))
    try:
        desk.open()
        url = _url(config.http.host, entrance.listener)
        publish.write_file(home.root, home.address, f"{url}\n".encode())
        _LOG.info("listening", extra={"url": url, "pid": os.getpid()})
        try:
            await stop.wait()
        finally:
            home.address.unlink(missing_ok=True)
        _LOG.info("stopping")
    finally:
        desk.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        entrance.door.end()
        await runner.cleanup()


async def _look_beside(authority: Authority) -> None:
    """Take up what other servers of this central committed, every second."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(BESIDE_S)
        try:
            await loop.run_in_executor(None, authority.look_beside)
        except PulkError as error:
            _LOG.warning("cannot look beside", extra={"reason": error.text()})
        except OSError:
            _LOG.exception("cannot look beside")


async def _stand_in(desk: Desk, entrance: Entrance, runner: web.AppRunner) -> None:
    """Serve without the door if it dies: slower under a flood, but nobody is turned away."""
    await desk.gone.wait()
    _LOG.error("the door is gone; the server takes connections itself until it is started again")
    entrance.door.end()
    await web.SockSite(runner, entrance.listener).start()


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises CannotListen.

    A server that was killed leaves a door that ends at once, but not before this.
    """
    deadline = time.monotonic() + TAKEN_S_MAX
    while True:
        try:
            family, _, _, _, address = socket.getaddrinfo(
                host or "0.0.0.0",  # noqa: S104  what an empty name has always meant
                port,
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )[0]
            return socket.create_server(address[:2], family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            is_name = isinstance(error, socket.gaierror)  # whose numbers are its own
            reason = os.strerror(error.errno) if error.errno and not is_name else str(error)
            raise CannotListen(host=host, port=port, reason=reason) from error


def _url(host: str, listener: socket.socket) -> str:
    shown, port = ANY_ADDRESS.get(host, host), listener.getsockname()[1]
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
