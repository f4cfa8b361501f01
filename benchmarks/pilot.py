"""Many short tasks on one node: `/bin/true`, two slots, journal, limits, monitoring and seal on.

Floor: a C loop around posix_spawn. Peers: the same loop in Python, `xargs -P2`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import pilot_watching
from benchmarks.table import Row, interleaved
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import Epoch, LeaseId, SiteName, StreamId, dataset_id
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records.lease import Block, Lease
from bundle.spool import shard as shards
from bundle.spool.layout import FOLDERS, Spool
from bundle.spool.shard import ShardFile
from bundle.trust.quickstart import make_authority
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central.rehearsal.programs import pulk

TASKS = 10_000
SLOTS = 2
ROUNDS = 3
SITE = SiteName("bench")
LIMIT_S = 300


def measure() -> list[Row]:
    """Return the rows: tasks per second of each, interleaved, medians of three rounds."""
    with tempfile.TemporaryDirectory(prefix="pulk-bench-") as folder:
        root = Path(folder)
        floor = _build_floor(root)
        measures = {
            "pulk pilot": lambda: TASKS / _pilot(root),
            "pulk pilot, isolated": lambda: TASKS / _pilot(root, isolation="required"),
            "pulk pilot, first task": lambda: _pilot(root, tasks=1),
            "python posix_spawn": lambda: TASKS / _timed(_python_loop),
            "xargs -P2": lambda: TASKS / _timed(_xargs),
        }
        if floor is not None:
            measures["C posix_spawn"] = lambda: TASKS / _timed(lambda: _c_loop(floor))
        found = interleaved(ROUNDS, measures)
    ours = found["pulk pilot"]
    rows = []
    for peer, must, stretch in (
        ("C posix_spawn", 0.70, 0.90),
        ("python posix_spawn", None, None),
        ("xargs -P2", None, None),
    ):
        if peer in found:
            rows.append(Row("pilot", peer, found[peer], "tasks/s"))
            ratio = ours / found[peer]
            rows.append(Row("pilot", "pulk pilot run", ours, "tasks/s", peer, ratio, must, stretch))
    isolated = found["pulk pilot, isolated"]
    rows.append(Row("pilot", "isolated", isolated, "tasks/s", "plain", isolated / ours, None, None))
    rows.append(Row("pilot", "one task from start to end", found["pulk pilot, first task"], "s"))
    return rows + pilot_watching.rows()


def _timed(run: object) -> float:
    started = time.monotonic()
    run()  # type: ignore[operator]
    return time.monotonic() - started


def _build_floor(root: Path) -> Path | None:
    binary = root / "floor"
    source = Path(__file__).with_name("floor.c")
    try:
        subprocess.run(["cc", "-O2", "-o", binary, source], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        print("no C compiler: the floor is left out", file=sys.stderr)
        return None
    return binary


def _c_loop(floor: Path) -> None:
    subprocess.run([floor, str(TASKS)], check=True, timeout=LIMIT_S)


def _python_loop() -> None:
    alive, left = 0, TASKS
    while left or alive:
        while left and alive < SLOTS:
            os.posix_spawn("/bin/true", ["/bin/true"], os.environ)
            left, alive = left - 1, alive + 1
        os.wait()
        alive -= 1


def _xargs() -> None:
    numbers = "\n".join(map(str, range(TASKS))).encode()
    subprocess.run(
        ["xargs", "-P", str(SLOTS), "-n", "1", "/bin/true"],
        input=numbers,
        check=True,
        timeout=LIMIT_S,
    )


def _pilot(root: Path, tasks: int = TASKS, isolation: str = "plain") -> float:
    """Run one pilot over one shard and return its seconds from start to exit."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        spool = _spool_with(Path(folder), tasks)
        config = Path(folder) / "pilot.toml"
        config.write_text(f'[tasks]\nisolation = "{isolation}"\n')
        started = time.monotonic()
        subprocess.run(
            pulk(
                *("pilot", "run", "--spool", str(spool.root), "--batch-id", "bench"),
                *("--slots", str(SLOTS), "--idle-s", "0", "--config", str(config)),
            ),
            check=True,
            timeout=LIMIT_S,
        )
        took_s = time.monotonic() - started
        assert any(spool.folder("sealed").iterdir()), "the pilot sealed nothing"
        return took_s


def _spool_with(root: Path, tasks: int) -> Spool:
    spool = Spool(root / "site")
    for name in FOLDERS:
        spool.folder(name).mkdir(parents=True, mode=0o700)
    authority = make_authority(root / "root", root / "central")
    spool.trust.write_bytes(authority.trust.raw)
    dataset = Dataset("true", tasks, 1, (Step("true", Command(("/bin/true",))),))
    raw = spec.encode(dataset)
    lease = Lease(
        lease=LeaseId(os.urandom(16)),
        dataset=dataset_id(os.urandom(16)),
        dataset_digest=spec.dataset_digest(raw),
        shard=0,
        blocks=(Block(0, IntervalSet(((0, tasks),)), (0,)),),
        spec_hashes=((0, spec_hash(dataset, 0)),),
        needs=(),
        returns=(0,),
        pins=(),
        spent=(),
        duration_ms=86_400_000,
    )
    draft = ManifestDraft(
        kind=Kind.WORK,
        producer="central",
        stream=StreamId(os.urandom(16)),
        sequence=0,
        created_us=time.time_ns() // 1000,
        epoch=Epoch(1, os.urandom(16)),
        commit=1,
        audience=SITE,
    )
    chunks = [
        ChunkSource("dataset", lease.dataset, 1, raw),
        ChunkSource("lease", lease.lease.hex(), tasks, leases.encode(lease)),
    ]
    staged = spool.folder("tmp") / "bundle"
    bundle = write_bundle(staged, draft, chunks, authority.central)
    spool.kept_seals(bundle).mkdir(parents=True)
    staged.rename(spool.work_bundle(bundle))
    offer = ShardFile(lease.lease, 1, bundle, 0, 0)
    spool.claimable(offer.name).write_bytes(shards.encode(offer))
    return spool
