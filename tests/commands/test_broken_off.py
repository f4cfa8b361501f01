"""A long list that breaks off in its middle is never taken for all there is."""

from __future__ import annotations

import socket
import threading

import pytest

from bundle.client import Client, LinesBrokeOff, NoAnswer, NotCentral, Overloaded
from bundle.errors import PulkError

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LINE = b'{"no": 1}\n'


def chunk(content: bytes) -> bytes:
    """Return a chunk of HTTP."""
    return b"%x\r\n%s\r\n" % (len(content), content)


def served(answer: bytes) -> tuple[socket.socket, str]:
    """Answer one request with these bytes, then close."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_one() -> None:
        connection, _ = listener.accept()
        with connection:
            while b"\r\n\r\n" not in connection.recv(65_536):
                pass
            connection.sendall(answer)

    threading.Thread(target=answer_one, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "end", [b"", chunk(b'{"no": 2')[:-2], chunk(LINE)[:6], chunk(b'{"no": 2') + b"0\r\n\r\n"]
)
def test_a_list_without_its_end_is_an_error(end: bytes) -> None:
    listener, url = served(HEAD + chunk(LINE) + end)
    with listener:
        rows = Client(url, "token", direct=True).lines("/x")
        assert next(rows) == {"no": 1}
        with pytest.raises(LinesBrokeOff):
            list(rows)


@pytest.mark.parametrize(
    ("head", "body", "kind"),
    [
        ("200 OK\r\nContent-Type: text/html", "<html>log in</html>", NotCentral),
        ("200 OK\r\nContent-Type: application/json", '{"pages": []}', NotCentral),
        ("200 OK\r\nContent-Type: application/json", "[]", NotCentral),
        ("404 Not Found\r\nContent-Type: text/html", "<html>", NotCentral),
        ("404 Not Found\r\nContent-Type: application/json", '{"error": "x"}', NotCentral),
        ("302 Found\r\nLocation: http://127.0.0.1:1/login", "", NotCentral),
        ("502 Bad Gateway\r\nContent-Type: text/html", "<html>", NoAnswer),
        ("503 Unavailable\r\nContent-Type: text/html", "<html>", Overloaded),
    ],
)
@pytest.mark.parametrize("asked", ["every", "lines", "events"])
def test_another_server_is_never_taken_for_central(
    head: str, body: str, kind: type[PulkError], asked: str
) -> None:
    answer = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    listener, url = served(answer)
    with listener, pytest.raises(kind):
        client = Client(url, "token", direct=True)
        if asked == "every":
            client.every("/datasets", "datasets")
        else:
            list(client.lines("/x") if asked == "lines" else client.events())


def test_a_list_with_its_end_is_whole() -> None:
    listener, url = served(HEAD + chunk(LINE) + chunk(b"\n" + LINE) + b"0\r\n\r\n")
    with listener:
        assert list(Client(url, "token", direct=True).lines("/x")) == [{"no": 1}] * 2
