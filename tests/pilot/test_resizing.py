"""Elastic tasks grow into idle cores, shrink when others come, and end in time because of it."""

from __future__ import annotations

import glob
import json
import os
import time
from pathlib import Path

import pytest

from bundle.dataset.abilities import NOT_ELASTIC, Elastic
from bundle.dataset.spec import Output, Request, Step
from bundle.fates import Fate
from tests.pilot.site_folder import SiteFolder, dataset, python, shell

CORES = len(os.sched_getaffinity(0))
pytestmark = [
    pytest.mark.programs,
    pytest.mark.skipif(CORES < 2, reason="one core: nothing can grow"),
]

ELASTIC_PROGRAM = """
import json, multiprocessing, os, pathlib, time
def work(seconds):  # a piece has a process to itself for so long, however busy the machine is
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(10000))
        time.sleep(0.01)
def granted():
    name = os.environ.get("PULK_GRANT")
    return max(1, int(json.loads(pathlib.Path(name).read_text())["cpus"])) if name else 1
left, running, most = {pieces}, [], 0
seen, ends = [], time.monotonic() + 200
while left or running:
    running = [one for one in running if one.is_alive()]
    cores = granted()
    if not seen or seen[-1] != cores:
        seen.append(cores)
    while left and len(running) < cores:
        one = multiprocessing.Process(target=work, args=({seconds},))
        one.start()
        running.append(one)
        left -= 1
    if seen[-3:] == {seen_last} or time.monotonic() > ends:
        left = 0
    time.sleep(0.02)
pathlib.Path("seen").write_text(json.dumps([seen, sorted(os.sched_getaffinity(0))]))
"""


def elastic(
    pieces: int, seconds: float, walltime_ms: int, until: object = None, **fields: object
) -> Step:
    """So many pieces of work, and no more once so many cores were granted, one after the other."""
    text = ELASTIC_PROGRAM.format(pieces=pieces, seconds=seconds, seen_last=until)
    return Step(
        "elastic",
        python(text),
        outputs=(Output("seen"),),
        elastic=Elastic(1000 * CORES, **fields) if fields else NOT_ELASTIC,  # type: ignore[arg-type]
        request=Request(memory_mib=64, walltime_ms=walltime_ms, disk_bytes=1 << 20),
        failures_max=1,
    )


def test_a_long_task_on_a_draining_node_ends_in_time_only_because_it_grows(
    site: SiteFolder,
) -> None:
    """Twelve pieces of a second: alone on a core they take longer than the task has."""
    found = {}
    for name, fields in (("grows", {"shrinks": False}), ("does not", {})):
        step = elastic(12, 1.0, 11_000, **fields)
        lease = site.offered(dataset(step))
        site.run("--lasts-s", "20", *_times(), slots=CORES)
        found[name] = site.only(lease)
    grown, plain = found["grows"], found["does not"]
    assert grown.fate is Fate.SUCCESS, found
    assert plain.fate in (Fate.TIME_LIMIT, Fate.ALLOCATION_END), found
    assert f"grant=={CORES}" in grown.software.split() and "grant==" not in plain.software


def test_cores_come_back_when_a_new_task_needs_them(site: SiteFolder) -> None:
    again = [CORES, 1, CORES]  # it goes on until they were given back to it
    step = elastic(100_000, 0.2, 600_000, again, shrinks=True, signal="")
    lease = site.offered(dataset(step))
    with site.start(slots=CORES, idle_s=8) as process:
        until_s = time.monotonic() + 120
        while _granted(site) != CORES:
            assert time.monotonic() < until_s, "it never grew"
            time.sleep(0.05)
        asks = Request(memory_mib=32, walltime_ms=60_000, disk_bytes=1 << 20)
        other = site.offered(
            dataset(Step("other", shell("taskset -p $$; sleep 2"), request=asks), jobs=CORES - 1)
        )
        assert process.wait(240) == 0
    first, seen = site.only(lease), json.loads(site.content(site.only(lease)))
    assert first.fate is Fate.SUCCESS and f"grant=={CORES}" in first.software.split()
    assert CORES in seen[0] and 1 in seen[0][seen[0].index(CORES) :]
    others = site.attempts(other)
    assert {one.fate for one in others} == {Fate.SUCCESS}
    ended_us = first.ended_mono_us
    assert all(one.started_mono_us < ended_us for one in others), "they did not wait for it"


def _granted(site: SiteFolder) -> float:
    found = glob.glob(f"{site.spool.folder('claimed')}/*/slots/*/.pulk-grant")  # noqa: PTH207
    try:  # Path.glob fails where a folder goes while it looks
        return json.loads(Path(found[0]).read_text())["cpus"]  # type: ignore[no-any-return]
    except (IndexError, FileNotFoundError):
        return 0.0


def _times() -> list[str]:
    return ["--last-starts-s", "19", "--checkpoint-s", "1", "--stop-s", "1"]
