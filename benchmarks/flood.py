"""A flood: 10,000 connections ask for work at ten times capacity while results come in.

Measured are the completions of eight sites (one bundle after the other each, from the first byte
sent to the durable answer, sent again when told to come back) and a user's reads, without the flood
before and after it, and with it. The flood has a process of its own at a low priority: elsewhere it
would have its own processors. Lost: acknowledged, but not done at the end.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from benchmarks.central import served
from benchmarks.scripted_site import ScriptedSite, init_central
from benchmarks.table import Row, below
from bundle.client import Client
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step

CONNECTIONS = 10_000
FLOOD_S = 60.0
QUIET_S = 15.0
CAPACITY_S = 5.0
TIMES_CAPACITY = 10
SITES = 8  # that bring results
ASKERS = 32  # sites whose relays ask
TASKS = 50  # in a result bundle
WORKS = 4  # work bundles for each of them
PROBE_BUNDLES = 800  # that show how many a second are taken
PROBE_S = 4.0
ROOM = 1.5  # so many times what that rate would bring in all phases
READ_EVERY_S = 0.05
ANSWER_S = 60.0
NONE_LEFT = "no bundle is left to bring"  # then the figures are the bench's fault
CONFIG = """
[planner]
shard_tasks_max = 50
bundle_tasks_max = {tasks}
[http]
asks_per_s_max = {asks}
site_asks_per_s_max = 1000
"""


@dataclass(slots=True)
class Seen:
    """What one phase saw: seconds of each completion and read, and what else was answered."""

    completions: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    told_to_wait: int = 0
    broken_off: int = 0
    other: list[str] = field(default_factory=list)
    seconds: float = 0.0
    until_s: float = 0.0  # of the last completion, since the phase began
    server_cpu_s: float = 0.0
    door_cpu_s: float = 0.0
    reader_cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Completions acknowledged in a second."""
        return len(self.completions) / self.seconds

    @property
    def busy_per_s(self) -> float:
        """Completions in a second, as long as there were bundles to bring."""
        return len(self.completions) / (self.until_s or 1.0)

    def add(self, other: Seen) -> Seen:
        """Return both together."""
        return Seen(
            self.completions + other.completions,
            self.reads + other.reads,
            self.told_to_wait + other.told_to_wait,
            self.broken_off + other.broken_off,
            self.other + other.other,
            self.seconds + other.seconds,
            max(self.until_s, other.until_s),
            self.server_cpu_s + other.server_cpu_s,
            self.door_cpu_s + other.door_cpu_s,
            self.reader_cpu_s + other.reader_cpu_s,
        )


@dataclass(slots=True)
class World:
    """A central at work, sites with bundles to bring, and sites that ask."""

    folder: Path
    base: str
    client: Client
    dataset: str
    sites: list[ScriptedSite]
    askers: list[ScriptedSite]
    server: psutil.Process
    bundles: dict[str, Iterator[tuple[str, Path]]]
    acknowledged: set[str] = field(default_factory=set)


def measure() -> list[Row]:
    """Return the rows."""
    with world(PROBE_BUNDLES) as made:
        per_s = watch(made, PROBE_S).busy_per_s
    bundles = int(per_s * (2 * QUIET_S + FLOOD_S + 1) * ROOM)
    print(f"  {per_s:.0f} completions/s: {bundles} bundles are made", file=sys.stderr)
    with world(bundles) as made:
        capacity = flooded(made, 64, 100_000, CAPACITY_S)["200"] / CAPACITY_S
        print(f"  capacity: {capacity:.0f} asks/s", file=sys.stderr)
        before = watch(made, QUIET_S)
        asked: dict[str, Any] = {}

        def flood() -> None:
            asked.update(flooded(made, CONNECTIONS, capacity * TIMES_CAPACITY, FLOOD_S))

        during = beside(flood, lambda: watch(made, FLOOD_S))
        after = watch(made, QUIET_S)
        print(f"  the flood: {asked}", file=sys.stderr)
        lost = len(made.acknowledged) * TASKS - done_tasks(made)
    quiet = before.add(after)
    print(f"  odd answers: {during.other + quiet.other}", file=sys.stderr)
    return _rows(quiet, during, asked, capacity, lost)


