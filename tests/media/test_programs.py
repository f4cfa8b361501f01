"""The relay's and central's ends of a stick: custody, parts, gaps, exit codes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from bundle.media import eject
from bundle.media.errors import CustodyHeld
from bundle.media.parts import split
from bundle.wire.manifest import Kind
from relay import custody
from relay.cli import command
from relay.core.custody import Place
from relay.exchange import export_to, import_from
from relay.status import status
from relay.tick import tick
from tests.media.drill import BulkyPilot
from tests.relay.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An enrolled site that starts no pilots by itself."""
    return make_world(tmp_path)


def with_results(world: World, jobs: int = 6) -> None:
    """Let a pilot work through one bundle of one shard."""
    world.deliver(world.pack(world.lease(0, range(jobs))))
    tick(world.home)
    pilot = BulkyPilot.start(world.spool)
    while (header := pilot.take()) is not None:
        pilot.seal(header, pilot.journal(header, pilot.jobs(header))[1])


def places(world: World, kind: Kind) -> list[Place]:
    """Where the bundles of a kind lie."""
    return [one.place for one in custody.every_held(world.spool) if one.kind is kind]


def relay(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Run `pulk relay ... --json`."""
    code = command([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_result_counts_as_sent_once_its_last_part_was_read_back(
    world: World, tmp_path: Path
) -> None:
    with_results(world)
    sticks = []
    while places(world, Kind.RESULT) != [Place.SENT]:
        sticks.append(tmp_path / f"stick-{len(sticks)}")
        sticks[-1].mkdir()
        done = export_to(world.home, sticks[-1], size_bytes=45_000, part_bytes=16_000)
        left = [one for one in done.filled.left if one.ware.facts.kind is Kind.RESULT]
        assert bool(left) == (places(world, Kind.RESULT) != [Place.SENT])
        assert len(sticks) < 8
    assert len(sticks) > 1
    names = [path.name for stick in sticks for path in stick.glob("*-p*.pulk")]
    assert len(names) == len(set(names)) > 2


def test_only_centrals_word_frees_a_result(world: World, tmp_path: Path) -> None:
    with_results(world)
    stick = tmp_path / "stick"
    stick.mkdir()
    export_to(world.home, stick)
    checked = eject.check(stick, eject.read_card(stick).rows)
    for place in ("out", "sent"):
        with pytest.raises(CustodyHeld):
            eject.free(stick, world.spool.folder(place), checked)
    assert places(world, Kind.RESULT) == [Place.SENT]


def test_parts_of_a_work_bundle_wait_in_the_spool(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [random.Random(n).randbytes(4000) for n in range(4)]
    whole = world.pack(world.lease(0, [0]), data=data)
    out = tmp_path / "parts"
    out.mkdir()
    parts = [part.path for part in split(whole, out, whole.stat().st_size - 1)]
    assert len(parts) > 1
    for number, part in enumerate(parts):
        stick = tmp_path / f"stick-{number}"
        stick.mkdir()
        part.rename(stick / f"PULK{number}.PUL")
        code, said = relay(capsys, "import", world.home.folder, stick)
        is_last = number == len(parts) - 1
        assert (code, said["shards"]) == (0, int(is_last))
        assert status(world.home)["parts"] == int(not is_last)


def test_what_is_refused_ends_with_one_and_what_is_for_others_does_not(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    other = world.pack(world.lease(0, [0]), audience="south")
    other.rename(stick / other.name)
    code, said = relay(capsys, "import", world.home.folder, stick)
    assert (code, said["refused"], said["came"][0]["became"]) == (0, 0, "elsewhere")
    assert not list(world.spool.folder("quarantine").iterdir())
    (stick / "bad.pulk").write_bytes(b"bad")
    code, said = relay(capsys, "import", world.home.folder, stick)
    assert (code, said["refused"]) == (1, 1)
    assert [row["code"] for row in status(world.home)["quarantine"]] == ["bad-magic"]


def test_status_shows_which_of_centrals_numbers_have_not_arrived(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    paths = [world.pack(receipts=()) for _ in range(6)]
    for number in (0, 4, 5):
        paths[number].rename(stick / paths[number].name)
    import_from(world.home, stick)
    _, said = relay(capsys, "status", world.home.folder)
    assert said["central"]["gaps"] == {world.stream.hex(): [[1, 3]]}
    command(["status", str(world.home.folder)])
    assert "1-3 have not arrived" in capsys.readouterr().out
