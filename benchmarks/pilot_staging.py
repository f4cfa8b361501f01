"""Files that move beside execution: tasks of a second, whose inputs and outputs take one each."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row
from bundle.dataset.spec import Generated, Output, Request, Step, Synthetic
from bundle.fates import Fate
from tests.pilot.site_folder import SiteFolder, dataset

TASKS = 32
FILE_BYTES = 4 << 20
RATE = FILE_BYTES  # bytes per second: a second for each file
WALL_MS = 1000
MUST = 1.2
_TOLD = re.compile(rb"bytes of (inputs|outputs) were (?:brought|kept) in (\d+) ms")


def measure() -> list[Row]:
    """Return the rows: wall time of one slot, against the largest of what it did side by side."""
    step = Step(
        "work",
        Synthetic(0, WALL_MS, 0, (FILE_BYTES,)),
        generated=(Generated("in", FILE_BYTES, 1),),
        outputs=(Output("out"),),
        request=Request(memory_mib=64, walltime_ms=60_000, disk_bytes=1 << 28),
    )
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as folder:
        site = SiteFolder(Path(folder))
        lease = site.offered(dataset(step, jobs=TASKS))
        config = Path(folder) / "staging.toml"
        config.write_text(f"[staging]\nbytes_per_s = {RATE}\n")
        began_s = time.monotonic()
        with site.start(config=config, slots=1) as pilot:
            assert pilot.wait(10 * TASKS) == 0
        wall_s = time.monotonic() - began_s
        attempts = site.attempts(lease)
        assert [one.fate for one in attempts] == [Fate.SUCCESS] * TASKS
        took_s = {"tasks": sum(one.usage.wall_ms for one in attempts) / 1000}
        for one in attempts:
            for way, ms in _TOLD.findall(site.log(lease, one)):
                took_s[way.decode()] = took_s.get(way.decode(), 0) + int(ms) / 1000
    largest_s, what = max((s, name) for name, s in took_s.items())
    one_by_one_s = sum(took_s.values())
    name = f"{TASKS} tasks of 1 s with 1 s in and 1 s out"
    ratio = wall_s / largest_s
    against = f"{what} alone, {largest_s:.1f} s"
    return [
        Row("pilot", name, wall_s, "s", against, ratio, MUST, lower_is_better=True),
        Row("pilot", f"{name}, one after the other", one_by_one_s, "s", against,
            one_by_one_s / largest_s, lower_is_better=True),
    ]  # fmt: skip