def _rows(
    quiet: Seen, during: Seen, asked: dict[str, Any], capacity: float, lost: int
) -> list[Row]:
    what = f"{CONNECTIONS:,} connections"
    offered, answered = asked["wishes"] / FLOOD_S, asked.get("200", 0) / FLOOD_S
    goodput = during.per_s / quiet.per_s
    rows = [
        Row("flood", "asks answered a second, 64 connections", capacity, "1/s"),
        Row("flood", f"asks a second, {what}", offered, "1/s", "capacity", offered / capacity),
        Row("flood", f"asks answered a second, {what}", answered, "1/s"),
        Row("flood", "completions without flood", quiet.per_s, "1/s"),
        Row("flood", "goodput of completions", during.per_s, "1/s", "no flood", goodput, 0.8),
        Row("flood", "tasks acknowledged and lost", lost, "tasks", "0", lost, 0, None, True),
        Row("flood", "sites that ran out of bundles", _ran_out(during), "sites"),
        Row("flood", "completions told to come back", during.told_to_wait, "answers"),
        Row("flood", "completions broken off", during.broken_off, "requests"),
    ]
    for name, seen in (("without flood", quiet), ("under the flood", during)):
        p50, p99 = quantile(seen.completions, 0.5), quantile(seen.completions, 0.99)
        shares = {"server": seen.server_cpu_s, "reader": seen.reader_cpu_s}
        shares["door"] = seen.door_cpu_s
        for part, cpu_s in shares.items():
            share = 100 * cpu_s / seen.seconds
            rows.append(Row("flood", f"CPU of the {part} {name}", share, "% of a core"))
        rows.append(Row("flood", f"completion p50 {name}", p50, "s"))
        rows.append(below("flood", f"completion p99 {name}", p99, "s", 1.0))
        p50, p99 = quantile(seen.reads, 0.5), quantile(seen.reads, 0.99)
        rows.append(Row("flood", f"read while merging p50 {name}", 1000 * p50, "ms"))
        rows.append(below("flood", f"read while merging p99 {name}", 1000 * p99, "ms", 50))
    return rows


def _ran_out(seen: Seen) -> int:
    return seen.other.count(NONE_LEFT)


