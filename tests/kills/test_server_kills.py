"""SIGKILL of a real `pulk central serve` at system calls of the exchange over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundle.ids import SiteName
from bundle.trust.request import sign_request
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.home import now_us
from tests.central.conftest import chain
from tests.central.scripted_site import ScriptedSite
from tests.conftest import REPOSITORY
from tests.kills.acts import DONE, JOBS, Act, ask, bringing, playing
from tests.kills.conftest import report
from tests.kills.plant import Place, Plant
from tests.kills.sweep import Point

pytestmark = pytest.mark.programs

LIMIT_S = 60.0
NEVER = 10**9
LEASED = [{"leased": JOBS}, {"leased": JOBS}]
SAMPLE = 2
EVERY = 3  # of the calls in the campaign


@dataclass(slots=True)
class Exchange:
    """Two sites and what they are about to bring: one its results, one its wish for work."""

    place: Place
    template: Plant
    north: ScriptedSite
    south: ScriptedSite
    result: Path
    wish: Path
    act: Act  # of the results

    @classmethod
    def at(cls, place: Place) -> Exchange:
        plant = place.plant()
        plant.clock.now_us = now_us()
        plant.submit(chain(JOBS))
        north, south = plant.site("north"), plant.site("south")
        played = playing(north, ask(plant, north))
        result = north.result(played)
        plant.submit(chain(JOBS, fan_in=False), "second")
        wish = south.report(100)
        plant.close()
        act = bringing([result], DONE, played)
        return cls(place, plant, north, south, result, wish, act)


@dataclass(slots=True)
class Served:
    """A copy of a central, served; `told` is what the sites were answered, in order."""

    plant: Plant
    watcher: subprocess.Popen[str]
    pid: int
    told: dict[str, Any]

    @classmethod
    def start(cls, exchange: Exchange, number: int) -> Served:
        plant = exchange.place.copy(exchange.template)
        command = [sys.executable, "-m", "tests.kills.watched", str(plant.home.root), str(number)]
        watcher = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert watcher.stdout is not None
        said = watcher.stdout.readline().split()
        log = plant.home.root.with_name("serve.log")
        assert said and said[0] == "ready", log.read_text()
        return cls(plant, watcher, int(said[1]), {})

    def talk(self, exchange: Exchange) -> None:
        """Bring and fetch, as far as the server answers."""
        steps: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("result", lambda: self._put(exchange.north, exchange.result)),
            ("wish", lambda: self._put(exchange.south, exchange.wish)),
            ("outbox", lambda: self._outbox(exchange.south)),
        )
        for name, act in steps:
            try:
                self.told[name] = act()
            except (OSError, http.client.HTTPException):
                break
        if len(self.told) == len(steps):
            os.kill(self.pid, signal.SIGTERM)

    def end(self) -> tuple[list[str], bool]:
        """Wait for its end; return its calls and whether it was killed."""
        out, _ = self.watcher.communicate(timeout=LIMIT_S)
        said = json.loads(out)
        return said["calls"], said["killed"]

    def _put(self, site: ScriptedSite, bundle: Path) -> str:
        with open_bundle(bundle, site.trust, audience=None, kinds=frozenset(Kind)) as one:
            path = f"/exchange/{site.name}/{one.id}"
        said = json.loads(self._ask(site, "PUT", path, bundle.read_bytes()))
        return str(said["disposition"])

    def _outbox(self, site: ScriptedSite) -> list[str]:
        rows = json.loads(self._ask(site, "GET", f"/exchange/{site.name}/outbox"))["bundles"]
        for row in rows:
            raw = self._ask(site, "GET", f"/exchange/{site.name}/{row['id']}")
            assert len(raw) == row["bytes"]
        return sorted(str(row["id"]) for row in rows)

    def _ask(self, site: ScriptedSite, method: str, path: str, content: bytes = b"") -> bytes:
        parts = urllib.parse.urlsplit(self.plant.home.address.read_text().strip())
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)
        signed = sign_request(site.key, site.certificate, method, path, now_us())
        try:
            connection.request(method, path, content or None, {"Authorization": signed})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, (answer.status, raw)
        return raw


def judge(exchange: Exchange, plant: Plant, told: dict[str, Any]) -> None:
    """What the sites were told is so after a new start; the rest can be brought again."""
    plant.open()
    south = SiteName("south")
    if "result" in told:
        assert told["result"] == "merged"
        exchange.act.check(plant)
        assert plant.counts()[0] == DONE
    if "outbox" in told:
        assert plant.counts()[1] == LEASED
        assert told["outbox"] == sorted(one.id for one in plant.authority.outbox(south))
    for _ in range(2):
        assert exchange.act.do(plant) == "merged"
        assert plant.bring(exchange.wish) == "merged"
        works = plant.authority.outbox(south)
    assert len(works) == 1
    exchange.act.check(plant)
    assert plant.counts() == [DONE, LEASED]
    leased = {str(row["site"]): row["tasks_leased"] for row in plant.authority.sites()}
    assert leased == {"north": 0, "south": 2 * JOBS}
    plant.close()
    found = plant.examine()
    assert (found["attempts"], found["wall_ms"]) == (exchange.act.attempts, exchange.act.wall_ms)
    exchange.place.drop(plant)


def killed_at(exchange: Exchange, number: int) -> tuple[list[str], bool]:
    """Serve a copy until its n-th call while two sites talk to it, and judge."""
    served = Served.start(exchange, number)
    try:
        served.talk(exchange)
        calls, killed = served.end()
    finally:
        served.watcher.kill()
        served.watcher.wait()
    judge(exchange, served.plant, served.told)
    return calls, killed


@pytest.mark.sweeps
def test_a_server_that_is_killed_while_sites_talk_to_it_keeps_what_it_told(
    place: Place, draw: random.Random
) -> None:
    exchange = Exchange.at(place)
    calls, killed = killed_at(exchange, NEVER)
    assert not killed
    for number in draw.sample(range(1, len(calls) // 2), SAMPLE):
        assert killed_at(exchange, number)[1]


@pytest.mark.campaign
def test_a_server_is_killed_all_over_the_exchange(place: Place) -> None:
    engine = "sqlite" if place.server is None else "postgresql"
    exchange = Exchange.at(place)
    calls, _ = killed_at(exchange, NEVER)
    struck: set[Point] = set()
    for number in range(1, len(calls), EVERY):
        its, killed = killed_at(exchange, number)
        if killed:
            struck.add((its[-1], "exchange over HTTP", its.count(its[-1]) - 1))
    report(f"server-{engine}", struck)
    assert len(struck) > 50
