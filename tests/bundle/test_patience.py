"""Coming back when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bundle.client import Client, Refused
from bundle.patience import TRIES_MAX, Patience, retry_after_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("7", 7), (" 7 ", 7), ("0", 0), ("", None), (None, None), ("-1", None), ("1.5", None)),
        *(("Wed, 21 Oct 2026 07:28:00 GMT", None), ("9" * 30, None), ("٣", None)),
    ],
)
def test_only_whole_seconds_are_heeded(header: str | None, seconds: int | None) -> None:
    assert retry_after_s(header) == seconds


def test_the_wait_is_as_asked_or_up_to_half_as_long_again() -> None:
    waits: list[float] = []
    for chance in (0.0, 0.5, 0.999):
        assert Patience(100, waits.append, lambda chance=chance: chance).waits(503, "10", 1)
    assert waits == [10, 12.5, pytest.approx(15, abs=0.01)]


def test_patience_ends() -> None:
    waits: list[float] = []
    patience = Patience(25, waits.append, lambda: 0.0)
    assert patience.waits(429, "10", 1)
    assert not patience.waits(429, "10", TRIES_MAX)
    assert patience.waits(429, "10", 2)
    assert not patience.waits(429, "10", 3)  # more than is left
    assert waits == [10, 10]


@pytest.mark.parametrize(("status", "header"), [(500, "1"), (404, "1"), (503, None), (429, "soon")])
def test_what_does_not_ask_to_come_back_is_not_waited_for(status: int, header: str | None) -> None:
    waits: list[float] = []
    assert not Patience(100, waits.append).waits(status, header, 1)
    assert not waits


@contextmanager
def busy(times: int) -> Iterator[tuple[str, list[str]]]:
    """A server that is busy so many times, then answers."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            is_busy = len(asked) <= times
            self.send_response(503 if is_busy else 200)
            if is_busy:
                self.send_header("Retry-After", "2")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_client_comes_back_to_a_busy_server_and_is_answered() -> None:
    waits: list[float] = []
    with busy(2) as (url, asked):
        client = Client(url, "t" * 20, direct=True, patience=Patience(30, waits.append))
        assert client.get("/datasets") == {}
    assert len(asked) == 3
    assert all(2 <= wait <= 3 for wait in waits)


def test_a_client_gives_up_on_one_that_stays_busy() -> None:
    with busy(100) as (url, asked):
        client = Client(url, "t" * 20, direct=True, patience=Patience(30, lambda _: None))
        with pytest.raises(Refused, match="503"):
            client.get("/datasets")
    assert len(asked) == TRIES_MAX
