"""A wire between two programs on loopback that counts, and is cut when told to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIECE_BYTES = 1 << 14


class Wire:
    """Passes connections on to `host:port`. With a TLS context it is the end of TLS, as a proxy is.

    `up` and `down` count bytes to and from there; `cut_up`, `cut_down`: after so many more of them
    all connections are reset, once.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._there, self._tls = (host, port), tls
        self.up = self.down = self.connections = 0
        self.cut_up: int | None = None
        self.cut_down: int | None = None
        self.is_dead = False  # then nobody is let in
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(
            asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._tls)
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            for one in list(self._open):
                one.transport.abort()
            await asyncio.sleep(0.05)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await asyncio.sleep(0)  # what was aborted is closed by the loop

        self._do(end()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, what):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_dead:
            writer.transport.abort()
            return
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(*self._there)
            self._open.add(there)
            await asyncio.gather(
                self._pump(reader, there, is_up=True), self._pump(back, writer, is_up=False)
            )
        except (OSError, RuntimeError, asyncio.CancelledError):
            pass  # it was cut
        finally:
            for one in (writer, there):
                if one is not None:
                    self._open.discard(one)
                    one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        while piece := await reader.read(PIECE_BYTES):
            if is_up:
                self.up += len(piece)
            else:
                self.down += len(piece)
            left = self.cut_up if is_up else self.cut_down
            if left is not None:
                left -= len(piece)
                if is_up:
                    self.cut_up = left if left > 0 else None
                else:
                    self.cut_down = left if left > 0 else None
                if left <= 0:
                    for one in list(self._open):
                        one.transport.abort()
                    return
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        elif not is_up:
            writer.close()


@contextmanager
def wired(host: str, port: int, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    made = Wire(host, port, tls)
    try:
        yield made
    finally:
        made.close()
