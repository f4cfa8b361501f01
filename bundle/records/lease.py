"""A lease: central's dated promise of one shard's tasks to a site.

Its chunk says everything a pilot and a forgetful central must know of the tasks, so it certifies
itself once the work manifest that lists its digest is verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bundle import canonical, shape
from bundle.dataset.spec import Request, request_from_wire, request_to_wire
from bundle.ids import DatasetId, LeaseId, Task
from bundle.intervals import IntervalSet
from bundle.limits import JOBS_MAX, LEASE_LIMITS
from bundle.records import foreign
from bundle.records.foreign import ForeignPins
from bundle.records.rules import History, history_from_wire, history_to_wire


@dataclass(frozen=True, slots=True)
class Block:
    """Every (job, step) of `jobs` x `steps` at one generation; a per-dataset step's job is 0."""

    generation: int
    jobs: IntervalSet
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A parent's success from another bundle that this shard builds upon (also a Pin fact)."""

    job: int
    step: int
    generation: int
    attempt: str  # text form of the attempt key
    outputs: tuple[tuple[bytes, int], ...]  # (file digest, size in bytes), in declared order


@dataclass(frozen=True, slots=True)
class Lease:
    """The content of one lease chunk: one shard of a work bundle."""

    lease: LeaseId
    dataset: DatasetId
    dataset_digest: bytes
    shard: int
    blocks: tuple[Block, ...]
    spec_hashes: tuple[tuple[int, bytes], ...]  # (step, hash), ascending
    needs: tuple[int, ...]  # shards of the same bundle that must be sealed first
    returns: tuple[int, ...]  # steps whose outputs travel home
    pins: tuple[Pinned, ...]
    spent: tuple[tuple[int, int, int], ...]  # (job, step, counted failures so far)
    duration_ms: int  # from acceptance at the site; limits starting only
    tried: tuple[tuple[int, int, History], ...] = ()  # (job, step, what its retry rests on)
    asks: tuple[tuple[int, Request], ...] = ()  # (step, first request) where it was learned
    foreign: tuple[ForeignPins, ...] = ()  # what of other datasets its tasks read

    def tasks(self) -> Iterator[tuple[Task, int]]:
        """Yield every task with its generation, by block, then step, then job."""
        for block in self.blocks:
            for step in block.steps:
                for job in block.jobs:
                    yield Task(self.dataset, job, step), block.generation

    def count(self) -> int:
        """Return how many tasks are promised."""
        return sum(len(block.jobs) * len(block.steps) for block in self.blocks)

    def generation_of(self, job: int, step: int) -> int | None:
        """Return the generation leased for (job, step), or None where it is not in the lease."""
        for block in self.blocks:
            if step in block.steps and job in block.jobs:
                return block.generation
        return None


def encode(lease: Lease) -> bytes:
    """Return the raw bytes of a lease chunk."""
    later: dict[str, Any] = {}  # absent where empty
    if lease.tried:
        later["tried"] = [[job, step, *history_to_wire(one)] for job, step, one in lease.tried]
    if lease.asks:
        later["asks"] = [[step, *request_to_wire(one)] for step, one in lease.asks]
    if lease.foreign:
        later["foreign"] = foreign.to_wire(lease.foreign)
    return canonical.encode(
        later
        | {
            "lease": lease.lease,
            "dataset": lease.dataset,
            "dataset_digest": lease.dataset_digest,
            "shard": lease.shard,
            "blocks": [[b.generation, b.jobs.to_wire(), list(b.steps)] for b in lease.blocks],
            "spec_hashes": [[step, value] for step, value in lease.spec_hashes],
            "needs": list(lease.needs),
            "returns": list(lease.returns),
            "pins": [
                [p.job, p.step, p.generation, p.attempt, [list(one) for one in p.outputs]]
                for p in lease.pins
            ],
            "spent": [list(one) for one in lease.spent],
            "duration_ms": lease.duration_ms,
        }
    )


def decode(raw: bytes) -> Lease:
    """Read a lease chunk. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, LEASE_LIMITS, where="lease"), "lease")
    return Lease(
        lease=LeaseId(value.bytes("lease", 16)),
        dataset=DatasetId(value.text("dataset")),
        dataset_digest=value.bytes("dataset_digest", 32),
        shard=value.count("shard"),
        blocks=tuple(
            _block(one, f"lease.blocks[{n}]") for n, one in enumerate(value.rows("blocks"))
        ),
        spec_hashes=tuple((row.count(0), row.bytes(1, 32)) for row in value.readers("spec_hashes")),
        needs=value.counts("needs"),
        returns=value.counts("returns"),
        pins=tuple(_pinned(row) for row in value.readers("pins")),
        spent=tuple((r.count(0), r.count(1), r.count(2)) for r in value.readers("spent")),
        duration_ms=value.count("duration_ms"),
        tried=tuple(_tried(value)),
        asks=tuple(_asks(value)),
        foreign=tuple(_foreign(value)),
    )


def _tried(value: shape.Reader) -> Iterator[tuple[int, int, History]]:
    for row in value.readers("tried") if value.has("tried") else ():
        yield row.count(0), row.count(1), history_from_wire(row, 2)


def _asks(value: shape.Reader) -> Iterator[tuple[int, Request]]:
    for row in value.readers("asks") if value.has("asks") else ():
        yield row.count(0), request_from_wire(row, 1)


def _foreign(value: shape.Reader) -> Iterator[ForeignPins]:
    for row in value.readers("foreign") if value.has("foreign") else ():
        yield foreign.from_wire(row)


def _block(row: Any, where: str) -> Block:
    reader = shape.Reader.of(row, where)
    runs = [(run.count(0), run.count(1)) for run in reader.readers(1)]
    jobs = IntervalSet.spanning((first, first + count) for first, count in runs)
    if jobs.spans and jobs.spans[-1][1] > JOBS_MAX:
        found = f"job {jobs.spans[-1][1] - 1}"
        raise shape.WrongShape(where=where, expected=f"jobs below {JOBS_MAX}", found=found)
    return Block(reader.count(0), jobs, reader.counts(2))


def _pinned(row: shape.Reader) -> Pinned:
    outputs = tuple((one.bytes(0, 32), one.count(1)) for one in row.readers(4))
    return Pinned(row.count(0), row.count(1), row.count(2), row.text(3), outputs)
