"""A small real site for the pilot's tests: authority, spool, work bundles, published shards."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Request, Step, Synthetic
from bundle.dataset.spec_hash import spec_hash
from bundle.fates import Fate
from bundle.ids import BundleId, DatasetId, LeaseId, StreamId, dataset_id
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.records.lease import Block, Lease, Pinned
from bundle.records.seal import Seal
from bundle.records.segment import Segment
from bundle.spool import publish, shard
from bundle.spool.layout import FOLDERS, SealName, ShardName, Spool
from bundle.spool.shard import ShardFile
from bundle.trust.quickstart import make_authority
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft, Rules
from bundle.wire.write import ChunkSource, write_bundle

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-c", "from bundle.cli.main import main; main()", "pilot")
STREAM = StreamId(bytes(15) + b"\x07")


def command(*argv: str) -> Command:
    return Command(tuple(argv))


def python(code: str) -> Command:
    """A payload in Python; its program is this interpreter."""
    return Command((sys.executable, "-I", "-c", code))


def shell(code: str) -> Command:
    return Command(("/bin/bash", "-c", code.replace("$", "$$")))


def instant(
    *output_bytes: int, cpu_ms: int = 0, wall_ms: int = 0, memory_mib: int = 0
) -> Synthetic:
    return Synthetic(cpu_ms, wall_ms, memory_mib, tuple(output_bytes))


def dataset(*steps: Step, jobs: int = 1, **fields: object) -> Dataset:
    return Dataset(name="test", jobs=jobs, seed=7, steps=steps, **fields)  # type: ignore[arg-type]


def small(memory_mib: int = 64, walltime_ms: int = 60_000, disk_bytes: int = 1 << 28) -> Request:
    return Request(memory_mib=memory_mib, walltime_ms=walltime_ms, disk_bytes=disk_bytes)


class SiteFolder:
    """A spool with the trust file of an authority made for the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = Spool(root / "spool")
        for name in FOLDERS:
            publish.make_folder(self.spool.folder(name))
        self.authority = make_authority(root / "root", root / "central")
        shutil.copy(root / "central" / "trust", self.spool.trust)
        self._sequence = 0

    def work(
        self,
        data: Dataset,
        shards: Sequence[Sequence[Block]] | None = None,
        *,
        needs: Mapping[int, Sequence[int]] | None = None,
        pins: Sequence[Pinned] = (),
        spent: Sequence[tuple[int, int, int]] = (),
        rules: Rules = Rules(),  # noqa: B008  frozen
        **told: object,
    ) -> tuple[BundleId, list[Lease]]:
        """Accept a work bundle; without `shards` all tasks are one shard."""
        name = dataset_id(os.urandom(16))
        raw = spec.encode(data)
        made = [
            self._lease(data, name, raw, number, blocks, (needs or {}).get(number, ()), pins, spent)
            for number, blocks in enumerate(shards or [whole(data)])
        ]
        made = [dataclasses.replace(one, **told) for one in made]  # type: ignore[arg-type]
        self._sequence += 1
        draft = ManifestDraft(
            kind=Kind.WORK,
            producer=CENTRAL,
            stream=STREAM,
            sequence=self._sequence,
            created_us=1,
            rules=rules,
        )
        chunks = [
            ChunkSource("lease", one.lease.hex(), one.count(), leases.encode(one)) for one in made
        ]
        chunks.append(ChunkSource("dataset", name, 1, raw))
        staged = self.root / f"work-{self._sequence}.pulk"
        bundle = write_bundle(staged, draft, chunks, self.authority.central)
        publish.make_folder(self.spool.work(bundle))
        staged.rename(self.spool.work_bundle(bundle))
        return bundle, made

    def _lease(
        self,
        data: Dataset,
        name: DatasetId,
        raw: bytes,
        number: int,
        blocks: Sequence[Block],
        needs: Sequence[int],
        pins: Sequence[Pinned],
        spent: Sequence[tuple[int, int, int]],
    ) -> Lease:
        steps = sorted({step for block in blocks for step in block.steps})
        return Lease(
            lease=LeaseId(os.urandom(16)),
            dataset=name,
            dataset_digest=spec.dataset_digest(raw),
            shard=number,
            blocks=tuple(blocks),
            spec_hashes=tuple((step, spec_hash(data, step)) for step in steps),
            needs=tuple(needs),
            returns=(),
            pins=tuple(pins),
            spent=tuple(spent),
            duration_ms=3_600_000,
        )

    def offer(
        self, bundle: BundleId, lease: Lease, turn: int = 1, start_before_us: int = 0
    ) -> ShardFile:
        """Publish a shard as claimable."""
        offered = ShardFile(lease.lease, turn, bundle, lease.shard, start_before_us)
        raw = shard.encode(offered)
        publish.write_new_file(self.spool.folder("tmp"), self.spool.claimable(offered.name), raw)
        return offered

    def offered(self, data: Dataset, **fields: object) -> Lease:
        """Accept a dataset as one shard and offer it."""
        bundle, (lease,) = self.work(data, **fields)  # type: ignore[arg-type]
        self.offer(bundle, lease)
        return lease

    def start(
        self,
        *options: str,
        slots: int = 2,
        idle_s: float = 0.0,
        config: Path | None = None,
        program: Sequence[str] = PROGRAM,
        isolation: str = "auto",
        before: Sequence[str] = (),
        **env: str,
    ) -> subprocess.Popen[bytes]:
        """Start `pulk pilot run` as a process of its own; tasks may write beside the spool.

        `before` are words that the command is put behind, `program` those before `run`.
        """
        if config is None:
            config = self.root / "pilot" / "pilot.toml"
            config.parent.mkdir(exist_ok=True)
            text = f'[tasks]\nisolation = "{isolation}"\nwritable = ["{self.root}"]\n'
            config.write_text(text)
        arguments = [
            *before,
            *program,
            "run",
            "--spool",
            str(self.spool.root),
            "--batch-id",
            "test-1",
            "--slots",
            str(slots),
            "--idle-s",
            str(idle_s),
        ]
        if config is not None:
            arguments += ["--config", str(config)]
        arguments += options
        return subprocess.Popen(arguments, cwd=ROOT, env=os.environ | env, start_new_session=True)

    def run(self, *options: str, **fields: object) -> None:
        """Run a pilot to its end and expect it to end well."""
        with self.start(*options, **fields) as process:  # type: ignore[arg-type]
            assert process.wait(60) == 0

    def seals(self, lease: Lease) -> list[tuple[SealName, Seal, Segment]]:
        """Return the seals that wait for collection, in order of turn."""
        found = []
        for path in sorted(self.spool.folder("sealed").iterdir()):
            name = SealName.parse(path.name)
            if name is not None and name.shard.lease == lease.lease:
                seal = seals.decode(path.read_bytes(), where=str(path))
                found.append((name, seal, segments.decode(seal.segment)))
        return sorted(found, key=lambda one: one[0].shard.turn)

    def attempts(self, lease: Lease) -> list[Attempt]:
        return [attempt for *_, segment in self.seals(lease) for attempt in segment.attempts]

    def log(self, lease: Lease, attempt: Attempt) -> bytes:
        for _, seal, segment in self.seals(lease):
            if attempt in segment.attempts:
                return seals.decode_logs(seal.logs).get(attempt.local, b"")
        return b""

    def only(self, lease: Lease) -> Attempt:
        """Return the one attempt of a shard."""
        (attempt,) = self.attempts(lease)
        return attempt

    def content(self, attempt: Attempt, output: int = 0) -> bytes:
        return self.spool.data(attempt.outputs[output][0]).read_bytes()

    def turn(self, lease: Lease, turn: int) -> ShardName:
        return ShardName(lease.lease, turn)


def whole(data: Dataset) -> list[Block]:
    """Every task of a dataset at generation 1."""
    per_job = tuple(n for n, step in enumerate(data.steps) if step.per is spec.Per.JOB)
    per_dataset = tuple(n for n, step in enumerate(data.steps) if step.per is spec.Per.DATASET)
    blocks = []
    if per_job:
        blocks.append(Block(1, IntervalSet.spanning([(0, data.jobs)]), per_job))
    if per_dataset:
        blocks.append(Block(1, IntervalSet.of([0]), per_dataset))
    return blocks


def fates(attempts: Sequence[Attempt]) -> list[Fate]:
    return [attempt.fate for attempt in attempts]