@contextmanager
def world(
    bundles: int, sites: int = SITES, askers: int = ASKERS, asks_per_s_max: int = 1000
) -> Iterator[World]:
    """Make a central that serves, and all result bundles that will be brought, on the disk."""
    with tempfile.TemporaryDirectory(prefix="pulk-flood-") as name:
        folder = Path(name)
        central_dir, root_words = init_central(folder)
        tasks = -(-bundles // (sites * WORKS)) * TASKS
        (central_dir / "central.toml").write_text(CONFIG.format(tasks=tasks, asks=asks_per_s_max))
        names = [f"site-{n}" for n in range(sites)] + [f"asker-{n}" for n in range(askers)]
        with served(central_dir) as server:
            base = (central_dir / "address").read_text().strip()
            client = Client(base, (central_dir / "admin.token").read_text().strip())
            all_sites = [
                ScriptedSite(one, folder, central_dir, root_words, client) for one in names
            ]
            jobs = WORKS * sites * tasks
            dataset = Dataset("flood", jobs, 1, (Step("run", Command(("/bin/true",))),))
            dataset_id = client.submit(spec.encode(dataset), os.urandom(16).hex())["id"]
            ready = {one.name: iter(_prepared(one, tasks)) for one in all_sites[:sites]}
            for one in all_sites[sites:]:
                one.ask_for(0)
            yield World(
                *(folder, base, client, dataset_id),
                *(all_sites[:sites], all_sites[sites:], server, ready),
            )


def _prepared(site: ScriptedSite, tasks: int) -> list[tuple[str, Path]]:
    """Have a site leased work, so many tasks at a time, and write all its results."""
    site.ask_for(WORKS * tasks)
    ready: list[tuple[str, Path]] = []
    for _ in range(WORKS):
        (work,) = site.fetch()
        for draft, chunks in site.answers_by_lease(work):
            ready.append(site.write(draft, chunks))
    return ready


def watch(made: World, seconds: float) -> Seen:
    """Bring results and read for so long; return what was seen."""
    seen = [Seen() for _ in made.sites] + [Seen()]
    began_s, cpu_s = time.monotonic(), _cpu_s(made)
    until_s = began_s + seconds
    threads = [
        threading.Thread(target=_bring, args=(made, site, until_s, one))
        for site, one in zip(made.sites, seen, strict=False)
    ]
    threads.append(threading.Thread(target=_read, args=(made, until_s, seen[-1])))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Seen()
    for one in seen:
        whole = whole.add(one)
    whole.seconds = time.monotonic() - began_s
    spent = [after - before for after, before in zip(_cpu_s(made), cpu_s, strict=True)]
    whole.server_cpu_s, whole.reader_cpu_s, whole.door_cpu_s = spent
    return whole


def _cpu_s(made: World) -> tuple[float, float, float]:
    """Return the seconds of CPU that the server, its reader and its door have used."""
    parted = sorted(made.server.children(), key=lambda one: one.pid)  # in the order of their making
    server, reader, door = (one.cpu_times() for one in (made.server, *parted))
    return server.user + server.system, reader.user + reader.system, door.user + door.system


def _bring(made: World, site: ScriptedSite, until_s: float, seen: Seen) -> None:
    began_s = time.monotonic()
    while time.monotonic() < until_s:
        bundle, path = next(made.bundles[site.name], ("", Path()))
        if not bundle:
            seen.other.append(NONE_LEFT)
            return
        bring_one(made, site, bundle, path.read_bytes(), seen)
        path.unlink()
        seen.until_s = time.monotonic() - began_s


def bring_one(made: World, site: ScriptedSite, bundle: str, body: bytes, seen: Seen) -> None:
    """Bring one bundle, again and again until it is acknowledged."""
    path, began_s = f"/exchange/{site.name}/{bundle}", time.monotonic()
    while time.monotonic() < began_s + ANSWER_S:
        headers = {
            "Authorization": site.signed("PUT", path),
            "Content-Type": "application/octet-stream",
        }
        status, raw, after_s = _ask(made.base, "PUT", path, headers, body)
        if status == 200 and json.loads(raw)["disposition"] == "merged":
            seen.completions.append(time.monotonic() - began_s)
            made.acknowledged.add(bundle)
            return
        if status in (429, 503) and after_s:
            seen.told_to_wait += 1
            time.sleep(after_s)
        elif status == 0:
            seen.broken_off += 1
        else:
            seen.other.append(f"{status}: {raw[:200]!r}")
            return
    seen.other.append(f"{bundle} was not acknowledged in {ANSWER_S:.0f} s")


def _read(made: World, until_s: float, seen: Seen) -> None:
    headers = {"Authorization": f"Bearer {(made.folder / 'central/admin.token').read_text()}"}
    headers = {name: value.strip() for name, value in headers.items()}
    for number in count():
        if time.monotonic() >= until_s:
            return
        tail = ("counts", f"tasks/{number % 1000}/0", "attempts?limit=20")[number % 3]
        began_s = time.monotonic()
        status, raw, _ = _ask(made.base, "GET", f"/v1/datasets/{made.dataset}/{tail}", headers)
        took_s = time.monotonic() - began_s
        seen.reads.append(took_s)
        if status != 200:
            seen.other.append(f"read: {status}: {raw[:200]!r}")
        time.sleep(max(0.0, READ_EVERY_S - took_s))


def _ask(
    base: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, bytes, int]:
    """Return status (0: broken off), body and Retry-After."""
    parts = urllib.parse.urlsplit(base)
    line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_S)
    try:
        line.request(method, path, body, headers)
        answer = line.getresponse()
        return answer.status, answer.read(), int(answer.headers.get("Retry-After", 0))
    except (OSError, http.client.HTTPException):
        return 0, b"", 0
    finally:
        line.close()


def flooded(made: World, connections: int, per_s: float, seconds: float) -> dict[str, Any]:
    """Have a process flood central; return its counts."""
    requests = made.folder / "requests"
    host = urllib.parse.urlsplit(made.base)
    with requests.open("wb") as file:
        for number in range(connections):
            site = made.askers[number % len(made.askers)]
            path = f"/exchange/{site.name}/outbox"
            signed = site.signed("GET", path)
            raw = f"GET {path} HTTP/1.1\r\nHost: {host.netloc}\r\nAuthorization: {signed}\r\n\r\n"
            file.write(len(raw).to_bytes(4, "big") + raw.encode())
    plan: dict[str, Any] = {"host": host.hostname, "port": host.port, "connections": connections}
    plan |= {"per_s": per_s, "seconds": seconds, "requests": str(requests)}
    (made.folder / "plan").write_text(json.dumps(plan))
    command = [sys.executable, "-m", "benchmarks.flood_load", str(made.folder / "plan")]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        timeout=seconds + 60,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,  # its priority is of its own
    )
    return {"200": 0} | dict(json.loads(done.stdout))


def beside(run: Callable[[], None], watched: Callable[[], Seen]) -> Seen:
    """Run something in a thread beside what is returned."""
    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(1.0)  # its connections are being made
    seen = watched()
    thread.join()
    return seen


def done_tasks(made: World) -> int:
    """Return how many tasks central calls done."""
    return int(made.client.counts(made.dataset)[0]["counts"].get("done", 0))


def quantile(values: list[float], share: float) -> float:
    """Return a quantile, 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
