"""The real server behind its door: floods, slow, broken and hostile clients, and completions."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import flood
from bundle.client import Client, Refused
from bundle.trust.request import sign_request
from central.door.heads import HEAD_BYTES_MAX
from central.home import now_us
from tests.central.site import SITE, document, enrolled
from tests.central.test_http import Served, start

pytestmark = pytest.mark.programs

LIMIT_S = 20.0
OUTBOX = f"/exchange/{SITE}/outbox"


@contextmanager
def serving(folder: Path, *, files: int | None = None, **variables: object) -> Iterator[Served]:
    """A server of its own for one test."""
    running = start(enrolled(folder), files=files, **variables)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGCONT)
            assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


def place(served: Served) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(served.url)
    return parts.hostname or "", parts.port or 0


def call(served: Served, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(place(served), LIMIT_S, (source, 0))


def head(served: Served, method: str, path: str, *lines: str) -> bytes:
    """Return a signed request's head."""
    signed = sign_request(served.site.key, served.site.certificate, method, path, now_us())
    first = (f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {signed}")
    return ("\r\n".join((*first, *lines)) + "\r\n\r\n").encode()


def answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer off a connection."""
    held = b""
    while not held.endswith(b"\r\n\r\n"):  # byte by byte: what follows is the next answer's
        piece = sock.recv(1)
        if not piece:
            return 0, {}, held
        held += piece
    first, *lines = held[:-4].decode().split("\r\n")
    fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    body = b""
    while len(body) < int(fields["content-length"]):
        body += sock.recv(int(fields["content-length"]) - len(body))
    return int(first.split()[1]), fields, body


def say(served: Served, raw: bytes, source: str = "127.0.0.1") -> tuple[int, dict[str, str], Any]:
    with call(served, source) as sock:
        sock.sendall(raw)
        status, fields, body = answer(sock)
    return status, fields, json.loads(body) if body else None


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_flood_loses_nothing_and_is_told_to_come_back() -> None:
    with flood.world(bundles=48, sites=4, askers=4, asks_per_s_max=200) as made:
        asked: dict[str, Any] = {}
        during = flood.beside(
            lambda: asked.update(flood.flooded(made, 600, 10_000, 5.0)),
            lambda: flood.watch(made, 4.0),
        )
        assert set(during.other) <= {"no bundle is left to bring"}
        assert during.completions
        assert during.reads
        assert flood.done_tasks(made) == len(made.acknowledged) * flood.TASKS
    statuses = {key for key in asked if key.isdecimal()}
    assert {"200", "429"} <= statuses <= {"200", "429", "503"}, asked
    assert "no Retry-After" not in asked


def test_idle_and_trickling_connections_hold_up_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, connections_max=64) as served, ExitStack() as stack:
        for number in range(150):
            sock = stack.enter_context(call(served))
            if number % 2:
                sock.sendall(b"PUT /exchange/north/00 HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        began_s = time.monotonic()
        for number in range(3):
            done = served.put(served.site.report(tmp_path, sequence=number))
            assert done["disposition"] == "merged"
        assert time.monotonic() - began_s < 10


def test_with_hardly_any_files_completions_still_come_through(tmp_path: Path) -> None:
    with serving(tmp_path, files=64) as served, ExitStack() as stack:
        crowd = [stack.enter_context(call(served)) for _ in range(100)]
        for sock in crowd:
            sock.sendall(b"GET /datasets HTTP/1.1\r\nHost: x\r\n")
        for number in range(5):
            report = served.site.report(tmp_path, sequence=number)
            assert served.put(report)["disposition"] == "merged"
        assert b"Too many open files" not in served.log.read_bytes()


def test_a_crowd_of_forged_completions_holds_up_no_true_one(tmp_path: Path) -> None:
    forged = f"PUT /exchange/{SITE}/{'0' * 64} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with serving(tmp_path) as served, ExitStack() as stack:
        for number in range(900):
            sock = stack.enter_context(call(served, f"127.0.0.{2 + number % 2}"))
            sock.sendall(forged.encode())
        report = served.site.report(tmp_path, sequence=0)
        began_s = time.monotonic()
        assert served.put(report)["disposition"] == "merged"
        assert time.monotonic() - began_s < 10
        sock = stack.enter_context(call(served))
        sock.sendall(forged.encode())
        assert answer(sock)[0] == 401


def test_an_answer_that_is_lost_is_asked_for_again_and_counts_once() -> None:
    with flood.world(bundles=4, sites=1, askers=1) as made:
        (site,) = made.sites
        bundle, path = next(made.bundles[site.name])
        body, where = path.read_bytes(), f"/exchange/{site.name}/{bundle}"
        host = urllib.parse.urlsplit(made.base)

        def break_off(sent: bytes) -> None:
            lines = (f"PUT {where} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}")
            signed = f"Authorization: {site.signed('PUT', where)}"
            with socket.create_connection((host.hostname or "", host.port or 0)) as sock:
                sock.sendall("\r\n".join((*lines, signed, "", "")).encode() + sent)
                if sent == body:
                    until(lambda: flood.done_tasks(made) == flood.TASKS)
                linger = struct.pack("ii", 1, 0)  # the end is a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        for cut in (0, 1, len(body) // 2, len(body) - 1):
            break_off(body[:cut])
        until(lambda: not list((made.folder / "central/uploads").iterdir()))
        assert flood.done_tasks(made) == 0
        break_off(body)
        seen = flood.Seen()
        flood.bring_one(made, site, bundle, body, seen)
        assert (len(seen.completions), seen.other) == (1, [])
        assert flood.done_tasks(made) == flood.TASKS


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("Content-Length: 3\r\nContent-Encoding: gzip", 415, "encoding-refused"),
        ("Transfer-Encoding: chunked", 411, "length-required"),
        ("X-None: 1", 411, "length-required"),
        (f"Content-Length: {1 << 40}", 413, "body-too-large"),
    ],
)
def test_a_completion_of_a_forbidden_form_is_refused_before_its_body(
    served: Served, line: str, status: int, code: str
) -> None:
    raw = head(served, "PUT", f"/exchange/{SITE}/{'0' * 64}", line)
    found, fields, said = say(served, raw)
    assert (found, said["code"], fields["connection"]) == (status, code, "close")


def test_a_body_that_is_too_short_leaves_nothing(served: Served) -> None:
    with call(served) as sock:
        path = f"/exchange/{SITE}/{'0' * 64}"
        sock.sendall(head(served, "PUT", path, "Content-Length: 1000") + b"short")
        until(lambda: list(served.site.home.uploads.iterdir()))
    until(lambda: not list(served.site.home.uploads.iterdir()))


def test_a_spam_of_chunks_is_refused_at_once(served: Served) -> None:
    raw = head(served, "PUT", f"/exchange/{SITE}/{'0' * 64}", "Transfer-Encoding: chunked")
    status, _, said = say(served, raw + b"1\r\n.\r\n" * 5000)
    assert (status, said["code"]) == (411, "length-required")


def test_a_head_without_end_is_refused(served: Served) -> None:
    status, _, said = say(served, b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX)
    assert (status, said["code"]) == (431, "head-too-large")


def test_asks_one_behind_the_other_are_each_answered(served: Served) -> None:
    with call(served) as sock:
        sock.sendall(head(served, "GET", OUTBOX) + head(served, "GET", OUTBOX))
        first = answer(sock)
        sock.sendall(head(served, "GET", OUTBOX))
        assert [first[0], answer(sock)[0], answer(sock)[0]] == [200, 200, 200]


def test_a_connection_that_asked_may_bring_something(served: Served, tmp_path: Path) -> None:
    report = served.site.report(tmp_path, sequence=50)
    body = report.read_bytes()
    with call(served) as sock:
        sock.sendall(head(served, "GET", OUTBOX))
        assert answer(sock)[0] == 200
        path = f"/exchange/{SITE}/{report.stem}"
        sock.sendall(head(served, "PUT", path, f"Content-Length: {len(body)}") + body)
        status, fields, said = answer(sock)
    assert (status, fields["connection"]) == (200, "close")
    assert json.loads(said)["disposition"] == "merged"


def test_no_work_is_answered_while_the_server_stands_still(served: Served) -> None:
    until(lambda: served.outbox() == [])
    served.process.send_signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        assert [served.outbox() for _ in range(20)] == [[]] * 20
        assert time.monotonic() - began_s < 5
    finally:
        served.process.send_signal(signal.SIGCONT)


def test_a_submission_is_in_the_next_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.put(served.site.report(tmp_path, sequence=0, tasks_wanted=3))
        first = served.outbox()
        served.client.submit(document(3), os.urandom(8).hex())
        assert len(served.outbox()) > len(first)


def test_health_says_so_when_the_servers_loop_stands_still(tmp_path: Path) -> None:
    with serving(tmp_path) as served:

        def health() -> tuple[int, Any]:
            status, _, said = say(served, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            return status, said["ok"]

        assert health() == (200, True)
        served.process.send_signal(signal.SIGSTOP)
        until(lambda: health() == (503, False))
        served.process.send_signal(signal.SIGCONT)
        until(lambda: health() == (200, True))


def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    with serving(tmp_path, address_connections_max=5) as served, ExitStack() as stack:
        crowd = [stack.enter_context(call(served)) for _ in range(6)]
        status, fields, body = answer(crowd[-1])
        assert (status, json.loads(body)["code"]) == (429, "too-many-connections")
        assert 1 <= int(fields["retry-after"]) <= 10
        asked = head(served, "GET", OUTBOX)
        assert say(served, asked, source="127.0.0.2")[0] == 200


def test_one_site_cannot_take_all_answers(tmp_path: Path) -> None:
    with serving(tmp_path, site_asks_per_s_max=2) as served, call(served) as sock:
        found = []
        for _ in range(20):
            sock.sendall(head(served, "GET", OUTBOX))
            found.append(answer(sock))
        assert {status for status, _, _ in found} == {200, 429}
        waits = {int(f["retry-after"]) for status, f, _ in found if status == 429}
        assert len(waits) > 1  # not all at the same second
        report = served.site.report(tmp_path, sequence=0)
        assert served.put(report)["disposition"] == "merged"


def parted(served: Served) -> tuple[psutil.Process, psutil.Process]:
    """Return the reader and the door."""
    reader, door = sorted(psutil.Process(served.process.pid).children(), key=lambda one: one.pid)
    return reader, door


def door_of(served: Served) -> psutil.Process:
    return parted(served)[1]


def has_ended(door: psutil.Process) -> bool:
    return not door.is_running() or door.status() == psutil.STATUS_ZOMBIE


def test_without_its_door_the_server_takes_connections_itself(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        door_of(served).kill()
        until(lambda: "the door is gone" in served.log.read_text())
        assert served.outbox() == []
        report = served.site.report(tmp_path, sequence=0)
        assert served.put(report)["disposition"] == "merged"


def test_reads_are_answered_while_the_server_stands_still(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        dataset = served.client.submit(document(3), os.urandom(8).hex())["id"]
        paths = ["", "/counts", "/learned", "/disputes", "/attempts?limit=5", "/tasks/0/0"]
        served.process.send_signal(signal.SIGSTOP)
        try:
            found = [served.client.get(f"/datasets/{dataset}{path}") for path in paths]
            assert found[1]["steps"][0]["counts"] == {"ready": 3}
            assert [one["id"] for one in served.client.get("/datasets")["datasets"]] == [dataset]
            assert served.client.get("/sites")["sites"][0]["site"] == SITE
            with pytest.raises(Refused) as refused:
                Client(served.url, "x" * 43).get("/datasets")
            assert "unauthorised" in refused.value.text()
        finally:
            served.process.send_signal(signal.SIGCONT)
        assert parted(served)[0].is_running()


def test_a_read_sees_what_was_acknowledged_before_it(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        for number in range(1, 21):
            served.client.submit(document(number), os.urandom(8).hex())
            assert len(served.client.get("/datasets")["datasets"]) == number


def test_without_its_reader_the_server_answers_reads_itself(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        parted(served)[0].kill()
        until(lambda: has_ended(parted(served)[0]))
        for _ in range(3):
            assert served.client.get("/datasets")["datasets"] == []
        assert "the reader is gone" in served.log.read_text()
        assert served.outbox() == []


def test_a_killed_servers_reader_ends_too(tmp_path: Path) -> None:
    served = start(enrolled(tmp_path))
    reader, _ = parted(served)
    assert served.client.get("/datasets")["datasets"] == []
    assert served.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: has_ended(reader))


def test_a_bundle_that_came_is_told_without_its_body() -> None:
    with flood.world(bundles=4, sites=1, askers=1) as made:
        (site,) = made.sites
        bundle, file = next(made.bundles[site.name])
        host, body = urllib.parse.urlsplit(made.base), file.read_bytes()
        path = f"/exchange/{site.name}/{bundle}"

        def ask(method: str, at: str, *lines: str) -> socket.socket:
            sock = socket.create_connection((host.hostname or "", host.port or 0), LIMIT_S)
            signed = f"Authorization: {site.signed(method, at)}"
            raw = "\r\n".join((f"{method} {at} HTTP/1.1", "Host: x", signed, *lines, "", ""))
            sock.sendall(raw.encode())
            return sock

        held_back = (f"Content-Length: {len(body)}", "Expect: 100-continue")
        with ask("GET", f"{path}/disposition") as sock:
            assert answer(sock)[0] == 404
        with ask("PUT", path, *held_back) as sock:
            go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
            assert sock.recv(len(go_on), socket.MSG_WAITALL) == go_on
            sock.sendall(body)
            status, _, said = answer(sock)
        assert (status, json.loads(said)["disposition"]) == (200, "merged")
        with ask("GET", f"{path}/disposition") as sock:
            assert answer(sock)[::2] == (200, said)
        with ask("PUT", path, *held_back) as sock:
            assert answer(sock)[::2] == (200, said)  # not a byte of it was sent again
        with ask("PUT", path, held_back[0]) as sock:
            sock.sendall(body)  # who does not wait is heard to the end
            assert answer(sock)[::2] == (200, said)
        assert flood.done_tasks(made) == flood.TASKS


def test_a_killed_servers_door_ends_and_leaves_address_and_folder(tmp_path: Path) -> None:
    site = enrolled(tmp_path)
    first = start(site)
    door, port = door_of(first), place(first)[1]
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    site.home.address.unlink()
    again = start(site, port=port)
    assert again.outbox() == []
    assert has_ended(door)
    assert again.stop() == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_door_ignores_what_its_terminal_sends_and_ends_with_the_server(tmp_path: Path) -> None:
    served = start(enrolled(tmp_path))
    door = door_of(served)
    door.send_signal(signal.SIGINT)
    door.send_signal(signal.SIGTERM)
    assert served.outbox() == []
    assert not has_ended(door)
    assert served.stop() == 0
    assert has_ended(door)
