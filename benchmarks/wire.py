"""Bytes and time on the wire, against JSON and msgpack rows, both with zstd-3, in one run.

Results of a node with 64 slots, the work bundle of a parameter sweep, and a large data bundle whose
every step runs in a process of its own so that its peak memory can be told.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import zstandard

from benchmarks import wire_results
from benchmarks.table import Row, below, interleaved
from benchmarks.wire_results import JSON, NOW_US, ROWS
from bundle.dataset import macros, spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import Epoch, LeaseId, SiteName, StreamId, dataset_id
from bundle.intervals import IntervalSet
from bundle.limits import GIB, MIB
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.trust.quickstart import Authority, make_authority
from bundle.wire import codec
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central.config import PlannerSection
from central.core import plan, shards
from central.core.controls import Controls
from central.core.dag import Dag

RESULTS = 1_000_000
SHARD_TASKS_MAX = 10_000  # the largest that central can be told to cut
TASKS = 1_000_000
DATA_GIB = 10.0
ROUNDS = 3
VERIFY_ROUNDS = 5  # of seconds each: a busy neighbour shows
LIMIT_S = 1800
MEMORY_MIB = 64
SPACE_TIMES = 2.5  # of the data: file and bundle, bundle and parts, parts and the joined bundle
SWEEP = Command(
    ("/opt/sim/run", "--seed", "$(seed)", "--energy", "$(energy)", "--out", "shower-$(job).i3")
)


def measure(*, results: int = RESULTS, tasks: int = TASKS, data_gib: float = DATA_GIB) -> list[Row]:
    """Return the rows; `data_gib` is cut to what the disk holds, and said so."""
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as name:
        folder = Path(name)
        authority = make_authority(folder / "root", folder / "central")
        return [
            *wire_results.measure(folder, authority, results),
            *_sweep(folder, authority, tasks),
            *_data(folder, data_gib),
        ]


def _sweep(folder: Path, authority: Authority, count: int) -> list[Row]:
    """Pack the work bundle of a parameter sweep, and the same tasks expanded."""
    dataset = Dataset(
        *("sweep", count, 42, (Step("shower", SWEEP),)), parameters=(("energy", "1e$(job)"),)
    )
    default = PlannerSection().shard_tasks_max
    limits = (default, SHARD_TASKS_MAX)
    sizes: dict[str, int] = {}
    ids: dict[int, set[str]] = defaultdict(set)

    def packed(shard_tasks_max: int) -> float:
        started = time.perf_counter()
        bundle = _pack_sweep(folder / "work", authority, dataset, shard_tasks_max)
        took_s = time.perf_counter() - started
        ids[shard_tasks_max].add(bundle)
        sizes[f"{shard_tasks_max}"] = (folder / "work").stat().st_size
        return took_s

    def expanded(name: str, pack: Callable[[dict[str, Any]], bytes]) -> float:
        started = time.perf_counter()
        sizes[name] = _zstd_bytes(map(pack, _expanded(dataset)))
        return time.perf_counter() - started

    found = interleaved(ROUNDS, {f"{n}": partial(packed, n) for n in limits})
    assert all(len(one) == 1 for one in ids.values()), "the same inputs gave different ids"
    found |= interleaved(
        1,
        {
            JSON: lambda: expanded(JSON, lambda row: json.dumps(row).encode() + b"\n"),
            ROWS: lambda: expanded(ROWS, lambda row: msgpack.packb(list(row.values()))),
        },
    )
    rows = []
    for name in (JSON, ROWS):
        rows.append(Row("wire", f"sweep of {count:,} expanded, {name}", sizes[name] / 1e6, "MB"))
        rows.append(Row("wire", f"packing it, {name}", found[name], "s"))
    for shard_tasks_max in limits:
        what = f"sweep in shards of {shard_tasks_max:,}"
        mb, took_s = sizes[f"{shard_tasks_max}"] / 1e6, found[f"{shard_tasks_max}"]
        rows.append(below("wire", what, mb, "MB", 3.0, 0.1))
        rows.append(below("wire", f"packing the {what}", took_s, "s", 1.0, 0.2))
        for name in (JSON, ROWS):
            smaller, faster = sizes[name] / 1e6 / mb, found[name] / took_s
            rows.append(Row("wire", f"{what}, smaller by", mb, "MB", name, smaller))
            rows.append(Row("wire", f"packing the {what}, faster by", took_s, "s", name, faster))
    rows.append(Row("wire", f"ids of {ROUNDS} packings of the same sweep", 1, "id"))
    return rows


def _pack_sweep(path: Path, authority: Authority, dataset: Dataset, shard_tasks_max: int) -> str:
    """Cut, encode and write the bundle as central does; the ids are the same every time."""
    raw = spec.encode(dataset)
    digest, name = spec.dataset_digest(raw), dataset_id(b"sweep" + bytes(11))
    dag = Dag(dataset, digest)
    view = plan.View(dag, Controls(), IntervalSet(((0, dataset.jobs),)), (), {}, {})
    chosen = plan.select(view, dataset.jobs, shard_tasks_max)
    chunks = [ChunkSource("dataset", name, 1, raw)]
    hashes = ((0, spec_hash(dataset, 0)),)
    for number, shard in enumerate(shards.cut(view, chosen, shard_tasks_max)):
        seed = number.to_bytes(8, "big")
        lease = Lease(
            lease=LeaseId(spec.dataset_digest(seed)[:16]),
            dataset=name,
            dataset_digest=digest,
            shard=number,
            blocks=shard.blocks,
            spec_hashes=hashes,
            needs=shard.needs,
            returns=shard.returns,
            pins=(),
            spent=(),
            duration_ms=172_800_000,
        )
        raw = leases.encode(lease)
        chunks.append(ChunkSource("lease", lease.lease.hex(), lease.count(), raw))
    draft = ManifestDraft(
        kind=Kind.WORK,
        producer="central",
        stream=StreamId(b"w" * 16),
        sequence=0,
        created_us=NOW_US,
        epoch=Epoch(1, b"e" * 16),
        commit=1,
        audience=SiteName("bench"),
    )
    return write_bundle(path, draft, chunks, authority.central)


def _expanded(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Yield every task as a system with a record per task writes it."""
    name = dataset_id(b"sweep" + bytes(11))
    for job in range(dataset.jobs):
        argv = [macros.expand(text, dataset, 0, job) for text in SWEEP.argv]
        yield {"dataset": name, "job": job, "step": 0, "generation": 0, "argv": argv}


