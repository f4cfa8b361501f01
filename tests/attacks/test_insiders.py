"""Bundles that a right key signed and that mean harm, through the real central and the real relay.

Nothing that stands in a signed bundle may end in another exception than a declared refusal, leave
central unsound, or stop a relay. The same places take the bombs, within 64 MiB.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bundle.records import lease as leases
from bundle.trust import quickstart
from bundle.trust.keys import KeyFile, Role
from central.authority import Authority
from central.fsck import fsck
from relay import chains
from relay.accept import accept_all
from relay.tick import tick
from tests.attacks import bombs, mutants, vector_trust
from tests.attacks import vector_records as records
from tests.attacks.bounded import Ready, run_bounded
from tests.attacks.mutants import Corpus
from tests.attacks.vector_parts import KEYS, Body, Made, draft, make, seed_of
from tests.central.conftest import Central
from tests.relay.world import EPOCH, World, make_world

pytestmark = pytest.mark.sweeps

SEED = int(os.environ.get("PULK_SEED", random.SystemRandom().randrange(1 << 32)))
SAMPLE = int(os.environ.get("PULK_MUTANTS", "400"))
INSIDER = (mutants.insider_chunk, mutants.insider_chunk, mutants.insider_manifest)


def central_of_vectors(folder: Path) -> Central:
    """A central that trusts the keys of the published vectors."""
    central = Central(folder)
    central.home.trust.write_bytes(vector_trust.TRUST[1])
    for name, role, seed in (
        (quickstart.CENTRAL_KEY, Role.CENTRAL, "central-1"),
        (quickstart.CENTRAL_NEXT_KEY, Role.CENTRAL, "central-2"),
        (quickstart.REGISTRAR_KEY, Role.REGISTRAR, "registrar"),
    ):
        (central.home.root / name).unlink()
        KeyFile.create(central.home.root / name, role, seed=seed_of(seed))
    central.reopen()
    central.authority.add_user("somebody", KEYS["user"].public)
    return central


def relay_of_vectors(folder: Path) -> World:
    """A relay, of the site north, that trusts the keys of the published vectors."""
    world = make_world(folder)
    world.spool.trust.write_bytes(vector_trust.TRUST[1])
    return world


def test_signed_nonsense_is_refused_or_merged_and_leaves_central_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"PULK_SEED={SEED}")
    central = central_of_vectors(tmp_path)
    corpus, said = Corpus.small(), Counter[str]()
    path = tmp_path / "mutant.pulk"
    for number in range(SAMPLE):
        rng = random.Random(f"{SEED} {number}")
        path.write_bytes(rng.choice(INSIDER)(rng.choice(corpus.bundles), corpus, rng))
        found = central.authority.absorb(path)
        assert found.text.isprintable(), number
        assert len(found.text) < 5000, number
        said[f"{found.outcome} {found.code}"] += 1
        path.unlink()
        if number % 100 == 99:
            central.authority.sites()
            central.authority.outbox("north")  # type: ignore[arg-type]
    assert said["merged "] > 10
    assert sum(said.values()) - said["merged "] > 50
    central.authority.close()
    monkeypatch.setattr("central.fsck.PROBLEMS_MAX", 1 << 20)
    found = [one for one in fsck(central.home)["problems"] if "does not follow bundle" not in one]
    assert found == []  # but for the streams, where many bundles claim one number
    central.authority = Authority.open(central.home, central.config, clock_us=central.clock)
    central.authority.close()


def decide(world: World) -> None:
    """Heed every epoch that came, as a person would: two of one number look like two centrals."""
    for epoch in chains.read(world.spool).undecided():
        chains.heed(world.spool, chains.words(epoch))
    for path in world.spool.folder("in").glob("*.pulk"):
        path.unlink()


def test_signed_nonsense_stops_no_relay(tmp_path: Path) -> None:
    print(f"PULK_SEED={SEED}")
    world = relay_of_vectors(tmp_path)
    made = [records.work(), make(draft(records.work().kind, sequence=9), *records.work().bodies)]
    corpus, done = Corpus(tuple(made)), Counter[str]()
    for number in range(SAMPLE // 2):
        rng = random.Random(f"{SEED} relay {number}")
        raw = rng.choice(INSIDER)(rng.choice(corpus.bundles), corpus, rng)
        (world.spool.folder("in") / f"{number}.pulk").write_bytes(raw)
        taken = accept_all(world.home)
        done["accepted"] += taken.bundles
        done["refused"] += taken.refused
        decide(world)
        if number % 50 == 49:
            tick(world.home)
    assert sum(done.values()) == SAMPLE // 2
    assert min(done.values()) > 5
    world.spool.trust.write_bytes(world.authority.trust.raw)
    work = world.pack(world.lease(0, [0]))
    world.deliver(work)
    assert tick(world.home).refused == 1  # its epoch has the number of the nonsense's
    chains.heed(world.spool, chains.words(EPOCH))
    world.deliver(work)
    assert tick(world.home).accepted == 1


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(5))
def test_much_signed_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(f"{__name__}.SAMPLE", 10_000)
    monkeypatch.setattr(f"{__name__}.SEED", seed)
    (tmp_path / "c").mkdir()
    (tmp_path / "r").mkdir()
    test_signed_nonsense_is_refused_or_merged_and_leaves_central_sound(tmp_path / "c", monkeypatch)
    test_signed_nonsense_stops_no_relay(tmp_path / "r")


def without_end() -> list[tuple[str, Made]]:
    """Leases that promise more than there can be."""
    value = records.canonical.decode(records.lease(), leases.LEASE_LIMITS)
    found = []
    for name, blocks in {
        "all numbers": [[0, [[0, 2**64 - 1]], list(range(100))]],
        "every job there can be": [[0, [[0, 2**32]], [0]]],
        "no job": [[0, [], []]],
        "the same job again and again": [[0, [[0, 3]], [0] * 900] for _ in range(20)],
    }.items():
        raw = records.canonical.encode(value | {"blocks": blocks})
        dataset = Body("dataset", records.DATASET, records.DOCUMENT)
        body = Body("lease", records.LEASE.hex(), raw)
        found.append((name, make(draft(records.work().kind), dataset, body)))
    return found


def dropped(folder: str) -> Ready:
    """Return what drops bombs on a central and on a relay."""
    root = Path(folder)
    (root / "c").mkdir()
    (root / "r").mkdir()
    central, world = central_of_vectors(root / "c"), relay_of_vectors(root / "r")
    good = root / "good.pulk"
    good.write_bytes(records.work().file())
    central.authority.absorb(good)
    paths = sorted((root / "bombs").iterdir())

    def act() -> dict[str, Any]:
        said: dict[str, Any] = {}
        for path in paths:
            copy, name = root / "copy.pulk", path.name
            copy.write_bytes(path.read_bytes())
            try:
                found = central.authority.absorb(copy)
                os.link(copy, world.spool.folder("in") / f"{name}.pulk")
                taken = accept_all(world.home)
            except MemoryError:
                said[name] = ["MemoryError"]
                continue
            finally:
                copy.unlink()
            said[name] = [found.outcome, found.code, taken.bundles, taken.refused]
            decide(world)
        return said

    return act


def test_bombs_are_refused_by_central_and_relay_within_64_mib(tmp_path: Path) -> None:
    folder = tmp_path / "bombs"
    folder.mkdir()
    for name, raw in bombs.bodies():
        (folder / name).write_bytes(raw)
    for name, made in without_end():
        (folder / name).write_bytes(made.file())
    said = run_bounded(dropped, tmp_path)
    assert "MemoryError" not in {row[0] for row in said.values()}, said
    can_be = {"every job there can be", "no job", "the same job again and again"}
    for name, row in said.items():
        if name not in can_be:
            assert row[0] != "merged", (name, row)
            assert row[2:] == [0, 1], (name, row)
