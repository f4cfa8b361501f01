"""The attack goals that TUF lists, and freezing without a clock, each against a real relay.

What cannot be prevented across an air gap (withholding, slowness) must be bounded and told.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.ids import StreamId
from bundle.trust import trust_file
from bundle.trust.keys import MemoryKey, Signer
from bundle.trust.trust_file import Revocation, TrustView
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from relay import quarantine, state
from relay.accept import accept_all
from relay.home import open_home
from relay.tick import tick
from tests.attacks.state import relay_state, settled_world
from tests.attacks.vector_parts import Body, Made, draft, make
from tests.relay.world import EPOCH, SITE, World

pytestmark = pytest.mark.sweeps

DAY_S = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    return settled_world(tmp_path)


def codes(world: World) -> list[str]:
    return sorted(one.code for one in quarantine.every(world.spool))


def put(world: World, raw: bytes, name: str = "x.pulk") -> None:
    (world.spool.folder("in") / name).write_bytes(raw)


def signed_by(world: World, signer: Signer, proof: bytes = b"") -> Made:
    lease = Body("lease", "l", b"\x80")
    return make(replace(draft(Kind.WORK), audience=SITE), lease, by=[(signer, proof)])


def test_arbitrary_installation_nothing_runs_that_central_did_not_sign(world: World) -> None:
    before = relay_state(world)
    authority, home = world.authority, world.home
    for number, (signer, proof) in enumerate(
        (
            (MemoryKey(b"x" * 32), b""),
            (home.signer, home.certificate),
            (authority.registrar, b""),
            (authority.root, b""),
        )
    ):
        put(world, signed_by(world, signer, proof).file(), f"{number}.pulk")
    unsigned = signed_by(world, authority.central)
    put(world, replace(unsigned, signatures=b"\x90").file(), "unsigned.pulk")
    assert accept_all(home).refused == 5
    assert relay_state(world) == before
    assert not world.out("work", "claimable")
    assert codes(world) == ["key-not-allowed"] * 3 + ["malformed-bundle", "unknown-key"]


def test_extraneous_dependencies_nothing_comes_along_that_is_not_listed(world: World) -> None:
    made = make(replace(draft(Kind.WORK), audience=SITE), Body("data", "d", b"wanted"))
    more = Body("data", "e", b"planted", records=0)
    put(world, made.file() + b"planted", "0.pulk")
    put(world, made.with_bodies(*made.bodies, more).file(), "1.pulk")
    put(world, made.with_bodies(more).file(), "2.pulk")
    world.deliver(world.pack(world.lease(0, [0], needs=(7,))))  # needs what is not in it
    stranger = replace(world.lease(0, [0]), dataset_digest=b"x" * 32)  # of another document
    world.deliver(world.pack(stranger))
    before = relay_state(world)
    assert accept_all(world.home).refused == 5
    assert relay_state(world) == before
    assert "work-refused" in codes(world)
    assert not world.out("data", "work", "claimable")


def test_wrong_software_installation_another_sites_work_is_not_run(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), audience="south"))
    mine, other = world.pack(world.lease(0, [0])), world.pack(world.lease(1, [1]))
    put(world, other.read_bytes()[:200] + mine.read_bytes()[200:], mine.name)
    assert accept_all(world.home).refused == 2
    assert "wrong-audience" in codes(world)
    put(world, mine.read_bytes(), other.name)  # a name claims nothing: content decides
    assert accept_all(world.home).bundles == 1
    assert [path.name for path in world.out("work")] == [mine.stem]


def check(path: Path, trust: TrustView) -> None:
    with open_bundle(path, trust, audience=SITE, kinds=frozenset({Kind.WORK})) as found:
        found.check_all()


def test_mix_and_match_parts_of_a_thousand_pairs_never_pass(world: World) -> None:
    files = [world.pack(world.lease(0, [n]), data=[b"input %02d" % n]) for n in range(40, 99)]
    by_size: dict[int, list[bytes]] = {}
    for raw in (path.read_bytes() for path in files):
        by_size.setdefault(len(raw), []).append(raw)
    size = max(by_size, key=lambda one: len(by_size[one]))
    raws = by_size[size][:32]  # of one size, so that every cut gives a file of the right one
    rng, path, trust = random.Random(11), world.root / "mixed.pulk", world.home.trust()
    tried, before = 0, relay_state(world)
    for one in raws:
        for two in raws:
            if one is two:
                continue
            at, end = sorted((rng.randrange(34, size), rng.randrange(34, size + 1)))
            mixed = one[:at] + two[at:end] + one[end:]
            tried += 1
            if mixed in (one, two):
                continue
            path.write_bytes(mixed)
            with pytest.raises(BundleRefused):
                check(path, trust)
            if tried % 50 == 0:
                put(world, mixed)
                assert accept_all(world.home).refused == 1
    assert tried == len(raws) * (len(raws) - 1) > 900
    assert relay_state(world) == before


def test_rollback_a_hundred_old_bundles_start_nothing_again(world: World) -> None:
    files = [world.pack(world.lease(0, [0])) for _ in range(100)]
    for path in files:
        world.deliver(path)
    assert tick(world.home).accepted == 100
    pilot = world.pilot()
    assert pilot.work_through() == 100
    pilot.end()
    tick(world.home)
    arrived = [world.read(path) for path in world.out("out")]
    world.deliver(world.pack(receipts=world.receipts(*arrived)))
    assert tick(world.home).retired == 100
    for path in random.Random(2).sample(files, 100):
        world.deliver(path)
    tick(world.home)
    assert not world.out("claimable", "work", "in")


def test_rollback_an_older_trust_file_and_older_rules_change_nothing(world: World) -> None:
    first = world.authority.trust
    second = trust_file.encode(replace(first, version=2, raw=b""), [world.authority.root])
    world.deliver(world.pack(trust=trust_file.encode_chain([second])))
    assert accept_all(world.home).bundles == 1
    old = trust_file.encode_chain([first.raw])
    world.deliver(world.pack(trust=old))
    assert accept_all(world.home).bundles == 1
    assert world.home.trust().version == 2
    assert not state.read_refusals(world.spool)


def test_fast_forward_the_largest_numbers_block_nothing(world: World) -> None:
    top = 2**63 - 1
    far = trust_file.encode(
        replace(world.authority.trust, version=top, raw=b""), [world.authority.root]
    )
    chain = trust_file.encode_chain([far])
    world.deliver(world.pack(world.lease(0, [0]), sequence=top, trust=chain))
    assert accept_all(world.home).shards == 1
    assert world.home.trust().version == 1
    world.deliver(world.pack(world.lease(1, [1])))
    assert accept_all(world.home).shards == 1
    following = trust_file.encode(
        replace(world.authority.trust, version=2, raw=b""), [world.authority.root]
    )
    world.deliver(world.pack(trust=trust_file.encode_chain([following])))
    assert accept_all(world.home).bundles == 1
    assert world.home.trust().version == 2


def test_malicious_mirrors_that_spoil_updates_keep_none_out(world: World) -> None:
    """A carrier brings garbage, pages, cut and altered copies for days; another brings it whole."""
    path = world.pack(world.lease(0, [0]))
    raw, rng = path.read_bytes(), random.Random(5)
    brought = set()
    for number in range(60):
        spoilt = (
            b"<html>Welcome! Please log in.</html>",
            b"",
            rng.randbytes(900),
            raw[: rng.randrange(len(raw))],
            raw[:700] + rng.randbytes(9) + raw[709:],
        )[number % 5]
        name = path.name if number % 2 else f"{number}.pulk"
        put(world, spoilt, name)
        brought.add((name, spoilt))
        assert accept_all(world.home).refused == 1
        tick(world.home)
    assert len(codes(world)) == len(brought) == 50  # the same again is kept once
    world.deliver(path)
    assert tick(world.home).accepted == 1
    assert len(world.out("claimable")) == 1


@contextmanager
def trickling(say: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server that answers a byte at a time for as long as anybody listens."""
    server, over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    server.settimeout(0.05)

    def answer(client: socket.socket) -> None:
        with client:
            client.sendall(say(client.recv(65_536)))
            while not over.wait(0.02):
                client.sendall(b" ")

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = server.accept()
                answer(client)
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        server.close()


