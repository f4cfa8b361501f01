"""Request bodies: of a declared length, within a cap and a deadline, into memory or a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import hdrs, web

from central.http.errors import (
    BodyBroken,
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    LengthRequired,
)

SILENCE_S_MAX = 30.0  # between two pieces of a body
SLOWEST_BYTES_PER_S = 2_000  # a transfer slower than this on the whole is given up
PIECE_BYTES = 1 << 20  # how much is collected before it is written


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


@asynccontextmanager
async def received(request: web.Request, size_bytes_max: int, path: Path) -> AsyncIterator[Path]:
    """Hold a body in a synced file at `path`, which is removed at the end if it is still there.

    Memory stays at a few pieces whatever the size. Raises as `read`.
    """
    size = declared_bytes(request, size_bytes_max)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            held = bytearray()
            async for piece in _pieces(request, size):
                held += piece
                if len(held) >= PIECE_BYTES:
                    await asyncio.to_thread(file.write, bytes(held))
                    held.clear()
            file.write(held)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


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