def _zstd_bytes(pieces: Iterable[bytes]) -> int:
    frame = zstandard.ZstdCompressor(level=codec.LEVEL).compressobj()
    return sum(len(frame.compress(piece)) for piece in pieces) + len(frame.flush())


def _data(folder: Path, gib: float) -> list[Row]:
    """Write, verify, split and join a bundle that holds one file of random bytes."""
    free_gib = shutil.disk_usage(folder).free / GIB
    if SPACE_TIMES * gib > free_gib:
        gib = free_gib // SPACE_TIMES
        print(f"  only {free_gib:.0f} GiB are free: {gib:.0f} GiB of data", file=sys.stderr)
    with (folder / "file").open("wb") as file:
        for _ in range(int(gib * 16)):
            file.write(os.urandom(64 * MIB))
    peaks: dict[str, float] = {}
    said: dict[str, str] = {}

    def step(name: str) -> float:
        command = [sys.executable, "-m", "benchmarks.big_bundle", name, str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=LIMIT_S)
        found = json.loads(done.stdout)
        peaks[name] = max(peaks.get(name, 0.0), found["peak_mib"])
        said[name] = found["said"]
        return float(found["seconds"])

    took = interleaved(1, {"write": lambda: step("write")})
    (folder / "file").unlink()
    step("hash")  # fills the cache
    took |= interleaved(VERIFY_ROUNDS, {n: partial(step, n) for n in ("hash", "verify")})
    took |= interleaved(1, {"split": lambda: step("split")})
    (folder / "bundle").unlink()
    took |= interleaved(1, {"join": lambda: step("join")})
    for part in folder.glob("part-*"):
        part.unlink()
    took |= interleaved(1, {"verify-joined": lambda: step("verify-joined")})
    assert said["verify-joined"] == said["verify"] == said["write"], "joining changed the id"
    (folder / "joined").unlink()
    what, mib = f"data bundle of {gib:g} GiB", gib * 1024
    rows = [
        Row("wire", f"{what}, {name}", mib / took[name], "MiB/s")
        for name in ("hash", "write", "split", "join")
    ]
    ratio = took["hash"] / took["verify"]
    speed = mib / took["verify"]
    rows.append(Row("wire", f"{what}, verify", speed, "MiB/s", "hashing the file", ratio, 0.8))
    rows += [
        below("wire", f"{what}, {name}: peak memory", peaks[name], "MiB", MEMORY_MIB)
        for name in peaks
        if name != "hash"
    ]
    return rows
