"""What a bundle's chunks hold in total: tasks, attempts by fate, files, samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bundle.dataset import spec
from bundle.errors import PulkError
from bundle.look.records import task_count
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import segment as segments
from bundle.records import telemetry as samples
from bundle.records.report import Report
from bundle.trust import cosignature
from bundle.wire.files import files_of
from bundle.wire.read import OpenBundle


@dataclass(slots=True)
class Contents:
    """Totals over the chunks that are in this copy of the bundle.

    `tasks` counts leased tasks by dataset id; `names` holds dataset names by id; `problems` is
    what could not be read, one line each.
    """

    names: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    shards: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    attempt_leases: set[bytes] = field(default_factory=set)
    segments: int = 0
    samples: int = 0
    reports: list[Report] = field(default_factory=list)
    cosigners: set[bytes] = field(default_factory=set)
    files: int = 0
    file_bytes: int = 0
    files_absent: int = 0
    problems: list[str] = field(default_factory=list)


def contents(bundle: OpenBundle) -> Contents:
    """Read every chunk of records that is there, each verified against the manifest, one by one."""
    found = Contents()
    for place, entry in enumerate(bundle.manifest.chunks):
        take = _TAKERS.get(entry.kind)
        if take is None or not bundle.present(place):
            continue
        try:
            take(found, entry.name, bundle.chunk(place))
        except PulkError as error:
            found.problems.append(f"chunk {place} ({entry.kind}): {error.text()}")
    for file in files_of(bundle.manifest).values():
        found.files += 1
        found.file_bytes += file.size_bytes
        found.files_absent += not all(map(bundle.present, file.places))
    return found


def _dataset(found: Contents, name: str, raw: bytes) -> None:
    dataset = spec.decode(raw)
    found.names[name], found.jobs[name] = dataset.name, dataset.jobs


def _lease(found: Contents, _name: str, raw: bytes) -> None:
    lease = leases.decode(raw)
    found.shards += 1
    found.tasks[lease.dataset] += task_count(lease)


def _segment(found: Contents, _name: str, raw: bytes) -> None:
    segment = segments.decode(raw)
    found.segments += 1
    found.attempt_leases.add(segment.header.lease)
    found.fates.update(one.fate.value for one in segment.attempts)


def _telemetry(found: Contents, _name: str, raw: bytes) -> None:
    found.samples += len(samples.decode(raw))


def _report(found: Contents, _name: str, raw: bytes) -> None:
    found.reports.append(reports.decode(raw))


def _cosignature(found: Contents, _name: str, raw: bytes) -> None:
    found.cosigners |= cosignature.read(raw).keys


_TAKERS: dict[str, Callable[[Contents, str, bytes], None]] = {
    "dataset": _dataset,
    "lease": _lease,
    "segment": _segment,
    "telemetry": _telemetry,
    "report": _report,
    cosignature.CHUNK: _cosignature,
}
