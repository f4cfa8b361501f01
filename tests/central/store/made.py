"""Rows for tests of stores: every field set, and different for every number."""

from __future__ import annotations

from typing import Any

from bundle.digest import digest
from bundle.fates import FATES, Fate
from bundle.ids import BundleId, DatasetId, Epoch, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from central.core.changes import UsageSum
from central.core.facts import AttemptFact, Pin, TaskRow, Verdict
from central.store.protocol import Store
from central.store.rows import (
    BundleRow,
    DatasetRow,
    LeaseRow,
    SegmentRow,
    Span,
    StepRow,
    WorkRow,
)

EPOCH = Epoch(3, b"e" * 16)


def sha(*parts: object) -> bytes:
    return digest("test", repr(parts).encode())


def bundle(number: int, **changes: Any) -> BundleRow:
    row = BundleRow(
        id=BundleId(sha("bundle", number).hex()),
        kind="result",
        producer="north",
        audience="",
        stream=StreamId(b"s" * 16),
        sequence=number,
        epoch=None,
        commit=0,
        created_us=1_700_000_000_000_000 + number,
        size_bytes=100 + number,
        leases=number % 2,
        outcome="merged",
        code="",
        text="",
        safe=number % 3 == 0,
    )
    return row._replace(**changes)


def dataset(number: int, **changes: Any) -> DatasetRow:
    row = DatasetRow(
        no=0,
        id=DatasetId(f"{number:026}"),
        digest=sha("document", number),
        name=f"dataset {number}",
        jobs=2**32,
        steps=3,
        tasks=3 * 2**32,
        submitted_us=1000 - number,
        touched=IntervalSet.spanning([(0, 5), (2**32 - 1, 1)]),
        crossed=number % 2 == 1,
    )
    return row._replace(**changes)


def work(number: int) -> WorkRow:
    chunks = frozenset(sha("chunk", number, one) for one in range(3))
    return WorkRow(BundleId(sha("work", number).hex()), SiteName("north"), 5, 6, chunks)


def lease(number: int, of: int, **changes: Any) -> LeaseRow:
    row = LeaseRow(
        no=0,
        id=LeaseId(sha("lease", number)[:16]),
        dataset=of,
        digest=sha("lease", number),
        work=work(number).id,
        site=SiteName("north"),
        deadline_us=1000 + number,
        state="live",
        raw=b"raw" * number,
        tasks=10,
        answered=0,
    )
    return row._replace(**changes)


def segment(number: int, of: int, *spans: Span, **changes: Any) -> SegmentRow:
    row = SegmentRow(
        digest=sha("segment", number),
        dataset=of,
        bundle=7,
        place=number,
        lease=1,
        pilot_run=b"pilotrun",
        batch_id=f"batch {number}",
        attempts=20,
        unsuccessful=number % 2,
        local_min=number,
        local_max=number + 20,
        generation_max=0,
        complete=number % 2 == 0,
        salvaged=number % 2 == 1,
        spans=spans,
    )
    return row._replace(**changes)


def step(number: int, **changes: Any) -> StepRow:
    usage = UsageSum(1, 2, 3, 4, 5, 6)
    return StepRow(number, (0, 1, 2, 3, 4, 5, 6), 21, usage)._replace(**changes)


def task(step: int, job: int, **changes: Any) -> TaskRow:
    row = TaskRow(step, job, 2, Verdict.DONE, sha("outcome", step, job), 4, 1)
    return row._replace(**changes)


def attempt(step: int, job: int, number: int, of: LeaseRow, **changes: Any) -> AttemptFact:
    fate = FATES[number % len(FATES)]
    fact = AttemptFact(
        step=step,
        job=job,
        generation=1,
        lease=of.id,
        pilot_run=b"pilotrun",
        local=number,
        fate=fate,
        spec_hash=sha("spec", step),
        lineage=sha("lineage", job),
        outcome=sha("outcome", number) if fate is Fate.SUCCESS else b"",
        content=sha("content", step, job, number),
        wall_ms=2**44,
        cpu_ms=2**44 + number,
        memory_peak_mib=number,
        disk_peak_bytes=2**50,
        read_bytes=1,
        written_bytes=0,
        ended_us=1_700_000_000_000_000 + number,
    )
    return fact._replace(**changes)


def pin(step: int, job: int, commit: int = 1) -> Pin:
    return Pin(step, job, 1, f"attempt of {step} {job}", sha("outcome", step, job), EPOCH, commit)


def known_lease(store: Store, number: int = 1, of: int = 1, **changes: Any) -> LeaseRow:
    """Add a lease; inside a transaction."""
    row = lease(number, of, **changes)
    store.datasets.add_work(work(number))
    return row._replace(no=store.datasets.add_leases([row])[0])