@pytest.mark.parametrize("status_line", ["200 OK", "503 Busy"])
def test_slow_retrieval_is_given_up_and_stops_nothing_at_the_site(
    world: World, monkeypatch: pytest.MonkeyPatch, status_line: str
) -> None:
    monkeypatch.setattr("relay.carrier.talking.SLOWEST_BYTES_PER_S", 1 << 40)
    monkeypatch.setattr("relay.carrier.talking.ERROR_S", 0.3)
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    world.pilot().work_through()
    head = f"HTTP/1.1 {status_line}\r\nContent-Length: 900000\r\n\r\n".encode()
    with trickling(lambda _: head) as url:
        path = world.home.folder / "relay.toml"
        path.write_text(path.read_text() + f'[central]\nurl = "{url}"\ntimeout_s = 0.3\n')
        world.home = open_home(world.home.folder)
        done = tick(world.home)
    assert done.trouble
    assert done.collected == 1
    assert len(world.results(world.out("out"))) == 1


def test_key_compromise_a_stolen_central_key_ends_with_the_next_trust(world: World) -> None:
    authority = world.authority
    stolen, following = authority.central, authority.central_next
    world.deliver(world.pack(world.lease(0, [0])))
    assert accept_all(world.home).shards == 1
    thief = trust_file.encode(
        replace(authority.trust, version=2, centrals=(stolen.public,), raw=b""), [stolen]
    )
    world.deliver(world.pack(trust=trust_file.encode_chain([thief])))  # changes its own standing?
    accept_all(world.home)
    assert world.home.trust().version == 1
    revoked = replace(authority.trust, version=2, revocations=(Revocation(stolen.public),), raw=b"")
    chain = trust_file.encode_chain([trust_file.encode(revoked, [authority.root])])
    world.authority = replace(authority, central=following)
    world.deliver(world.pack(trust=chain))
    assert accept_all(world.home).bundles == 1
    world.authority = replace(authority, central=stolen)
    for stream in (world.stream, StreamId(b"n" * 16)):
        world.deliver(world.pack(world.lease(0, [5]), stream=stream, epoch=EPOCH))
    assert accept_all(world.home).refused == 2
    assert codes(world) == ["revoked-key"] * 2
    world.authority = replace(authority, central=following)
    world.deliver(world.pack(world.lease(0, [6])))
    assert accept_all(world.home).shards == 1
