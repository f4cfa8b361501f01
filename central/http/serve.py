"""The server's process: lock, listening socket, address file, graceful end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from aiohttp import http_parser, web

from bundle.errors import PulkError
from bundle.spool import publish
from central import lock
from central.authority import Authority
from central.config import Config
from central.home import Home, clear_uploads, now_us
from central.http.app import make_app
from central.http.budget import Budgets

IDLE_S_MAX = 30.0  # for the headers of a request, the first one of a connection included
SHUTDOWN_S = 10.0  # for requests under way; a merge that began is finished whatever it takes
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_LOG = logging.getLogger(__name__)


class CannotListen(PulkError):
    """The address is taken, not this machine's, or reserved. Name another with --host, --port."""

    code = "cannot-listen"
    what = "cannot listen on {host} port {port}: {reason}"
    remedy = "stop what listens there, or give another --host or --port"


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
        if left := clear_uploads(home):
            _LOG.info("uploads that broke off removed", extra={"files": left})
        authority = Authority.open(home, config, clock_us=now_us)
        try:
            asyncio.run(_serve(authority, home, config))
        finally:
            authority.close()
    _LOG.info("stopped")


async def _serve(authority: Authority, home: Home, config: Config) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    budgets = Budgets(config.http.concurrent_uploads)
    # Closed by asyncio.run, which waits for calls that still run: a merge is never cut.
    loop.set_default_executor(ThreadPoolExecutor(budgets.threads, "authority"))
    runner = web.AppRunner(
        make_app(authority, home, config, budgets),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=IDLE_S_MAX,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        url = await _listen(runner, config.http.host, config.http.port)
        publish.write_file(home.root, home.address, f"{url}\n".encode())
        _LOG.info("listening", extra={"url": url, "pid": os.getpid()})
        try:
            await stop.wait()
        finally:
            home.address.unlink(missing_ok=True)
        _LOG.info("stopping")
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotListen(host=host, port=port, reason=reason) from error
    shown = ANY_ADDRESS.get(host, host)
    return f"http://[{shown}]:{site.port}" if ":" in shown else f"http://{shown}:{site.port}"
