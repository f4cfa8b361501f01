"""What the HTTP side does before the authority is asked: bodies, budgets, errors as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bundle.errors import PulkError
from central.errors import UnknownDataset
from central.http import body
from central.http.answer import as_json
from central.http.budget import Budget
from central.http.errors import Busy, translate

CAP_BYTES = 5_000_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(folder: Path, raised: Exception | None = None) -> AsyncIterator[int]:
    """Serve a route that takes files, one that reads into memory and one that raises."""

    async def put(request: web.Request) -> web.StreamResponse:
        path = folder / "file"
        try:
            await body.receive(request, CAP_BYTES, path)
            raw, mode = path.read_bytes(), path.stat().st_mode & 0o777
        finally:
            path.unlink(missing_ok=True)
        return as_json({"bytes": len(raw), "sum": sum(raw), "mode": mode})

    async def post(request: web.Request) -> web.StreamResponse:
        return as_json({"bytes": len(await body.read(request, 100))})

    async def fail(request: web.Request) -> web.StreamResponse:
        raise raised or RuntimeError("a secret of the inside")

    app = web.Application(middlewares=[translate])
    app.router.add_put("/file", put)
    app.router.add_post("/small", post)
    app.router.add_get("/fail", fail)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        shutdown_timeout=1,
        lingering_time=0.1,
        keepalive_timeout=0.5,
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.port
    finally:
        await runner.cleanup()


async def say(port: int, head: str, content: bytes = b"") -> tuple[int, dict[str, Any], str]:
    """Send raw bytes; return status, JSON body and headers of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n"
    writer.write(lines.encode() + content)
    await writer.drain()
    raw = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    headers, _, answer = raw.partition(b"\r\n\r\n")
    return int(headers.split()[1]), json.loads(answer), headers.decode()


def ask(
    folder: Path, head: str, content: bytes = b"", raised: Exception | None = None
) -> tuple[int, dict[str, Any], str]:
    """Ask once."""

    async def once() -> tuple[int, dict[str, Any], str]:
        async with serving(folder, raised) as port:
            return await say(port, head, content)

    return asyncio.run(once())


def test_a_body_of_the_declared_length_arrives_whole_and_leaves_no_file(tmp_path: Path) -> None:
    content = bytes(range(250)) * 12_000
    head = f"PUT /file HTTP/1.1\r\nContent-Length: {len(content)}"
    status, answer, _ = ask(tmp_path, head, content)
    assert (status, answer["bytes"], answer["sum"]) == (200, len(content), sum(content))
    assert answer["mode"] == 0o600
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        ("PUT /file HTTP/1.1", 411, "length-required"),
        ("PUT /file HTTP/1.1\r\nTransfer-Encoding: chunked", 411, "length-required"),
        (f"PUT /file HTTP/1.1\r\nContent-Length: {CAP_BYTES + 1}", 413, "body-too-large"),
        (
            "PUT /file HTTP/1.1\r\nContent-Length: 3\r\nContent-Encoding: gzip",
            415,
            "encoding-refused",
        ),
        ("POST /small HTTP/1.1\r\nContent-Length: 101", 413, "body-too-large"),
        ("GET /nowhere HTTP/1.1", 404, "unknown-route"),
        ("DELETE /file HTTP/1.1", 405, "unknown-route"),
    ],
)
def test_what_is_refused_is_refused_before_the_body_as_json(
    tmp_path: Path, head: str, status: int, code: str
) -> None:
    found, answer, _ = ask(tmp_path, head)
    assert (found, answer["code"]) == (status, code)
    problem = {"type", "title", "status", "detail"}  # RFC 9457
    assert set(answer) == problem | {"code", "where", "what", "remedy", "transient", "fields"}
    assert answer["status"] == status
    assert not list(tmp_path.iterdir())


def test_a_body_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    async def broken() -> None:
        async with serving(tmp_path) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"PUT /file HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
            await writer.drain()
            await asyncio.sleep(0.1)
            assert list(tmp_path.iterdir())
            writer.close()
            await writer.wait_closed()
            for _ in range(50):
                if not list(tmp_path.iterdir()):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("the file is still there")

    asyncio.run(broken())


def test_a_body_that_stops_coming_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "SILENCE_S_MAX", 0.2)
    head = "PUT /file HTTP/1.1\r\nContent-Length: 1000"
    status, answer, _ = ask(tmp_path, head, b"half")
    assert (status, answer["code"]) == (408, "body-too-slow")
    assert answer["fields"]["found_bytes"] == 4
    assert not list(tmp_path.iterdir())


