"""Two servers of one central at work at once, while servers and database are killed under them."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.scripted_site import ScriptedSite
from bundle.client import Client
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.records import lease as leases
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.errors import DatabaseBusy, DatabaseTrouble
from central.fsck import fsck
from central.home import Home
from central.http.errors import answer_of
from central.rehearsal.programs import Program
from tests.central.store.conftest import Engine
from tests.testbed import several
from tests.testbed.postgresql import Server

pytestmark = pytest.mark.programs

TASKS = 1_200
SETTINGS = "[planner]\nbundle_tasks_max = 100\nshard_tasks_max = 25\n"
START_S, LIMIT_S = 30.0, 120.0
# An answer that a kill cut off is none.
PUT_OFF = (OSError, http.client.HTTPException, json.JSONDecodeError, AssertionError)


class Served:
    """One folder's server."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.start()

    def start(self) -> None:
        folder = self.home.root
        self.program = Program("central", ["central", "serve", str(folder), "--port", "0"], folder)
        self.program.start()
        deadline = time.monotonic() + START_S
        while not self.home.address.exists():
            assert self.program.running and time.monotonic() < deadline, (
                self.program.log.read_text()
            )
            time.sleep(0.02)
        self.url = self.home.address.read_text().strip()

    def kill(self) -> None:
        assert self.program.process is not None
        self.program.process.kill()
        self.program.process.wait(START_S)
        self.home.address.unlink(missing_ok=True)

    def client(self) -> Client:
        return Client(self.url, self.home.token.read_text().strip())


class Relay(threading.Thread):
    """A scripted site that goes on, whatever becomes of the servers; it talks to any of them."""

    def __init__(self, site: ScriptedSite, servers: list[Served], first: int) -> None:
        super().__init__(daemon=True)
        self.site, self._servers, self._first = site, servers, first
        self._draw = random.Random(first)
        self.leased: list[tuple[int, int]] = []  # (step, job) of every lease that it was given
        self.brought = 0
        self.put_off = 0
        self.ends = threading.Event()
        self.broken: BaseException | None = None

    def run(self) -> None:
        try:
            answered: set[str] = set()
            while not self.ends.is_set():
                self._visit(answered)
        except BaseException as error:
            self.broken = error

    def _visit(self, answered: set[str]) -> None:
        site = self.site
        try:
            self._turn()
            site.ask_for(400, slots=400)
            listed = json.loads(site._http("GET", f"/exchange/{site.name}/outbox"))["bundles"]
        except PUT_OFF:
            self._wait()
            return
        for one in listed:
            if one["id"] not in answered:
                self._work(one["id"])
                answered.add(one["id"])

    def _work(self, bundle: str) -> None:
        site = self.site
        path = site.folder / f"{bundle}.pulk"
        path.write_bytes(self._until(lambda: site._http("GET", f"/exchange/{site.name}/{bundle}")))
        with open_bundle(path, site.trust, audience=None, kinds=frozenset({Kind.WORK})) as opened:
            for place in opened.find("lease"):
                lease = leases.decode(opened.chunk(place))
                self.leased += [(task.step, task.job) for task, _ in lease.tasks()]
        for draft, chunks in site.answers_to(path):
            made, out = site.write(draft, chunks)
            put = f"/exchange/{site.name}/{made}"
            body = out.read_bytes()
            said = json.loads(self._until(lambda: site._http("PUT", put, body)))  # noqa: B023
            assert said["disposition"] == "merged", said
            self.brought += 1

    def _until(self, act: Callable[[], bytes]) -> bytes:
        """Do it again until a server answers: what was not answered may have been done."""
        while True:
            self._turn()
            try:
                return act()
            except urllib.error.HTTPError as error:
                assert error.code in (429, 503), error.read()
            except PUT_OFF:
                pass
            self._wait()

    def _turn(self) -> None:
        """Talk mostly to its own server, now and then to the other one."""
        own = self._draw.random() < 0.8
        self.site.base = self._servers[self._first if own else 1 - self._first].url

    def _wait(self) -> None:
        assert not self.ends.is_set()
        self.put_off += 1
        time.sleep(0.05)


