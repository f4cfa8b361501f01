"""The records inside the published vectors: one dataset, one lease, one segment, a report."""

from __future__ import annotations

from typing import Any

from bundle import canonical
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Step
from bundle.fates import Fate
from bundle.ids import LeaseId, PilotRun
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.attempt import Attempt, Usage, outcome_digest
from bundle.records.host import Host, HostGpu
from bundle.records.lease import Block, Lease
from bundle.records.report import HeldWork, Report
from bundle.records.segment import Segment, SegmentHeader
from bundle.wire.entries import SegmentEntry
from bundle.wire.manifest import Kind
from bundle.wire.preauth import pae
from tests.attacks.vector_parts import CREATED_US, DATASET, KEYS, Body, Made, draft, make

LEASE, RUN = LeaseId(b"lease's 16 bytes"), PilotRun(b"a pilot!")
DOCUMENT = spec.encode(
    Dataset(
        name="showers",
        jobs=3,
        seed=11,
        parameters=(("energy", "1e6"),),
        steps=(
            Step("generate", Command(("/bin/generate", "$(job)")), outputs=(Output("hits"),)),
            Step("weight", Command(("/bin/weight",)), needs=(0,), outputs=(Output("w"),)),
        ),
    )
)
DIGEST = spec.dataset_digest(DOCUMENT)
OUTPUTS = tuple(((bytes([65 + job]) * 32, 1000 + job),) for job in range(3))
HOST = Host(
    "node1",
    "6.1.0",
    "a cpu",
    8,
    16_000,
    "boot",
    "3.11",
    "0.1.0",
    "namespace",
    swap_mib=5,
    numa_nodes=2,
    gpus=(HostGpu("MIG-1", "A", 19_968, "1g"),),
    scratch="xfs",
    scheduler="slurm",
    batch_id="7",
    restarts=1,
    modules=("gcc",),
)


def lease() -> bytes:
    """Return the lease of three jobs of two steps."""
    return leases.encode(
        Lease(
            lease=LEASE,
            dataset=DATASET,
            dataset_digest=DIGEST,
            shard=0,
            blocks=(Block(0, IntervalSet.of(range(3)), (0, 1)),),
            spec_hashes=((0, b"0" * 32), (1, b"1" * 32)),
            needs=(),
            returns=(1,),
            pins=(),
            spent=((2, 0, 1),),
            duration_ms=3_600_000,
        )
    )


def work() -> Made:
    """Return the work bundle that the lease came with."""
    dataset = Body("dataset", DATASET, DOCUMENT)
    return make(draft(Kind.WORK), dataset, Body("lease", LEASE.hex(), lease(), records=6))


def attempts() -> tuple[Attempt, ...]:
    """Return attempts that use every kind of column, and planes of one to six bytes."""

    def one(local: int, step: int, job: int, fate: Fate, **rest: Any) -> Attempt:
        at = 5_000_000 * local
        return Attempt(
            job=job,
            step=step,
            generation=0,
            local=local,
            fate=fate,
            started_us=CREATED_US + at - 3 * local,
            started_mono_us=70_000_000_000 + at,
            ended_mono_us=70_000_000_000 + at + 600_007 * (local + 1),
            slot=local % 2,
            **({"exit_code": 0, "signal": 0, "software": "model==1.2"} | rest),
        )

    usage = Usage(600, 590, 1, 2, 3, 4)
    return (
        one(0, 0, 0, Fate.SUCCESS, usage=usage, outputs=OUTPUTS[0]),
        one(1, 0, 1, Fate.SUCCESS, usage=Usage(1200, 1300, 300), outputs=OUTPUTS[1]),
        one(2, 0, 2, Fate.SIGNAL, exit_code=-11, signal=11, evidence="died of signal 11"),
        one(
            3,
            1,
            0,
            Fate.SUCCESS,
            usage=Usage(2400, 1, 70_000, 1 << 40, 1 << 33, 0),
            consumed=(outcome_digest(OUTPUTS[0]),),
            outputs=((b"W" * 32, 1 << 33), OUTPUTS[0][0]),
            software="",
        ),
    )


def segment(rows: tuple[Attempt, ...]) -> bytes:
    """Return a segment of the lease."""
    header = SegmentHeader(RUN, LEASE, DATASET, DIGEST, work().id, 0, 1, HOST)  # type: ignore[arg-type]
    return segments.encode(Segment(header, rows, complete=False))


def plain(rows: tuple[Attempt, ...]) -> list[dict[str, Any]]:
    """Return what a reader must read in a segment, as JSON."""
    names = [name for name in Attempt.__slots__ if name != "usage"]
    found = []
    for row in rows:
        one: dict[str, Any] = {name: getattr(row, name) for name in names}
        one |= {name: getattr(row.usage, name) for name in Usage.__slots__}
        one["consumed"] = [digest.hex() for digest in row.consumed]
        one["outputs"] = [[digest.hex(), size] for digest, size in row.outputs]
        found.append(one)
    return found


def result() -> Made:
    """Return a result bundle that explains itself: work manifest, lease, dataset, segment, log."""
    raw = segment(attempts())
    digest = segments.segment_digest(raw)
    signature = KEYS["pilot"].sign(pae(seals.SEAL_PAYLOAD_TYPE, digest))
    row = SegmentEntry(
        digest=digest,
        pilot_run=RUN,
        pilot_key=KEYS["pilot"].public,
        pilot_signature=signature,
        batch_id="slurm:17",
        lease=LEASE,
        work=work().id,  # type: ignore[arg-type]
        telemetry=False,
    )
    name = digest.hex()
    return make(
        draft(Kind.RESULT, segments=(row,), introduces=(b"i" * 32,), previous=b"p" * 32),
        Body("work-manifest", work().id, envelope(work())),
        Body("lease", LEASE.hex(), lease(), records=6),
        Body("dataset", DATASET, DOCUMENT),
        Body("segment", name, raw, records=4),
        Body("logs", name, seals.encode_logs({0: b"hello\n", 3: b"bye\n"}), records=2),
    )


def envelope(made: Made, **changes: Any) -> bytes:
    """Return the envelope of a bundle."""
    known = {"kind": made.kind.value, "manifest": made.manifest, "signatures": made.signatures}
    return canonical.encode(known | changes)


def report() -> bytes:
    """Return a report."""
    return reports.encode(
        Report(
            at_us=CREATED_US,
            tasks_wanted=100,
            slots=8,
            pilots_running=1,
            held=(HeldWork(work().id, 1, 0, 6),),  # type: ignore[arg-type]
            profile=(("offline", "namespace"),),
            refused=(("0" * 64, "bad-signature"),),
            has=(DIGEST,),
            trust_version=1,
        )
    )


def samples() -> bytes:
    """Return the telemetry of a node."""
    rows = (telemetry.Sample(CREATED_US, 7500, 900, 1 << 40, 8), telemetry.Sample(1, 2, 3, 4, 5))
    return telemetry.encode(rows)
