"""The tables of `pulk bundle query`: their columns, and the rows that one bundle gives.

`bundle` is the number of a row in `bundles`. Digests, ids and keys are text in hex; times are UTC
microseconds. Columns that hold lists hold JSON text, which SQLite's `json_each` takes apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from bundle.dataset import spec
from bundle.dataset.spec import Command
from bundle.look.records import attempt_row, envelope_manifest, task_count
from bundle.look.schema import SCHEMA
from bundle.look.words import time
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry as samples
from bundle.records.rules import rules_to_wire
from bundle.records.series import COLUMNS
from bundle.records.telemetry import FIELDS
from bundle.trust import cosignature, fingerprint
from bundle.wire.manifest import Manifest

Named = tuple[str, tuple[Any, ...]]  # a table's name, and one row in the order of its columns


def manifest_rows(number: int, manifest: Manifest) -> Iterator[Named]:
    """Yield the rows of receipts, received, tombstones, leases called off and edits."""
    for one in manifest.receipts:
        stream = one.stream.hex()
        for state, numbers in (("merged", one.merged), ("safe", one.safe), ("parked", one.parked)):
            for first, past in numbers.spans:
                yield "receipts", (number, stream, state, first, past - 1, "")
        for sequence, code in one.refused:
            yield "receipts", (number, stream, "refused", sequence, sequence, code)
    for stream_id, numbers in manifest.received:
        for first, past in numbers.spans:
            yield "received", (number, stream_id.hex(), first, past - 1)
    for dataset in manifest.tombstones:
        yield "tombstones", (number, dataset)
    for lease in manifest.called_off:
        yield "called_off", (number, lease.hex())
    for edit in manifest.edits:
        yield "edits", (number, edit.dataset, edit.document.hex(), edit.epoch.counter, edit.commit)
    for lease, step, jobs in manifest.called_off_tasks:
        for first, past in jobs.spans:
            yield "called_off_tasks", (number, lease.hex(), step, first, past - 1)


def chunk_rows(number: int, kind: str, name: str, raw: bytes) -> Iterator[Named]:
    """Yield the rows of one chunk of records; kinds without a table give none.

    Raises PulkError where the chunk is not well-formed, before the first row.
    """
    read = _READERS.get(kind)
    return iter(()) if read is None else read(number, name, raw)


def _segment(number: int, name: str, raw: bytes) -> Iterator[Named]:
    segment = segments.decode(raw)
    head = segment.header
    lease, run, host = head.lease.hex(), head.pilot_run.hex(), head.host
    facts = (head.dataset, head.dataset_digest.hex(), lease, run, head.work, head.shard, head.turn)
    ends = (segment.complete, segment.salvaged_at, len(segment.attempts))
    node = (host.name, host.kernel, host.cpu_model, host.cores, host.memory_mib, host.boot_id)
    gpus = ", ".join(" ".join(filter(None, (one.uuid, one.model, one.mig))) for one in host.gpus)
    more = (host.python, host.pulk, host.offline, host.swap_mib, host.numa_nodes, gpus)
    batch = (host.scratch, host.scheduler, host.batch_id, host.restarts, " ".join(host.modules))
    yield "segments", (number, name, *facts, *ends, *node, *more, *batch)
    for attempt in segment.attempts:
        row = attempt_row(attempt)
        values = {"bundle": number, "segment": name, "dataset": head.dataset, "lease": lease}
        values |= row | {"pilot_run": run, "host": host.name}
        values |= {"outputs": len(attempt.outputs), "consumed": len(attempt.consumed)}
        yield "attempts", tuple(values[column] for column in _ATTEMPTS)
        place_of = (attempt.job, attempt.step, attempt.generation)
        key = (number, head.dataset, *place_of, lease, run, attempt.local)
        for place, (file, size) in enumerate(attempt.outputs):
            yield "outputs", (*key, place, file.hex(), size)
        for place, outcome in enumerate(attempt.consumed):
            yield "consumed", (*key, place, outcome.hex())


def _lease(number: int, _name: str, raw: bytes) -> Iterator[Named]:
    lease = leases.decode(raw)
    key = (number, lease.lease.hex())
    lists = (json.dumps(lease.needs), json.dumps(lease.returns))
    facts = (lease.dataset, lease.dataset_digest.hex(), lease.shard, task_count(lease))
    yield "leases", (*key, *facts, *lists, lease.duration_ms)
    for block in lease.blocks:
        for step in block.steps:
            for first, past in block.jobs.spans:
                yield "lease_blocks", (*key, block.generation, step, first, past - first)
    for step, spec_hash in lease.spec_hashes:
        yield "spec_hashes", (*key, step, spec_hash.hex())
    for job, step, failures in lease.spent:
        yield "spent", (*key, job, step, failures)
    for job, step, history in lease.tried:
        by_fate = json.dumps({str(fate): many for fate, many in history.failures})
        peaks = (history.memory_peak_mib, history.wall_peak_ms, history.disk_peak_bytes)
        pilots = json.dumps(sorted(run.hex() for run in history.lost_on))
        ends = (history.ended_us, history.losses, pilots)
        yield "tried", (*key, job, step, by_fate, *peaks, *ends)
    for step, request in lease.asks:
        yield "asks", (*key, step, *spec.request_to_wire(request))
    for pin in lease.pins:
        at = (*key, lease.dataset, pin.job, pin.step, pin.generation, pin.attempt)
        for place, (file, size) in enumerate(pin.outputs):
            yield "pins", (*at, place, file.hex(), size)
    for of in lease.foreign:
        for task in of.tasks:
            it = (*key, of.dataset, of.step, task.task, task.generation, task.attempt)
            for output, (file, size) in zip(of.outputs, task.files, strict=True):
                yield "foreign_pins", (*it, output, file.hex(), size)


def _dataset(number: int, name: str, raw: bytes) -> Iterator[Named]:
    dataset = spec.decode(raw)
    digest = spec.dataset_digest(raw).hex()
    facts = (dataset.name, dataset.description, dataset.jobs, dataset.seed, len(dataset.steps))
    yield "datasets", (number, name, digest, *facts, dataset.tasks())
    for place, step in enumerate(dataset.steps):
        argv = json.dumps(step.run.argv) if isinstance(step.run, Command) else ""
        request = spec.request_to_wire(step.request)
        counts = (len(step.inputs), len(step.outputs), dataset.tasks_of(place))
        about = (step.name, step.per.value, argv, json.dumps(step.needs), *counts)
        retry = json.dumps(rules_to_wire(step.retry), sort_keys=True)
        yield "steps", (number, name, place, *about, *request, step.failures_max, retry)


def _telemetry(number: int, name: str, raw: bytes) -> Iterator[Named]:
    for sample in samples.decode(raw):
        yield "telemetry", (number, name, *(getattr(sample, field) for field in FIELDS))
    for local, points in samples.decode_series(raw).items():
        for point in points:
            yield "series", (number, name, local, *(getattr(point, field) for field in COLUMNS))


def _logs(number: int, name: str, raw: bytes) -> Iterator[Named]:
    for local, log in seals.decode_logs(raw).items():
        yield "logs", (number, name, local, len(log), log.decode(errors="replace"))


def _report(number: int, _name: str, raw: bytes) -> Iterator[Named]:
    report = reports.decode(raw)
    facts = (report.at_us, report.tasks_wanted, report.slots, report.pilots_running)
    yield "reports", (number, *facts, report.trust_version)
    for digest in report.has:
        yield "report_has", (number, digest.hex())
    for one in report.held:
        yield "report_held", (number, one.bundle, one.shards, one.complete, one.open_tasks)
    for item in report.profile:
        yield "report_profile", (number, *item)
    for refused in report.refused:
        yield "report_refused", (number, *refused)


def _cosignature(number: int, _name: str, raw: bytes) -> Iterator[Named]:
    found = cosignature.read(raw)
    for one in found.signatures:
        key = one.key
        yield "cosignatures", (number, found.digest.hex(), key.hex(), fingerprint.of_key(key))


def _work(number: int, name: str, raw: bytes) -> Iterator[Named]:
    manifest = envelope_manifest(raw)
    facts = (manifest.audience, manifest.stream.hex(), manifest.sequence, manifest.created_us)
    yield "works", (number, name, *facts, time(manifest.created_us), manifest.lifetime_ms)


_ATTEMPTS = tuple(SCHEMA["attempts"].columns)
_READERS: dict[str, Callable[[int, str, bytes], Iterator[Named]]] = {
    "segment": _segment,
    "lease": _lease,
    "dataset": _dataset,
    "telemetry": _telemetry,
    "logs": _logs,
    "report": _report,
    "work-manifest": _work,
    cosignature.CHUNK: _cosignature,
}
