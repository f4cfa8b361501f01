"""Carriers: the same custody over HTTP and over a directory, and what may lie between."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bundle.ids import BundleId
from bundle.patience import Patience
from bundle.trust.request import check_request
from relay import custody
from relay.carrier.contract import Answer, Carrier, Outgoing
from relay.carrier.directory import DirectoryCarrier, MediumFailed
from relay.carrier.http import HttpCarrier, Standing
from relay.core.custody import Place
from relay.errors import CarryFailed
from relay.exchange import export_to, import_from
from relay.home import open_home
from relay.tick import tick
from tests.relay.world import SITE, World
from tests.testbed.loopback import listening

Reply = tuple[int, str, bytes]
Behave = Callable[[str, str, bytes], Reply]


class Door:
    """What a relay finds where central should be; checks every request's signature."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.taken: dict[str, bytes] = {}
        self.outbox: dict[str, bytes] = {}
        self.behave: Behave = self.as_central

    def as_central(self, method: str, path: str, body: bytes) -> Reply:
        name = path.rsplit("/", 1)[-1]
        if method == "PUT":
            self.taken[name] = body
            return 200, "application/json", b'{"disposition": "merged"}'
        if name == "disposition":
            status = 200 if path.split("/")[-2] in self.taken else 404
            return status, "application/json", b'{"disposition": "merged"}'
        if name == "outbox":
            rows = [
                {"id": one, "bytes": len(raw), "sequence": n}
                for n, (one, raw) in enumerate(self.outbox.items())
            ]
            return 200, "application/json", json.dumps({"bundles": rows}).encode()
        return 200, "application/octet-stream", self.outbox[name]


