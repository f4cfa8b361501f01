"""Central end to end over HTTP on loopback against the per-task REST way, in one run.

Pulk: ask, lease, pack, sign, fetch, result bundle, verify, merge, receipt. Both figures are the
server's own CPU time per task; making results is the load generator's and not counted.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks import rest_way
from benchmarks.scripted_site import ScriptedSite, init_central
from benchmarks.table import Row, interleaved
from bundle.client import Client
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from central.rehearsal.programs import Program

TASKS = 20_000
BUNDLE_TASKS = 10_000
REST_TASKS = 3_000
ROUNDS = 3
START_S = 30.0


def measure() -> list[Row]:
    """Return the rows: microseconds of server CPU per task of both ways."""
    found = interleaved(ROUNDS, {"pulk": _pulk_us, "rest": rest_us})
    ratio = found["rest"] / found["pulk"]
    what = "a REST call per claim and per report"
    ours, unit = found["pulk"], "us CPU/task"
    limit = Row("central", "pulk against the target", ours, unit, "4 us", ours / 4.0, 1.0, 0.125)
    return [
        Row("central", what, found["rest"], unit),
        Row("central", "pulk, bundles of 10,000", ours, unit, what, ratio, 50, 500),
        replace(limit, lower_is_better=True),
    ]


def _pulk_us() -> float:
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as name:
        folder = Path(name)
        central_dir, root_words = init_central(folder)
        (central_dir / "central.toml").write_text(f"[planner]\nshard_tasks_max = {BUNDLE_TASKS}\n")
        site = ScriptedSite("bench", folder, central_dir, root_words)
        with served(central_dir) as server:
            client = Client(
                (central_dir / "address").read_text().strip(),
                (central_dir / "admin.token").read_text().strip(),
            )
            site.base = client.base
            dataset = Dataset("bench", TASKS, 1, (Step("run", Command(("/bin/true",))),))
            dataset_id = client.submit(spec.encode(dataset), os.urandom(16).hex())["id"]
            before = _cpu_s(server)
            for _ in range(TASKS // BUNDLE_TASKS):
                site.ask_for(BUNDLE_TASKS, slots=BUNDLE_TASKS)
                for work in site.fetch():
                    for draft, chunks in site.answers_to(work):
                        site.send(draft, chunks)
            spent = _cpu_s(server) - before
            done = client.counts(dataset_id)[0]["counts"].get("done", 0)
            assert done == TASKS, f"{done} of {TASKS} tasks are done"
    return spent * 1e6 / TASKS


def rest_us() -> float:
    """Return microseconds of a server's CPU per task, one claim and one report for each."""
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as name:
        process = subprocess.Popen(
            [sys.executable, rest_way.__file__, str(Path(name) / "db"), str(REST_TASKS)],
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            server = psutil.Process(process.pid)
            before = _cpu_s(server)
            done = asyncio.run(rest_way.drive(port))
            spent = _cpu_s(server) - before
            assert done == REST_TASKS
        finally:
            process.kill()
            process.wait(START_S)
    return spent * 1e6 / REST_TASKS


@contextmanager
def served(central_dir: Path) -> Iterator[psutil.Process]:
    """Serve a central; yield its process, of which the door is a child."""
    program = Program("central", ["central", "serve", str(central_dir), "--port", "0"], central_dir)
    program.start()
    try:
        deadline = time.monotonic() + START_S
        while not (central_dir / "address").exists():
            assert program.running and time.monotonic() < deadline, program.log.read_text()
            time.sleep(0.05)
        assert program.process is not None
        yield psutil.Process(program.process.pid)
    finally:
        program.stop()


def _cpu_s(process: psutil.Process) -> float:
    """Return the seconds of CPU that a server and its door used."""
    all_times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(times.user + times.system for times in all_times)
