"""Where a process takes what the door brings: connections to serve, and questions to answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import hdrs

from bundle.errors import PulkError
from bundle.ids import SiteName, parse_site
from central.authority import Authority
from central.door import words
from central.door.handing import ENDED
from central.door.process import DoorProcess
from central.door.words import Reply
from central.http.answer import as_json
from central.http.budget import Budget
from central.http.errors import StorageTrouble, answer_of
from central.http.exchange import rows_of
from central.marks import Marks, Word

TAKEN_AT_ONCE = 32
FDS = 4
# After an answer that took the authority so long, asks leave it alone for so many times as long.
REST_TIMES = 3.0
REST_S_MAX = 2.0
_LOG = logging.getLogger(__name__)


class Desk:
    """See the module. `gone` is set when the door is no more."""

    def __init__(
        self, hand: socket.socket, serve: Callable[[], asyncio.Protocol], marks: Marks
    ) -> None:
        """Serve each connection that comes through `hand` with a protocol that `serve` makes."""
        self._hand, self._serve, self._marks = hand, serve, marks
        self._tasks: set[asyncio.Task[None]] = set()
        self.gone = asyncio.Event()

    def open(self) -> None:
        """Begin to take connections."""
        asyncio.get_running_loop().add_reader(self._hand, self._take)

    def close(self) -> None:
        """Take no more."""
        if self._hand.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._hand)

    def _take(self) -> None:
        for _ in range(TAKEN_AT_ONCE):
            try:
                word, numbers, _, _ = socket.recv_fds(self._hand, 1, FDS)
            except BlockingIOError:
                return
            except OSError:
                word = b""
            if not word:
                self.close()
                self.gone.set()
                return
            ended = ENDED[word]
            if not numbers:  # this process has no file left for it: the client tries again
                self._marks.raise_one(ended)
            for number in numbers:
                task = asyncio.create_task(self._begin(socket.socket(fileno=number), ended))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _begin(self, sock: socket.socket, ended: Word) -> None:
        def lost() -> None:
            self._marks.raise_one(ended)

        try:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: _Told(self._serve(), lost), sock)
        except OSError:
            sock.close()
            lost()


class _Told(asyncio.Protocol):
    """A protocol that also tells when its connection is lost."""

    def __init__(self, inner: Any, lost: Callable[[], None]) -> None:
        self._inner, self._lost = inner, lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return bool(self._inner.eof_received())

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


async def answer_questions(
    door: DoorProcess, authority: Authority, work: Budget, completions: Budget
) -> None:
    """Answer the door's questions, one after the other, until it is gone.

    Asks never hold the authority for more than a share of the time while completions wait.
    """
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=door.questions)
    try:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = words.QUESTION.unpack(await reader.readexactly(words.QUESTION.size))
                site = parse_site((await reader.readexactly(size)).decode())
                began_s = loop.time()
                writer.write(words.reply(await _reply(authority, work, site)))
                await writer.drain()
                took_s = loop.time() - began_s
                until_s = loop.time() + min(REST_S_MAX, REST_TIMES * took_s)
                while completions.is_busy and loop.time() < until_s:
                    await asyncio.sleep(0.01)
    finally:
        writer.close()


async def _reply(authority: Authority, work: Budget, site: SiteName) -> Reply:
    try:
        answer = as_json({"bundles": rows_of(await work.run(authority.outbox, site))})
    except PulkError as error:
        answer = answer_of(error)
    except Exception:
        _LOG.exception("failed", extra={"route": f"/exchange/{site}/outbox"})
        answer = answer_of(StorageTrouble(where="outbox"))
    body = answer.body
    assert isinstance(body, bytes)  # noqa: S101  all of them are made of bytes
    come_back_s = int(answer.headers.get(hdrs.RETRY_AFTER, "0"))
    return Reply(site, answer.status, come_back_s, body)
