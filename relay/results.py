"""Result bundles: checked seals, what explains them, and the files that travel home.

The site's signature over the manifest countersigns every segment in it. The seals are read again
here, so memory holds one group's seals at most; files stream.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundle.digest import chunk_digest, file_digest
from bundle.errors import PulkError
from bundle.ids import BundleId, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import ATTEMPTS_PER_BUNDLE_MAX, SEAL_LIMITS
from bundle.records import seal as seals
from bundle.records import telemetry
from bundle.records.seal import Seal
from bundle.records.segment import segment_digest
from bundle.spool.bounded import read_bounded
from bundle.wire.entries import SegmentEntry
from bundle.wire.files import chunks_for, file_sources
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from relay import state, stream
from relay.collect import Collected
from relay.core import grouping
from relay.core.grouping import SealSize
from relay.errors import OutputMissing
from relay.home import Home, now_us
from relay.sources import Sources
from relay.stream import Record

_LOG = logging.getLogger(__name__)
NO_LOGS = (b"", seals.encode_logs({}))
NO_TELEMETRY = (b"", telemetry.encode(()))


@dataclass(slots=True)
class _Parts:
    """What a result bundle is made of, in the order of its chunks."""

    preface: list[ChunkSource] = field(default_factory=list)
    segments: list[ChunkSource] = field(default_factory=list)
    logs: list[ChunkSource] = field(default_factory=list)
    data: list[ChunkSource] = field(default_factory=list)
    entries: list[SegmentEntry] = field(default_factory=list)
    inside: set[bytes] = field(default_factory=set)
    introduces: list[tuple[BundleId, bytes]] = field(default_factory=list)
    refers: list[bytes] = field(default_factory=list)


def publish_results(home: Home, collected: Sequence[Collected], sources: Sources) -> list[Record]:
    """Pack all collected seals into result bundles, and their telemetry into bundles of its own."""
    by_name = {one.path.name: one for one in collected}
    sizes = [_size(one) for one in sorted(collected, key=lambda one: (one.work, one.path.name))]
    records = []
    for group in grouping.group_seals(sizes, ATTEMPTS_PER_BUNDLE_MAX):
        chosen = [by_name[size.name] for size in group]
        made = stream.publish_next(home.spool, _ResultDraft(home, chosen, sources))
        if made is None:
            continue
        records.append(made)
        if home.config.carry.telemetry and (extra := _publish_telemetry(home, made)):
            records.append(extra)
    return records


def draft_of(
    home: Home, kind: Kind, number: StreamId, sequence: int, previous: bytes
) -> ManifestDraft:
    """Return what every bundle of this site says alike."""
    return ManifestDraft(
        kind=kind,
        producer=home.site,
        stream=number,
        sequence=sequence,
        created_us=now_us(),
        previous=previous,
        audience=CENTRAL,
        certificate=home.certificate,
        received=received(home),
    )


def received(home: Home) -> tuple[tuple[StreamId, IntervalSet], ...]:
    """Return which numbers of central's streams have arrived here."""
    return tuple(sorted(state.read_received(home.spool).items()))


@dataclass(frozen=True, slots=True)
class _ResultDraft:
    """Writes one group as the bundle of whatever number is free."""

    home: Home
    chosen: list[Collected]
    sources: Sources

    def __call__(self, sequence: int, previous: bytes) -> tuple[Path, Record] | None:
        chosen = [one for one in self.chosen if one.path.exists()]  # else another tick has it
        if not chosen:
            return None
        number = stream.current(self.home.spool)
        try:
            parts = _gather(self.home, chosen, self.sources, number)
        except FileNotFoundError:
            return None  # moved between the two looks; what is left comes with the next tick
        draft = draft_of(self.home, Kind.RESULT, number, sequence, previous)
        manifest = _with_parts(draft, parts)
        chunks = (*parts.preface, *parts.segments, *parts.logs, *parts.data)
        path = _unfinished(self.home)
        made = write_bundle(path, manifest, chunks, self.home.signer)
        record = Record(
            stream=number,
            sequence=sequence,
            id=made,
            kind=Kind.RESULT,
            works=tuple(sorted({one.work for one in chosen})),
            seals=tuple((one.work, one.path.name, one.digest) for one in chosen),
            introduces=tuple(parts.introduces),
        )
        return path, record


def _with_parts(draft: ManifestDraft, parts: _Parts) -> ManifestDraft:
    return replace(
        draft,
        segments=tuple(parts.entries),
        introduces=tuple(dict.fromkeys(digest for _, digest in parts.introduces)),
        refers=tuple(dict.fromkeys(parts.refers)),
    )


