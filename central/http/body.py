"""Request bodies: of a declared length, within a cap and a deadline, into memory or a file."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import hdrs, web

from central.http.errors import (
    BodyBroken,
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    LengthRequired,
    RequestMalformed,
)

SILENCE_S_MAX = 30.0  # between two pieces of a body
SLOWEST_BYTES_PER_S = 2_000  # a transfer slower than this on the whole is given up
PIECE_BYTES = 1 << 20  # how much is collected before it is written
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


def declared_bytes(request: web.Request, size_bytes_max: int) -> int:
    """Return the length that a request declares.

    Raises EncodingRefused, LengthRequired, BodyTooLarge before anything of the body is read.
    """
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise EncodingRefused(where=request.path)
    size = request.content_length
    if size is None or hdrs.TRANSFER_ENCODING in request.headers:
        raise LengthRequired(where=request.path)
    if size > size_bytes_max:
        raise BodyTooLarge(where=request.path, size_bytes=size, size_bytes_max=size_bytes_max)
    return size


async def read(request: web.Request, size_bytes_max: int) -> bytes:
    """Return a body that fits into memory. Raises as `declared_bytes`, BodyBroken, BodyTooSlow."""
    size = declared_bytes(request, size_bytes_max)
    return b"".join([piece async for piece in _pieces(request, size)])


async def passed_over(request: web.Request, size_bytes_max: int) -> None:
    """Let a body go by, or not come at all where the sender waits to be told. Raises as `read`.

    A client that has begun to send hears no answer before its end.
    """
    size = declared_bytes(request, size_bytes_max)
    if not _is_held_back(request):
        async for _ in _pieces(request, size):
            pass


async def go_on_later(_: web.Request) -> None:
    """Tell a sender that waits (`Expect: 100-continue`) nothing before its body is wanted."""


def begins_at(request: web.Request, size_bytes_max: int) -> int:
    """Return from which byte of its file a body is: 0 where it is all of it.

    A body that is not the whole rest of a file is refused. Raises RequestMalformed, BodyTooLarge.
    """
    said = request.headers.get(hdrs.CONTENT_RANGE)
    if said is None:
        return 0
    found = _RANGE.fullmatch(said)
    first, last, total = (int(one) for one in found.groups()) if found else (0, 0, 0)
    if not 0 < first <= last == total - 1 or last - first + 1 != request.content_length:
        reason = "Content-Range does not say that the body is the rest of a file"
        raise RequestMalformed(where=request.path, reason=reason)
    if total > size_bytes_max:
        raise BodyTooLarge(where=request.path, size_bytes=total, size_bytes_max=size_bytes_max)
    return first


async def receive(request: web.Request, size_bytes_max: int, path: Path, at: int = 0) -> None:
    """Write a body into a file from byte `at` on, synced; the file is new where `at` is 0.

    What came before an error stays in the file. Memory stays at a few pieces whatever the size.
    Raises as `read`.
    """
    size = declared_bytes(request, size_bytes_max)
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if at else os.O_CREAT | os.O_EXCL)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.seek(at)
        held = bytearray()
        try:
            async for piece in _pieces(request, size):
                held += piece
                if len(held) >= PIECE_BYTES:
                    await asyncio.to_thread(file.write, bytes(held))
                    held.clear()
        finally:
            file.write(held)
            file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())


async def _pieces(request: web.Request, size: int) -> AsyncIterator[bytes]:
    """Yield the body as it comes; exactly `size` bytes or an error."""
    if _is_held_back(request) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SILENCE_S_MAX + size / SLOWEST_BYTES_PER_S
    found = 0
    while True:
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + SILENCE_S_MAX)):
                piece = await request.content.readany()
        except TimeoutError:
            raise BodyTooSlow(where=request.path, found_bytes=found, size_bytes=size) from None
        if not piece:
            break
        found += len(piece)
        yield piece
    if found != size:
        raise BodyBroken(where=request.path, found_bytes=found, size_bytes=size)


def _is_held_back(request: web.Request) -> bool:
    return request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
