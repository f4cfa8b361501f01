"""A spool whose shards hold `/bin/true` only, and a real pilot that works through it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import Epoch, LeaseId, SiteName, StreamId, dataset_id
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.records.lease import Block, Lease
from bundle.spool import shard as shards
from bundle.spool.layout import FOLDERS, Spool
from bundle.spool.shard import ShardFile
from bundle.trust.quickstart import make_authority
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central.rehearsal.programs import pulk

SLOTS = 2
SITE = SiteName("bench")


def spool_with(root: Path, tasks: int, shard_tasks: int = 0) -> Spool:
    """Make a spool that offers so many tasks, in one shard or in shards of a size."""
    spool = Spool(root / "site")
    for name in FOLDERS:
        spool.folder(name).mkdir(parents=True, mode=0o700)
    authority = make_authority(root / "root", root / "central")
    spool.trust.write_bytes(authority.trust.raw)
    dataset = Dataset("true", tasks, 1, (Step("true", Command(("/bin/true",))),))
    raw, name = spec.encode(dataset), dataset_id(os.urandom(16))
    size = shard_tasks or tasks
    made = [
        Lease(
            lease=LeaseId(os.urandom(16)),
            dataset=name,
            dataset_digest=spec.dataset_digest(raw),
            shard=number,
            blocks=(Block(0, IntervalSet(((first, min(first + size, tasks)),)), (0,)),),
            spec_hashes=((0, spec_hash(dataset, 0)),),
            needs=(),
            returns=(0,),
            pins=(),
            spent=(),
            duration_ms=86_400_000,
        )
        for number, first in enumerate(range(0, tasks, size))
    ]
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
    chunks = [ChunkSource("dataset", name, 1, raw)]
    chunks += [ChunkSource("lease", o.lease.hex(), o.count(), leases.encode(o)) for o in made]
    staged = spool.folder("tmp") / "bundle"
    bundle = write_bundle(staged, draft, chunks, authority.central)
    spool.kept_seals(bundle).mkdir(parents=True)
    staged.rename(spool.work_bundle(bundle))
    for one in made:
        offer = ShardFile(one.lease, 1, bundle, one.shard, 0)
        spool.claimable(offer.name).write_bytes(shards.encode(offer))
    return spool


def command(spool: Spool, isolation: str = "plain") -> list[str]:
    """Return how a pilot is started on a spool."""
    config = spool.root.with_name("pilot.toml")
    config.write_text(f'[tasks]\nisolation = "{isolation}"\n')
    return pulk(
        *("pilot", "run", "--spool", str(spool.root), "--batch-id", "bench"),
        *("--slots", str(SLOTS), "--idle-s", "0", "--config", str(config)),
    )


@contextmanager
def started(spool: Spool) -> Iterator[subprocess.Popen[bytes]]:
    """Run a pilot beside the body, killed by its pid where it is still there afterwards."""
    process = subprocess.Popen(command(spool))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def sealed(spool: Spool) -> Iterator[Attempt]:
    """Yield every attempt in the seals that wait for the relay."""
    for path in spool.folder("sealed").iterdir():
        seal = seals.decode(path.read_bytes(), where=str(path))
        yield from segments.decode(seal.segment).attempts
