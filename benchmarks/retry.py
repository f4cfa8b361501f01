"""Learned requests: what they cost, and what they would have saved on recorded productions.

The traces are those of `../shared/data`; without them their rows are left out.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.table import Row, interleaved
from bundle import retry
from bundle.dataset.spec import Request
from bundle.fates import Fate
from bundle.ids import PilotRun
from bundle.records.learning import Learning, Policy
from bundle.records.rules import DEFAULT
from bundle.retry import Ended
from central.core import learned, sketch
from central.core.learned import Learned

TRACES = Path(__file__).parents[2] / "shared" / "data" / "traces"
SEGMENT = 10_000
ROUNDS = 5
MIB = 1 << 20
ASKED_MIB = 1024  # of the recorded array job, about
WATCH_SLACK_MIB = 64  # what the pilot leaves a task beyond its request, or a tenth of it


def measure() -> list[Row]:
    """Return the rows."""
    return [*_costs(), *_nextflow(), *_out_of_memory()]


def _costs() -> list[Row]:
    draws = np.random.default_rng(1)
    columns = [draws.lognormal(mean, 0.7, SEGMENT).astype(np.int64) for mean in (7, 13, 13, 20)]
    lists = [column.tolist() for column in columns]
    failure = Ended(Fate.OOM, PilotRun(bytes(8)), memory_peak_mib=700)

    def decide() -> None:
        for _ in range(SEGMENT):
            retry.request_for(Request(), retry.history([failure]), DEFAULT)

    figures = interleaved(
        ROUNDS,
        {
            "numpy": lambda: _us_each(lambda: learned.of_columns(*columns)),
            "lists": lambda: _us_each(lambda: Learned(*map(sketch.of, lists))),
            "decide": lambda: _us_each(decide),
        },
    )
    whole = learned.of_columns(*columns)
    for round_ in range(20):
        more = [np.roll(column, round_) + round_ for column in columns]
        whole += learned.of_columns(*more)
    return [
        Row("retry", "an attempt added to four sketches, numpy columns", figures["numpy"], "us"),
        Row("retry", "an attempt added to four sketches, lists", figures["lists"], "us"),
        Row("retry", "a failure folded in and the next request", figures["decide"], "us"),
        Row("retry", "kept for a step, 200,000 successes", len(learned.encode(whole)), "bytes"),
    ]


def _us_each(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e6 / SEGMENT


def _nextflow() -> list[Row]:
    """Learn from the first half of each process, ask that of the second."""
    rows = []
    said = Learning(Policy.APPLY, quantile_milli=950)
    for name in ("eager", "iwd"):
        path = TRACES / f"nextflow_trace_{name}.csv"
        if not path.exists():
            print(f"no {path}", file=sys.stderr)
            continue
        asked = suggested = short = tasks = 0
        for used in _by_process(path):
            half = len(used) // 2
            peaks = [peak for _, peak in used]
            taught = Learned(memory_mib=sketch.of(peaks[:half]))
            for before, peak in used[half:]:
                ask = Request(memory_mib=before)
                after = learned.request(taught, ask, said).memory_mib
                tasks, asked, suggested = tasks + 1, asked + before, suggested + after
                short += peak > after + max(WATCH_SLACK_MIB, after // 10)
        what = f"memory asked by {tasks} recorded tasks of {name}, learned from as many before"
        share = 100 * suggested / asked
        rows.append(Row("retry", what, share, "%", "their own requests", suggested / asked))
        rows.append(
            Row("retry", f"of them tried again with more: {name}", 100 * short / tasks, "%")
        )
    return rows


def _by_process(path: Path) -> list[list[tuple[int, int]]]:
    """Return (MiB requested, MiB at the peak) of each process that has enough tasks, in order."""
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    with path.open() as text:
        for row in csv.DictReader(text):
            if row["memory"].isdigit() and row["peak_rss"].isdigit():
                sizes = (-(-int(row["memory"]) // MIB), -(-int(row["peak_rss"]) // MIB))
                found[row["process"]].append((int(row["complete"]), *sizes))
    least = 2 * sketch.needed(0.95, 0.95)
    return [
        [(asked, peak) for _, asked, peak in sorted(one)]
        for one in found.values()
        if len(one) >= least
    ]


def _out_of_memory() -> list[Row]:
    """Ask how often the next request of a recorded out-of-memory kill passes the old limit."""
    path = TRACES / "sacct_array_oom_even.psv"
    if not path.exists():
        print(f"no {path}", file=sys.stderr)
        return []
    peaks = []
    for line in path.read_text().splitlines():
        job, _, state, kib, *_ = line.split("|")
        if state.startswith("OUT_OF_ME") and job.endswith(".batch") and kib.endswith("K"):
            peaks.append(int(kib[:-1]) // 1024)
    asked = Request(memory_mib=ASKED_MIB)
    grown = 0
    for peak in peaks:
        ended = Ended(Fate.OOM, PilotRun(bytes(8)), memory_peak_mib=peak)
        grown += retry.request_for(asked, retry.history([ended]), DEFAULT).memory_mib > ASKED_MIB
    by_peak = sum(3 * peak // 2 > ASKED_MIB for peak in peaks)
    what = f"of {len(peaks)} recorded out-of-memory kills the next try gets more than before"
    other = "1.5 times the sampled peak alone"
    return [Row("retry", what, 100 * grown / len(peaks), "%", other, grown / by_peak)]
