"""Who the radio lets in, and that nothing said to it does harm."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import psutil
import pytest

from bundle.ids import LeaseId, PilotRun
from bundle.radio import curve, messages
from bundle.radio.address import Address
from bundle.radio.messages import Word
from bundle.spool import publish
from bundle.spool.layout import FOLDERS, ShardName, Spool
from relay.radio import look
from tests.radio.running import address, claim_in, speaker, station, until
from tests.relay.world import World, make_world

pytestmark = pytest.mark.programs

IPC = '[radio]\nlisten = "ipc"\n[pilots]\ncount = 0\n'
TCP = '[radio]\nlisten = "tcp://127.0.0.1:*"\n[pilots]\ncount = 0\n'


def here(world: World) -> Address:
    found = address(world)
    assert found is not None
    return found


@pytest.mark.parametrize("config", [IPC, TCP], ids=["ipc", "tcp"])
def test_a_pilot_whose_claim_holds_its_key_is_let_in_and_no_other(
    tmp_path: Path, config: str
) -> None:
    world = make_world(tmp_path, config)
    other = Spool(tmp_path / "other")
    for name in FOLDERS:
        publish.make_folder(other.folder(name))
    with station(world):
        found = here(world)
        secret, stranger = curve.new_secret(), curve.new_secret()
        run = claim_in(world.spool, curve.public_of(secret))
        claim_in(other, curve.public_of(stranger))  # a pilot of another spool
        with speaker(found, secret) as pilot, speaker(found, stranger) as another:
            assert pilot.greet()
            assert not another.greet(8.0)
            assert another.heard == []
            heard = look.look(world.home)
            assert heard is not None
            assert [seen.pilot_run for seen, _ in heard.pilots or ()] == [run]
        wrong = Address(found.site, found.endpoint, os.urandom(32), 0, (1, 1))
        with speaker(wrong, secret) as pilot:  # whoever answers there is not whom it believes
            assert not pilot.greet(3.0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_claim_that_another_user_wrote_lets_nobody_in(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world):
        secret = curve.new_secret()
        run = claim_in(world.spool, curve.public_of(secret))
        os.chown(world.spool.claim(run), 65534, 65534)
        with speaker(here(world), secret) as pilot:
            assert not pilot.greet(8.0)


def test_a_pilot_whose_claim_is_gone_is_let_in_no_more(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world):
        secret = curve.new_secret()
        run = claim_in(world.spool, curve.public_of(secret))
        with speaker(here(world), secret) as pilot:
            assert pilot.greet()
        publish.remove(world.spool.claimed(run))
        with speaker(here(world), secret) as pilot:
            assert not pilot.greet(8.0)


def test_a_connection_cannot_use_the_ticket_of_another(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world):
        found = here(world)
        secrets = [curve.new_secret(), curve.new_secret()]
        for secret in secrets:
            claim_in(world.spool, curve.public_of(secret))
        with speaker(found, secrets[0]) as one, speaker(found, secrets[1]) as two:
            assert one.greet()
            assert two.greet()
            two.say(messages.pack(Word.WANT, one.ticket))
            assert two.hear(Word.OFFER, 2.0) is None
            two.say(messages.pack(Word.WANT, two.ticket))
            assert two.hear(Word.OFFER) is not None


def test_garbage_from_strangers_and_from_pilots_leaves_the_others_served(tmp_path: Path) -> None:
    world = make_world(tmp_path, TCP)
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    chance = random.Random(seed)
    with station(world) as process:
        found = here(world)
        host, port = found.endpoint.removeprefix("tcp://").rsplit(":", 1)
        secrets = [curve.new_secret(), curve.new_secret()]
        for secret in secrets:
            claim_in(world.spool, curve.public_of(secret))
        with speaker(found, secrets[0]) as good, speaker(found, secrets[1]) as bad:
            assert good.greet()
            assert bad.greet()
            memory = psutil.Process(process.pid).memory_info().rss
            for _ in range(150):  # whoever reaches the port
                with socket.create_connection((host, int(port)), timeout=10) as one:
                    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(47)
                    start = greeting if chance.random() < 0.5 else b""
                    one.sendall(start + chance.randbytes(chance.randrange(2000)))
            for number in range(3000):  # a pilot that went mad
                word = chance.choice([*Word, 99])
                ticket = bad.ticket if chance.random() < 0.8 else chance.randbytes(8)
                body = chance.randbytes(chance.randrange(60))
                if number % 3 == 0:
                    body = b"\x82\xa5taken\xc3\xa5shard" + body
                more = [b"more"] * chance.randrange(3)
                bad.say(bytes((1, int(word))) + ticket + body, *more)
            bad.say(bytes(messages.FRAME_BYTES_MAX))
            good.say(messages.pack(Word.WANT, good.ticket))
            assert good.hear(Word.OFFER) is not None
            assert process.poll() is None
            assert psutil.Process(process.pid).memory_info().rss - memory < 64 << 20
            assert look.look(world.home) is not None


def test_a_shard_is_named_to_one_pilot_and_at_once_when_it_is_offered(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    names = [ShardName(LeaseId(bytes([n]) * 16), 1) for n in range(2)]
    with station(world) as process:
        secrets = [curve.new_secret() for _ in range(3)]
        for secret in secrets:
            claim_in(world.spool, curve.public_of(secret))
        found = here(world)
        with (
            speaker(found, secrets[0]) as one,
            speaker(found, secrets[1]) as two,
            speaker(found, secrets[2]) as three,
        ):
            told = []
            for pilot in (one, two, three):
                assert pilot.greet()
                pilot.say(messages.pack(Word.WANT, pilot.ticket))
                assert messages.read_offer(pilot.hear(Word.OFFER) or b"") == ()
            for name in names:
                world.spool.claimable(name).write_bytes(b"shard")
            assert process.stdin is not None
            process.stdin.write(b".")
            process.stdin.flush()
            for pilot in (one, two):
                told += messages.read_offer(pilot.hear(Word.OFFER) or b"")
            assert sorted(map(str, told)) == sorted(map(str, names))
            assert three.hear(Word.OFFER, 1.5) is None
            one.say(messages.took(str(told[0]), one.ticket, taken=False))
            assert messages.read_offer(three.hear(Word.OFFER) or b"") == (told[0],)


def test_what_is_new_in_the_spool_is_told_at_once(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world):
        secret = curve.new_secret()
        claim_in(world.spool, curve.public_of(secret))
        with speaker(here(world), secret) as pilot:
            assert pilot.greet()
            world.spool.tombstones.write_text(f"{world.dataset_id}\nnot a dataset\n")
            news = messages.read_news(pilot.hear(Word.NEWS, 5.0) or b"")
            assert (news.gone, news.drains) == ((world.dataset_id,), False)
            world.spool.called_off.write_text(f"{bytes(16).hex()}\nno lease\n00\n")
            assert messages.read_news(pilot.hear(Word.NEWS, 5.0) or b"").off == (bytes(16),)
            world.spool.drain.touch()
            assert messages.read_news(pilot.hear(Word.NEWS, 5.0) or b"").drains
        with speaker(here(world), secret) as pilot:  # who comes later is told what still holds
            assert pilot.greet()
            news = messages.read_news(pilot.hear(Word.NEWS, 5.0) or b"")
            assert (news.gone, news.drains) == ((world.dataset_id,), True)
            assert news.off == (bytes(16),)


def test_the_newer_of_two_is_heard_and_the_older_leaves_its_address_alone(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world):
        first = here(world)
        with station(world):
            second = until("the newer address", lambda: here(world) != first and here(world))
            assert second.server_key != first.server_key
        until("it to be taken away", lambda: address(world) is None)


def test_a_radio_ends_with_who_started_it_and_takes_its_address_along(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world) as process:
        secret = curve.new_secret()
        claim_in(world.spool, curve.public_of(secret))
        with speaker(here(world), secret) as pilot:
            assert pilot.greet()
            assert process.stdin is not None
            process.stdin.close()
            assert pilot.hear(Word.BYE) is not None
        assert process.wait(20) == 0
        assert address(world) is None
        assert not list(world.spool.root.glob("radio*"))


def test_a_pilot_is_known_by_its_run_however_it_calls_itself(tmp_path: Path) -> None:
    world = make_world(tmp_path, IPC)
    with station(world):
        secret = curve.new_secret()
        run = claim_in(world.spool, curve.public_of(secret), PilotRun(b"\0" * 8))
        with speaker(here(world), secret) as pilot:
            assert pilot.greet()
            heard = look.look(world.home)
            assert heard is not None
            assert [seen.pilot_run for seen, _ in heard.pilots or ()] == [run]
