"""Worlds full of faults lose nothing, count nothing twice, and come to an end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bundle.ids import BundleId
from bundle.wire.manifest import bundle_id, encode
from relay import custody
from relay.carrier.contract import Answer, Outgoing
from tests.conftest import REPOSITORY
from tests.simulation import forge
from tests.simulation.courier import Courier
from tests.simulation.faults import Fault
from tests.simulation.world import Plan, World, play, world

SAMPLE = 40
CAMPAIGN = 2_000
WORLD_S = 600  # of wall time; one takes seconds
RESTORES = frozenset({Fault.RESTORED_DATABASE, Fault.RESTORED_FOLDER, Fault.SET_BACK})
DAY = int(time.time() // 86_400)  # the sample is another one every day; PULK_SEED names the first
FIRST = int(os.environ.get("PULK_SEED", DAY * SAMPLE))

Row = tuple[int, str, dict[str, int], int]  # seed, what failed, faults, attempts

fired: Counter[Fault] = Counter()


class Twins:
    """Central keeps the twin of one result that passes by, and dies; that result never comes."""

    def __init__(self, made: World) -> None:
        self._world = made
        self._real = Courier.send
        self.first: BundleId | None = None
        self.second: BundleId | None = None

    def send(self, courier: Courier, bundle: Outgoing) -> Answer | None:
        """Stand in the courier's place."""
        if self.first is None:
            with self._world.machine.apart():
                self._try(courier, bundle)
        return Answer.CARRIED if bundle.id == self.first else self._real(courier, bundle)

    def _try(self, courier: Courier, bundle: Outgoing) -> None:
        raw, center, folder = bundle.path.read_bytes(), self._world.center, self._world.folder
        manifest = forge.manifest_in(raw, folder)
        if not manifest.segments:
            return
        later_us, signer = manifest.created_us + 1, courier.site.home.signer
        twin = forge.signed_again(raw, center.trust(), signer, folder, created_us=later_us)
        named = bundle_id(encode(forge.manifest_in(twin, folder)))
        self._world.equivocated.add((manifest.stream, manifest.sequence))
        real = center._mortal
        center._mortal = lambda: Fault.CENTRAL_KILLED_COMMITTED  # type: ignore[method-assign]
        first = SimpleNamespace(randint=lambda low, _: low, choice=lambda among: among[0])
        center._chance, kept = first, center._chance  # type: ignore[assignment]
        try:
            answer = center.absorb(twin)
        finally:
            center._mortal, center._chance = real, kept  # type: ignore[method-assign]
        if answer is None and center.workings.archive.path(named).exists():
            self.first, self.second = bundle.id, named  # else it was parked: try the next


def test_a_small_world_comes_to_an_end() -> None:
    made = play(7)
    assert made.ledger.said


def _quiet(plan: Plan) -> Plan:
    return replace(
        plan, sites=1, mishaps=0.0, forging=0.0, relay_dies=0.0, central_dies=0.0, restore=""
    )  # fmt: skip


def test_a_twin_that_central_kept_and_died_over_lets_the_site_drop_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An insider's second bundle of a number is kept unanswered, the first is lost each time.

    Both say the same, and a receipt speaks of numbers: the relay is right to delete the first.
    """
    with world(7, _quiet) as made:
        twins = Twins(made)

        def send(courier: Courier, bundle: Outgoing) -> Answer | None:
            return twins.send(courier, bundle)

        monkeypatch.setattr(Courier, "send", send)
        made.run()
        archived = made.center.workings.archive
        assert twins.first is not None and twins.second is not None
        assert not archived.path(twins.first).exists() and archived.path(twins.second).exists()
        assert all(one.id != twins.first for one in custody.every_held(made.sites[0].spool))


@pytest.mark.sweeps
@pytest.mark.parametrize("seed", range(FIRST, FIRST + SAMPLE))
def test_nothing_is_lost_in_todays_worlds(seed: int) -> None:
    fired.update(play(seed).fired)


@pytest.mark.sweeps
def test_many_kinds_of_fault_happened_in_todays_worlds() -> None:
    if sum(fired.values()):  # alone, this test has seen nothing
        assert len(fired) >= 25, sorted(set(Fault) - fired.keys())


@pytest.mark.sweeps
@pytest.mark.parametrize("seed", [3, 11, 105])
def test_a_seed_makes_the_same_world_again(seed: int) -> None:
    first, second = play(seed), play(seed)
    assert first.machine.story == second.machine.story
    assert first.machine.digest() == second.machine.digest()


@pytest.mark.programs
@pytest.mark.parametrize("seed", [3, 105])
def test_a_seed_makes_the_same_world_in_another_process(seed: int) -> None:
    """Also with other hashes of strings, by which no decision may go."""
    code = f"from tests.simulation.world import play; print(play({seed}).machine.digest())"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert told[0] == told[1]


def _stands_still(*_: object) -> None:
    raise TimeoutError(f"the world stands still since {WORLD_S} s")


def _played(seed: int) -> Row:
    signal.signal(signal.SIGALRM, _stands_still)
    signal.alarm(WORLD_S)
    try:
        made: World = play(seed)
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}", {}, 0
    finally:
        signal.alarm(0)
    return seed, "", {one.name: count for one, count in made.fired.items()}, len(made.ledger.said)


@pytest.mark.campaign
def test_two_thousand_worlds_lose_nothing() -> None:
    begun_s = time.monotonic()
    rows: list[Row] = []
    report: dict[str, Any] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for row in pool.map(_played, range(CAMPAIGN), chunksize=10):
            rows.append(row)
            if len(rows) % 50 == 0 or len(rows) == CAMPAIGN:
                report = written(rows, begun_s)
    assert not report["failed"]
    assert not {one.name for one in Fault} - report["faults"].keys()
    assert report["worlds_with_a_restore"] >= CAMPAIGN // 2


def written(rows: list[Row], begun_s: float) -> dict[str, Any]:
    """Write what was played so far, so that a campaign that is cut off has said something."""
    total: Counter[str] = Counter()
    for _, _, happened, _ in rows:
        total.update(happened)
    report = {
        "worlds": len(rows),
        "failed": {seed: problem for seed, problem, _, _ in rows if problem},
        "attempts": sum(attempts for _, _, _, attempts in rows),
        "worlds_with_a_restore": sum(
            any(one.name in happened for one in RESTORES) for _, _, happened, _ in rows
        ),
        "faults": dict(sorted(total.items())),
        "seconds": round(time.monotonic() - begun_s),
    }
    folder = REPOSITORY / ".campaign"
    folder.mkdir(exist_ok=True)
    (folder / "worlds.json").write_text(json.dumps(report, indent=1))
    return report
