"""Very many short tasks through one pilot: what it makes on the shared filesystem, what it holds.

Shards are of the size that central makes unless told otherwise.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import pilot_spool
from benchmarks.table import Row
from bundle.spool.layout import Spool

FEW, MANY = 10_000, 100_000
SHARD_TASKS = 200
LOOK_S = 0.05
LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Held:
    """`files`: the most at once beside what was offered and sealed; `seals`: in the end."""

    tasks_s: float
    peak_mib: float
    files: int
    seals: int


def rows(root: Path) -> list[Row]:
    """Return the rows."""
    few, many = (_run(root, tasks) for tasks in (FEW, MANY))
    what = f"{MANY:,} tasks in shards of {SHARD_TASKS}"
    against = f"{FEW:,} tasks"
    growth = many.peak_mib / few.peak_mib
    return [
        Row("pilot", what, many.tasks_s, "tasks/s", against, many.tasks_s / few.tasks_s),
        Row(
            *("pilot", f"{what}: the pilot's peak memory", many.peak_mib, "MiB", against, growth),
            lower_is_better=True,
        ),
        Row("pilot", f"{what}: files at once, seals apart", many.files, "files", against,
            many.files / few.files, lower_is_better=True),
        Row("pilot", f"{what}: seals, one a shard", many.seals, "files"),
    ]  # fmt: skip


def _run(root: Path, tasks: int) -> Held:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        spool = pilot_spool.spool_with(Path(folder), tasks, SHARD_TASKS)
        files, peak_kib, began_s = 0, 0, time.monotonic()
        with pilot_spool.started(spool) as process:
            while process.poll() is None:
                assert time.monotonic() < began_s + LIMIT_S
                files = max(files, _files(spool))
                peak_kib = max(peak_kib, peak_memory_kib(process.pid))
                time.sleep(LOOK_S)
            assert process.returncode == 0
        took_s = time.monotonic() - began_s
        seals = len(list(spool.folder("sealed").iterdir()))
        assert sum(1 for _ in pilot_spool.sealed(spool)) == tasks
        return Held(tasks / took_s, peak_kib / 1024, files, seals)


def _files(spool: Spool) -> int:
    """Count what the pilot has of its own: folders and files where it works."""
    count = 0
    for name in ("claimed", "tmp", "data"):
        with contextlib.suppress(FileNotFoundError):  # one went while it was looked at
            count += sum(1 for _ in spool.folder(name).rglob("*"))
    return count


def peak_memory_kib(pid: int) -> int:
    """Return the most that a process had of memory so far; 0 where it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