def _gather(home: Home, chosen: list[Collected], sources: Sources, number: StreamId) -> _Parts:
    parts = _Parts()
    for work in dict.fromkeys(one.work for one in chosen):
        of_work = [one for one in chosen if one.work == work]
        _add_preface(home, parts, work, of_work, sources, number)
    files: dict[bytes, int] = {}
    for one in chosen:
        seal = seals.decode(read_bounded(one.path, SEAL_LIMITS), where=str(one.path))
        if segment_digest(seal.segment) != one.digest:
            raise FileNotFoundError(one.path)  # another seal by now, to be checked again
        _add_segment(parts, one, seal)
        files |= dict(one.outputs)
    owners = {file: one for one in chosen for file, _ in one.outputs}
    for file, size in sorted(files.items()):
        parts.data += _data_sources(home, file, size, owners[file])
    return parts


def _add_segment(parts: _Parts, one: Collected, seal: Seal) -> None:
    name = one.digest.hex()
    parts.segments.append(ChunkSource("segment", name, one.attempts, seal.segment))
    if seal.logs not in NO_LOGS:
        parts.logs.append(ChunkSource("logs", name, 1, seal.logs))
    parts.entries.append(
        SegmentEntry(
            digest=one.digest,
            pilot_run=one.pilot_run,
            pilot_key=seal.pilot_key,
            pilot_signature=seal.signature,
            batch_id=one.batch_id,
            lease=one.lease,
            work=one.work,
            telemetry=seal.telemetry not in NO_TELEMETRY,
        )
    )


def _add_preface(
    home: Home,
    parts: _Parts,
    work: BundleId,
    of_work: Iterable[Collected],
    sources: Sources,
    number: StreamId,
) -> None:
    """Add the work manifest, leases and documents that these segments rest on, each once."""
    bundle = sources.bundle(work)
    needed: dict[bytes, ChunkSource] = {}

    def need(kind: str, name: str, records: int, raw: bytes) -> None:
        needed.setdefault(chunk_digest(kind, raw), ChunkSource(kind, name, records, raw))

    need("work-manifest", work, 1, bundle.envelope())
    for one in of_work:
        lease = sources.lease(one.work, one.lease)
        entry, place = sources.lease_chunk(work, one.lease)
        if entry.digest not in needed:
            need("lease", entry.name, entry.records, bundle.chunk(place))
        if lease.dataset_digest not in needed:
            entry, place = sources.dataset_chunk(work, lease.dataset_digest)
            need("dataset", entry.name, entry.records, bundle.chunk(place))
    preface = grouping.plan_preface(needed, stream.told(home.spool, number, work))
    parts.preface += [needed[digest] for digest in preface.introduces if digest not in parts.inside]
    parts.inside.update(preface.introduces)  # two work bundles may rest on one document
    parts.introduces += [(work, digest) for digest in preface.introduces]
    parts.refers += preface.refers


def _data_sources(home: Home, file: bytes, size: int, of: Collected) -> list[ChunkSource]:
    """Return the chunks of a file that travels home; none where it is gone or changed."""
    path = home.spool.data(file)
    try:
        is_whole = path.stat().st_size == size and file_digest(path) == file
        reason = "" if is_whole else "changed"
    except OSError as error:
        reason = error.strerror or str(error)
    if not reason:
        return list(file_sources(file, path))
    problem = OutputMissing(where=str(path), file=file.hex(), lease=of.lease.hex(), reason=reason)
    _LOG.error("output missing", extra={"reason": problem.text()})
    state.note_refusal(home.spool, file.hex(), problem.code)
    return []


def _publish_telemetry(home: Home, of: Record) -> Record | None:
    """Pack the node series of a result bundle's seals; lossy, so a crash before this loses them."""
    chunks = list(_telemetry(home, of))
    if not chunks:
        return None

    def draft(sequence: int, previous: bytes) -> tuple[Path, Record] | None:
        number = stream.current(home.spool)
        path = _unfinished(home)
        manifest = draft_of(home, Kind.TELEMETRY, number, sequence, previous)
        made = write_bundle(path, manifest, chunks, home.signer)
        return path, Record(number, sequence, made, Kind.TELEMETRY)

    return stream.publish_next(home.spool, draft)


def _telemetry(home: Home, of: Record) -> Iterator[ChunkSource]:
    for work, name, _ in of.seals:
        path = home.spool.kept_seals(work) / name
        try:
            seal = seals.decode(read_bounded(path, SEAL_LIMITS), where=str(path))
        except (OSError, PulkError):
            continue
        if seal.telemetry not in NO_TELEMETRY:
            digest = segment_digest(seal.segment)
            yield ChunkSource("telemetry", digest.hex(), 1, seal.telemetry)


def _size(one: Collected) -> SealSize:
    outputs = sum(size for _, size in one.outputs)
    chunks = 2 + sum(chunks_for(size) for _, size in one.outputs)
    size = one.size_bytes + outputs
    return SealSize(one.path.name, one.work, one.lease, one.attempts, size, chunks)


def _unfinished(home: Home) -> Path:
    return home.tmp / f"bundle-{os.getpid()}-{os.urandom(6).hex()}"