@contextmanager
def working(tmp_path: Path, url: str) -> Iterator[tuple[list[Served], list[Relay], str]]:
    """Two servers, two sites, one dataset of many jobs; all at work."""
    homes, words = several.make(tmp_path, url, 2, SETTINGS)
    servers = [Served(home) for home in homes]
    try:
        relays = []
        for number, name in enumerate(("north", "south")):
            folder = tmp_path / name
            folder.mkdir()
            client = servers[number].client()
            site = ScriptedSite(name, folder, homes[number].root, words, client)
            relays.append(Relay(site, servers, number))
        dataset = Dataset("many", TASKS, 1, (Step("run", Command(("/bin/true",))),))
        made = servers[0].client().submit(spec.encode(dataset), os.urandom(8).hex())["id"]
        for relay in relays:
            relay.start()
        yield servers, relays, made
        for relay in relays:
            assert relay.broken is None
    finally:
        for relay in relays:
            relay.ends.set()
        for served in servers:
            served.program.stop()


def done(served: Served, dataset: str) -> int:
    try:
        return int(served.client().counts(dataset)[0]["counts"].get("done", 0))
    except Exception:  # the database is away just now
        return 0


def wait_for(served: Served, relays: list[Relay], dataset: str, tasks: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while done(served, dataset) < tasks:
        assert all(one.broken is None for one in relays), [one.broken for one in relays]
        assert time.monotonic() < deadline, done(served, dataset)
        time.sleep(0.05)


def check(servers: list[Served], relays: list[Relay], dataset: str) -> None:
    """Each task was leased once, ended once, and both servers say the same."""
    for relay in relays:
        relay.ends.set()
        relay.join(START_S)
    assert [one.broken for one in relays if not isinstance(one.broken, AssertionError)] == [
        None for one in relays if not isinstance(one.broken, AssertionError)
    ]
    leased = [task for one in relays for task in one.leased]
    assert len(leased) == len(set(leased)) == TASKS
    assert all(one.brought for one in relays)
    for served in servers:
        (step,) = served.client().counts(dataset)
        assert (step["counts"], step["attempts"]) == ({"done": TASKS}, TASKS)


def test_two_servers_lease_each_task_once_and_count_each_result_once(
    tmp_path: Path, postgresql_engine: Engine
) -> None:
    with working(tmp_path, postgresql_engine.place) as (servers, relays, dataset):
        wait_for(servers[0], relays, dataset, TASKS)
        check(servers, relays, dataset)
        homes = [one.home for one in servers]
    found = [fsck(home) for home in homes]
    assert found[0]["ok"], found[0]["problems"]
    assert found[0] == found[1]


def test_a_server_that_is_killed_and_a_database_that_restarts_lose_and_double_nothing(
    tmp_path: Path, postgresql_engine: Engine, postgresql: Server
) -> None:
    with working(tmp_path, postgresql_engine.place) as (servers, relays, dataset):
        wait_for(servers[1], relays, dataset, TASKS // 6)
        servers[0].kill()
        wait_for(servers[1], relays, dataset, TASKS // 3)
        servers[0].start()
        wait_for(servers[0], relays, dataset, TASKS // 2)
        postgresql.stop("immediate")
        status, headers = refused(servers[0])
        postgresql.start()
        servers[1].kill()
        servers[1].start()
        wait_for(servers[1], relays, dataset, TASKS)
        check(servers, relays, dataset)
        home = servers[0].home
    assert sum(one.put_off for one in relays)
    assert status == 503 and 1 <= int(headers["Retry-After"]) <= 10
    found = fsck(home)
    assert found["ok"], found["problems"]


def refused(served: Served) -> tuple[int, dict[str, str]]:
    token = served.home.token.read_text().strip()
    request = urllib.request.Request(  # noqa: S310
        f"{served.url}/v1/datasets", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        urllib.request.urlopen(request, timeout=START_S).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)
    return 200, {}


@pytest.mark.parametrize("error", [DatabaseBusy(reason="a"), DatabaseTrouble(reason="b")])
def test_a_database_that_cannot_now_is_503_with_a_time_to_come_back(
    error: DatabaseBusy | DatabaseTrouble,
) -> None:
    answer = answer_of(error)
    assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1