@contextmanager
def serving(door: Door) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            check_request(
                self.headers["Authorization"],
                door.world.trust(),
                self.command,
                self.path,
                now_us=time.time_ns() // 1000,
                skew_max_us=60_000_000,
            )
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, answer = door.behave(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status in (429, 503):
                self.send_header("Retry-After", "2")
            if status in (301, 302):
                self.send_header("Location", answer.decode())
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = _do  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as url:
        yield url


@pytest.fixture
def door(world: World) -> Iterator[Door]:
    """A door that behaves as central; the site's relay.toml names it."""
    found = Door(world)
    with serving(found) as url:
        path = world.home.folder / "relay.toml"
        path.write_text(path.read_text() + f'[central]\nurl = "{url}"\ntimeout_s = 2\n')
        world.home = open_home(world.home.folder)
        yield found


def always(reply: Reply) -> Behave:
    return lambda *_: reply


def with_result(world: World, door: Door) -> None:
    path = world.pack(world.lease(0, [0]))
    door.outbox[path.stem] = path.read_bytes()
    assert tick(world.home).accepted == 1
    world.pilot().work_through()


def test_work_comes_and_results_go_over_http(world: World, door: Door) -> None:
    with_result(world, door)
    assert tick(world.home).sent == 3  # the result, its telemetry, a report
    assert len(door.taken) == 4
    assert [path.name[9:73] in door.taken for path in world.out("sent")] == [True]
    path = world.pack(receipts=world.receipts(world.read(world.out("sent")[0])))
    door.outbox[path.stem] = path.read_bytes()
    assert tick(world.home).accepted == 1
    assert not world.out("sent")


def test_a_bundle_is_fetched_once(world: World, door: Door) -> None:
    with_result(world, door)
    assert tick(world.home).fetched == 0


LOGIN = b"<html>Welcome! Please log in.</html>"


@pytest.mark.parametrize(
    "reply",
    [
        (200, "text/html", LOGIN),
        (200, "application/json", b"[]"),
        (200, "application/json", b'{"disposition": "great"}'),
        (302, "text/plain", b"http://127.0.0.1:1/login"),
        (404, "application/json", b'{"code": "x", "what": "y"}'),
        (500, "text/plain", b"oh"),
        (200, "application/json", b'{"disposition": "merged"' + b" " * (2 << 20) + b"}"),
    ],
    ids=["portal", "array", "word", "redirect", "not-found", "error", "endless"],
)
def test_an_answer_that_is_not_centrals_sends_and_frees_nothing(
    world: World, door: Door, reply: Reply
) -> None:
    with_result(world, door)
    door.behave = always(reply)
    done = tick(world.home)
    assert (done.sent, done.fetched) == (0, 0)
    assert done.trouble
    assert world.results(world.out("out"))
    door.behave = door.as_central
    assert tick(world.home).sent == 3


def test_a_busy_central_gets_the_whole_bundle_again_after_the_wait_it_asked_for(
    world: World, door: Door, tmp_path: Path
) -> None:
    waits: list[float] = []
    answers: list[Reply] = [(429, "text/plain", b"come back"), (503, "text/plain", b"busy")]
    bodies: list[bytes] = []

    def behave(method: str, path: str, body: bytes) -> Reply:
        bodies.append(body)
        return answers.pop(0) if answers else door.as_central(method, path, body)

    door.behave = behave
    (tmp_path / "bundle").write_bytes(b"x" * 300_000)
    home = world.home
    patience = Patience(30, waits.append)
    standing = Standing(home.site, home.signer, home.certificate)
    carrier = HttpCarrier(home.config.central.url, standing, 2, patience=patience)
    sent = Outgoing(BundleId("ab" * 32), tmp_path / "bundle")
    assert carrier.send(sent) is Answer.MERGED
    assert bodies == [b"x" * 300_000] * 3
    assert len(waits) == 2
    assert all(2 <= wait <= 3 for wait in waits)
    answers += [(503, "text/plain", b"busy")] * 9
    with pytest.raises(CarryFailed) as failed:
        carrier.send(sent)
    assert failed.value.fields["retry_after_s"] == 2
    assert len(waits) == 5


def test_a_bundle_that_was_sent_before_is_asked_for_first(
    world: World, door: Door, tmp_path: Path
) -> None:
    known: dict[str, bytes] = {}
    asked: list[tuple[str, int]] = []

    def behave(method: str, path: str, body: bytes) -> Reply:
        asked.append((method, len(body)))
        if method == "PUT":
            known[f"{path}/disposition"] = body
        elif path not in known:
            return 404, "application/json", b"{}"
        return 200, "application/json", b'{"disposition": "merged"}'

    door.behave = behave
    (tmp_path / "bundle").write_bytes(b"x" * 1000)
    home = world.home
    standing = Standing(home.site, home.signer, home.certificate)
    carrier = HttpCarrier(home.config.central.url, standing, 2)
    first = Outgoing(BundleId("ab" * 32), tmp_path / "bundle")
    again = replace(first, again=True)
    answers = [carrier.send(one) for one in (again, again, first)]
    assert answers == [Answer.MERGED] * 3
    assert asked == [("GET", 0), ("PUT", 1000), ("GET", 0), ("PUT", 1000)]


def test_merged_over_http_is_no_receipt(world: World, door: Door) -> None:
    with_result(world, door)
    for _ in range(3):
        tick(world.home)
    assert len(world.results(world.out("sent"))) == 1


def test_what_somebody_on_the_way_took_is_sent_again(world: World, door: Door) -> None:
    path = world.home.folder / "relay.toml"
    path.write_text(path.read_text() + "[carry]\nresend_unanswered_after_s = 0\n")
    world.home = open_home(world.home.folder)
    with_result(world, door)
    carried = (200, "application/json", b'{"disposition": "carried"}')
    door.behave = lambda m, p, b: carried if m == "PUT" else door.as_central(m, p, b)
    tick(world.home)
    (held,) = [h for h in custody.every_held(world.spool) if h.kind == "result"]
    assert (held.place, held.answered) == (Place.SENT, False)
    door.behave = door.as_central
    tick(world.home)
    assert held.id in door.taken


def test_no_central_at_all_stops_nothing_at_the_site(world: World, door: Door) -> None:
    with_result(world, door)

    door.behave = always((503, "text/plain", b"busy"))
    done = tick(world.home)
    assert done.trouble
    assert done.results == 2


def test_an_outbox_with_names_that_are_no_ids_brings_nothing(world: World, door: Door) -> None:
    rows = [
        {"id": "../../etc/passwd", "bytes": 5, "sequence": 0},
        {"id": "A" * 64, "bytes": 5, "sequence": 0},
        {"id": "a" * 64, "bytes": -5, "sequence": 0},
    ]
    answer = json.dumps({"bundles": rows}).encode()
    door.behave = always((200, "application/json", answer))
    carrier = http(world, door)
    assert not list(carrier.fetch(nothing_known, world.spool.folder("in")))


def test_a_bundle_longer_than_it_said_is_dropped(world: World, door: Door) -> None:
    path = world.pack(world.lease(0, [0]))
    raw = path.read_bytes()
    rows = [{"id": path.stem, "bytes": len(raw), "sequence": 0}]
    outbox = json.dumps({"bundles": rows}).encode()
    door.behave = lambda _, p, __: (200, "x", outbox if p.endswith("outbox") else raw + b"more")
    with pytest.raises(CarryFailed):
        list(http(world, door).fetch(nothing_known, world.spool.folder("in")))
    assert not world.out("in")


def nothing_known(_bundle: BundleId, _size_bytes: int = 0) -> bool:
    return False


def http(world: World, door: Door) -> Carrier:
    url = world.home.config.central.url
    return HttpCarrier(url, Standing(SITE, world.home.signer, world.home.certificate), 2.0)


# ---- directory


def test_the_loop_by_stick_alone(world: World, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    path = world.pack(world.lease(0, [0]))
    path.rename(stick / path.name)
    (stick / "holiday.jpg").write_bytes(b"x")
    (stick / "half.pulk").write_bytes((stick / path.name).read_bytes()[:100])
    done = import_from(world.home, stick)
    assert (done.bundles, done.shards, done.refused) == (1, 1, 1)
    world.pilot().work_through()
    back = tmp_path / "back"
    back.mkdir()
    assert export_to(world.home, back).bundles == 3
    assert export_to(world.home, back).bundles == 1  # only a new report
    arrived = [world.read(one) for one in back.glob("*.pulk")]
    assert len(world.results(back.glob("*.pulk"))) == 1
    assert len(world.results(world.out("sent"))) == 1  # copied is not safe
    path = world.pack(receipts=world.receipts(*arrived))
    path.rename(stick / path.name)
    import_from(world.home, stick)
    assert not world.out("sent")


def test_a_lost_stick_is_filled_again(world: World, tmp_path: Path) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    for name in ("lost", "next"):
        (tmp_path / name).mkdir()
    export_to(world.home, tmp_path / "lost")
    export_to(world.home, tmp_path / "next", again=True)
    again = world.results((tmp_path / "next").glob("*.pulk"))
    assert len({one.id for one in again}) == 1
    assert len(again) == 2  # a second copy, now that the first was lost


def test_a_stick_that_cannot_be_written_frees_nothing(world: World, tmp_path: Path) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    full = tmp_path / "full"
    full.write_text("not a folder")
    with pytest.raises(MediumFailed):
        export_to(world.home, full)
    assert len(world.results(world.out("out"))) == 1


def test_a_copy_is_read_back_and_an_earlier_part_is_replaced(world: World, tmp_path: Path) -> None:
    tick(world.home)
    (held,) = custody.every_held(world.spool)
    path = world.spool.folder("out") / custody.file_name(held)
    (tmp_path / f"{held.id}.part").write_bytes(b"torn")
    (tmp_path / f"{held.id}.pulk").write_bytes(b"damaged")
    carrier = DirectoryCarrier(tmp_path, None)
    assert carrier.send(Outgoing(BundleId(held.id), path)) is Answer.COPIED
    assert (tmp_path / f"{held.id}.pulk").read_bytes() == path.read_bytes()
    assert not (tmp_path / f"{held.id}.part").exists()


def test_a_medium_that_is_not_there_is_refused_and_nothing_counts_as_sent(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(MediumFailed):
        export_to(world.home, tmp_path / "unmounted")
    assert not (tmp_path / "unmounted").exists()
    assert not any(world.spool.folder("sent").iterdir())