def test_a_drip_of_bytes_is_given_up_by_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "SILENCE_S_MAX", 0.4)

    async def drip() -> bytes:
        async with serving(tmp_path) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"PUT /file HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            for _ in range(6):
                writer.write(b".")
                await asyncio.sleep(0.1)
            raw = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return raw

    assert b" 408 " in asyncio.run(drip()).splitlines()[0]


def test_a_connection_whose_headers_never_end_is_cut_off(tmp_path: Path) -> None:
    async def slow() -> None:
        async with serving(tmp_path) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            silent, other = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /fail HTTP/1.1\r\nHost: x\r\n")
            for _ in range(4):
                writer.write(b"X-Drip: 1\r\n")
                await asyncio.sleep(0.1)
            assert await asyncio.wait_for(reader.read(), 3) == b""
            assert await asyncio.wait_for(silent.read(), 3) == b""
            for end in (writer, other):
                end.close()

    asyncio.run(slow())


def test_lengths_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for head in (
        "PUT /file HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4",
        "PUT /file HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
        "PUT /file HTTP/1.1\r\nContent-Length: +3",
    ):

        async def once(head: str = head) -> bytes:
            async with serving(tmp_path) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"{head}\r\nHost: x\r\n\r\nabc".encode())
                raw = await asyncio.wait_for(reader.read(), 5)
                writer.close()
                await writer.wait_closed()
                return raw

        assert b" 400 " in asyncio.run(once()).splitlines()[0]


def test_declared_errors_travel_whole_and_unexpected_ones_say_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer, _ = ask(tmp_path, "GET /fail HTTP/1.1", raised=UnknownDataset(dataset="abc"))
    assert (status, answer["code"], answer["fields"]) == (
        404,
        "unknown-dataset",
        {"dataset": "abc"},
    )
    status, answer, headers = ask(tmp_path, "GET /fail HTTP/1.1")
    assert (status, answer["code"]) == (500, "internal")
    assert "secret" not in json.dumps(answer) + headers
    assert "a secret of the inside" in caplog.text


def test_trouble_that_passes_asks_to_come_again_later(tmp_path: Path) -> None:
    for trouble in (Busy(what_for="reads"), OSError("disk full: /secret/path")):
        status, answer, headers = ask(tmp_path, "GET /fail HTTP/1.1", raised=trouble)
        assert status == 503
        assert answer["transient"]
        assert "Retry-After: " in headers
        assert "secret" not in json.dumps(answer)


def test_an_unknown_refusal_is_a_plain_400(tmp_path: Path) -> None:
    class Odd(PulkError):
        code = "odd"

    assert ask(tmp_path, "GET /fail HTTP/1.1", raised=Odd())[:2][0] == 400


def test_a_budget_runs_few_lets_some_wait_and_sends_the_rest_away() -> None:
    async def crowd() -> tuple[int, int, int]:
        budget = Budget("reads", running_max=2, waiting_max=3, wait_s_max=5)
        running = peak = 0
        go = asyncio.Event()

        async def call() -> None:
            nonlocal running, peak
            async with budget.place():
                running += 1
                peak = max(peak, running)
                await go.wait()
                running -= 1

        calls = [asyncio.create_task(call()) for _ in range(10)]
        await asyncio.sleep(0.05)
        go.set()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        busy = [end for end in ends if isinstance(end, Busy)]
        return peak, len(busy), ends.count(None)

    assert asyncio.run(crowd()) == (2, 5, 5)


def test_a_flooded_budget_leaves_another_one_alone() -> None:
    async def flooded() -> str:
        reads, completions = Budget("reads", 1, 100, 5), Budget("completions", 1, 100, 5)
        go = asyncio.Event()

        async def read() -> None:
            async with reads.place():
                await go.wait()

        crowd = [asyncio.create_task(read()) for _ in range(50)]
        await asyncio.sleep(0.01)
        done = await asyncio.wait_for(completions.run(lambda: "merged"), 1)
        go.set()
        await asyncio.gather(*crowd)
        return done

    assert asyncio.run(flooded()) == "merged"


def test_a_wait_that_is_too_long_ends_as_busy() -> None:
    async def impatient() -> None:
        budget = Budget("reads", 1, 10, 0.05)
        async with budget.place():
            with pytest.raises(Busy):
                await budget.run(lambda: None)
        await budget.run(lambda: None)

    asyncio.run(impatient())
