"""One and four servers of one central on one PostgreSQL and one archive, under the same load.

Scripted sites bring result bundles over HTTP, each site to one server, all at once; the bundles are
signed and written before the clock starts. Counted are results that were merged durably, and the
CPU time of the servers, their doors and the database together. A bundle of thousands
of results costs its merge; many small ones cost their commits.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.central import served
from benchmarks.scripted_site import ScriptedSite
from benchmarks.table import Row
from bundle.client import Client
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from central.home import Home
from tests.testbed import postgresql, several

SITES = 4
COUNTS = (1, 4)
ROUNDS = 3
LOADS = {"of 2,000 results": (16, 2_000), "of 50 results": (48, 50)}  # bundles of each site
FIRST = 2  # of them before the clock starts: each server has imports and pages to read
SETTINGS = "[planner]\nbundle_tasks_max = {0}\nshard_tasks_max = {0}\n"
WANTED = 100
SLOTS = 1_000_000  # so that no site is sized to less than it asks for


def measure() -> list[Row]:
    """Return for each load and number of servers what they merge a second, and what that costs."""
    try:
        server = postgresql.start()
    except postgresql.Unavailable as error:
        print(f"no PostgreSQL here: {error}", file=sys.stderr)
        return []
    rows: list[Row] = []
    try:
        for words, load in LOADS.items():
            found: dict[int, list[tuple[float, ...]]] = {count: [] for count in COUNTS}
            for number in range(ROUNDS):
                for count in COUNTS:
                    url = server.create(f"several_{load[1]}_{number}_{count}")
                    found[count].append(_run(server, url, count, load))
                    print(
                        f"  bundles {words}, {count} servers: {found[count][-1]}", file=sys.stderr
                    )
            rows += _rows(words, {count: _median(of) for count, of in found.items()})
    finally:
        server.close()
    return rows


def _rows(words: str, found: dict[int, tuple[float, ...]]) -> list[Row]:
    rows = []
    one = found[COUNTS[0]]
    for count, (rate, central_us, database_us, busy) in found.items():
        what = f"PostgreSQL, bundles {words}, {count} server{'s' * (count > 1)}"
        ratio = rate / one[0] if count > 1 else None
        against = "one server" if count > 1 else ""
        rows += [
            Row("several", what, rate, "results/s", against, ratio),
            Row("several", f"{what}: servers", central_us, "us CPU/result"),
            Row("several", f"{what}: database", database_us, "us CPU/result"),
            Row("several", f"{what}: of the machine's cores, in use", busy, "cores"),
        ]
    return rows


def _median(rounds: list[tuple[float, ...]]) -> tuple[float, ...]:
    """Return the round of the median rate."""
    return sorted(rounds)[len(rounds) // 2]


def _run(
    server: postgresql.Server, url: str, count: int, load: tuple[int, int]
) -> tuple[float, ...]:
    """Return results a second, CPU microseconds per result (servers, database), cores used."""
    bundles, tasks = load
    with tempfile.TemporaryDirectory(prefix="pulk-several-") as name, ExitStack() as stack:
        folder = Path(name)
        homes, words = several.make(folder, url, count, SETTINGS.format(tasks))
        programs = [stack.enter_context(served(home.root)) for home in homes]
        clients = [_client(home) for home in homes]
        total = SITES * bundles * tasks
        dataset = Dataset("bench", total, 1, (Step("run", Command(("/bin/true",))),))
        made = clients[0].submit(spec.encode(dataset), os.urandom(16).hex())["id"]
        sites = []
        for number in range(SITES):
            of = number % count
            (folder / f"site{number}").mkdir()
            place = (f"site{number}", folder / f"site{number}", homes[of].root, words)
            sites.append(ScriptedSite(*place, clients[of]))
        for site in sites:
            prepare(site, bundles, tasks)
        _all_bring(sites, FIRST)
        before, began = _cpu_s(programs, server), time.perf_counter()
        _all_bring(sites, bundles)
        took = time.perf_counter() - began
        ours, theirs = (b - a for a, b in zip(before, _cpu_s(programs, server), strict=True))
        done = clients[-1].counts(made)[0]["counts"].get("done", 0)
        assert done == total, f"{done} of {total} tasks are done"
        total -= SITES * FIRST * tasks
    return total / took, ours * 1e6 / total, theirs * 1e6 / total, (ours + theirs) / took


def _client(home: Home) -> Client:
    return Client(home.address.read_text().strip(), home.token.read_text().strip())


def prepare(site: ScriptedSite, bundles: int, tasks: int) -> None:
    """Fetch work and write all results, which wait in the site's folder."""
    for _ in range(bundles):
        site.ask_for(WANTED * bundles * tasks, slots=SLOTS)  # one bundle's worth comes at a time
        for work in site.fetch():
            for draft, chunks in site.answers_to(work):
                made, path = site.write(draft, chunks)
                path.rename(site.folder / f"{made}.ready")


def _all_bring(sites: list[ScriptedSite], most: int) -> None:
    """Have every site bring its next bundles, all sites at once."""
    threads = [threading.Thread(target=bring, args=(site, most)) for site in sites]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def bring(site: ScriptedSite, most: int) -> None:
    for path in sorted(site.folder.glob("*.ready"))[:most]:
        site._http("PUT", f"/exchange/{site.name}/{path.stem}", path.read_bytes())
        path.unlink()


def _cpu_s(programs: list[psutil.Process], server: postgresql.Server) -> tuple[float, float]:
    """Return the CPU seconds of the servers with their doors, and of the database."""
    ours = [one for program in programs for one in (program, *program.children(recursive=True))]
    pid = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    postmaster = psutil.Process(pid)
    return _sum(ours), _sum([postmaster, *postmaster.children(recursive=True)])


def _sum(processes: list[psutil.Process]) -> float:
    found = 0.0
    for one in processes:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += times.user + times.system
    return found
