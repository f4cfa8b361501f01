"""Results on the wire: ours in signed bundles, JSON and msgpack rows with zstd-3 beside them."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgpack
import zstandard

from benchmarks import node_day
from benchmarks.table import Row, below
from bundle.fates import FATES
from bundle.ids import BundleId, LeaseId, PilotRun, SiteName, StreamId, dataset_id
from bundle.limits import ATTEMPTS_PER_BUNDLE_MAX
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, Usage
from bundle.records.host import Host
from bundle.records.seal import SEAL_PAYLOAD_TYPE
from bundle.records.segment import Segment, SegmentHeader
from bundle.trust import certificate
from bundle.trust.certificate import Certificate
from bundle.trust.keys import MemoryKey
from bundle.trust.quickstart import Authority
from bundle.wire import codec
from bundle.wire.entries import SegmentEntry
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.preauth import pae
from bundle.wire.write import ChunkSource, write_bundle

SEGMENT = 10_000
SMALL_SEGMENT = 200  # what a shard of the default size gives
SMALL_RESULTS = 100_000
NOW_US = 1_764_000_000_000_000
PULK, JSON, ROWS = "pulk", "JSON + zstd-3", "msgpack rows + zstd-3"
HOST = Host(
    *("node-17.cluster", "5.14.0-362.el9.x86_64", "AMD EPYC 7763", 64, 257_000),
    *("1b4e28ba-2fa1-11d2-883f-0016d3cca427", "3.11.7", "0.1.0", "namespace"),
)


@dataclass(frozen=True, slots=True)
class Way:
    """How attempts become bytes for a carrier, and attempts again."""

    pack: Callable[[tuple[Attempt, ...]], bytes]
    unpack: Callable[[bytes], tuple[Attempt, ...]]


def measure(folder: Path, authority: Authority, count: int) -> list[Row]:
    """Pack and unpack results by all ways, segment by segment; ours also go into bundles."""
    node = node_day.attempts(1)
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    ways = _ways()
    site = _Site(folder, authority)
    for number in range(max(1, count // SEGMENT)):
        attempts = tuple(islice(node, SEGMENT))
        gc.collect()
        for name, way in ways.items():
            started = time.perf_counter()
            stored = way.pack(attempts)
            packed = time.perf_counter()
            again = way.unpack(stored)
            unpacked = time.perf_counter()
            took[name, "pack"].append(packed - started)
            took[name, "unpack"].append(unpacked - packed)
            sizes[name] += len(stored)
            assert number or again == attempts, f"{name} lost something"
            if name == PULK:
                site.add(_decompressed(stored), SEGMENT)
    sizes[PULK] = site.close()  # whole bundles: manifest, table and signature too
    total = SEGMENT * max(1, count // SEGMENT)
    rows = _size_rows(f"{total:,} results, a result", {n: s / total for n, s in sizes.items()})
    small = _small(folder, authority) / SMALL_RESULTS
    what = f"a result in segments of {SMALL_SEGMENT}"
    rows.append(below("wire", what, small, "bytes", 90, 67))
    for step in ("pack", "unpack"):
        rate = {name: SEGMENT / 1000 / statistics.median(took[name, step]) for name in ways}
        for name in (JSON, ROWS):
            rows.append(Row("wire", f"{step} results as {name}", rate[name], "k/s"))
            ratio = rate[PULK] / rate[name]
            rows.append(Row("wire", f"{step} results", rate[PULK], "k/s", name, ratio))
    return rows


def _size_rows(what: str, size: dict[str, float]) -> list[Row]:
    ours = size[PULK]
    rows = [below("wire", what, ours, "bytes", 90, 67)]
    for name in (JSON, ROWS):
        rows.append(Row("wire", f"{what} as {name}", size[name], "bytes"))
        rows.append(Row("wire", what, ours, "bytes", name, ours / size[name]))
    return rows


def _small(folder: Path, authority: Authority) -> int:
    """Return the bytes of bundles that hold many small segments."""
    node, site = node_day.attempts(2), _Site(folder, authority)
    for _ in range(SMALL_RESULTS // SMALL_SEGMENT):
        attempts = tuple(islice(node, SMALL_SEGMENT))
        site.add(segments.encode(Segment(_header(), attempts, True)), SMALL_SEGMENT)
    return site.close()


def _ways() -> dict[str, Way]:
    return {
        PULK: Way(
            lambda attempts: codec.compress(segments.encode(Segment(_header(), attempts, True))),
            lambda stored: segments.decode(_decompressed(stored)).attempts,
        ),
        JSON: Way(_pack_json, _unpack_json),
        ROWS: Way(_pack_rows, _unpack_rows),
    }


def _header() -> SegmentHeader:
    return SegmentHeader(
        *(PilotRun(b"p" * 8), LeaseId(b"l" * 16), dataset_id(b"d" * 16), b"s" * 32),
        *(BundleId("ab" * 32), 0, 1, HOST),
    )


def _decompressed(stored: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(stored)


def _pack_json(attempts: tuple[Attempt, ...]) -> bytes:
    lines = []
    for attempt in attempts:
        row = segments.row_to_wire(attempt)
        row["fate"] = attempt.fate.value
        row["consumed"] = [one.hex() for one in attempt.consumed]
        row["outputs"] = [[one.hex(), size] for one, size in attempt.outputs]
        lines.append(json.dumps(row, separators=(",", ":")))
    return codec.compress("\n".join(lines).encode())


def _unpack_json(stored: bytes) -> tuple[Attempt, ...]:
    found = []
    for line in _decompressed(stored).split(b"\n"):
        row = json.loads(line)
        usage = Usage(**{name: row.pop(name) for name in Usage.__slots__})
        row["fate"] = _FATE[row["fate"]]
        row["consumed"] = tuple(map(bytes.fromhex, row["consumed"]))
        row["outputs"] = tuple((bytes.fromhex(one), size) for one, size in row["outputs"])
        found.append(Attempt(**row, usage=usage))
    return tuple(found)


_FATE = {fate.value: fate for fate in FATES}
_PLACE = {fate: place for place, fate in enumerate(FATES)}


def _pack_rows(attempts: tuple[Attempt, ...]) -> bytes:
    rows = [
        (
            *(a.job, a.step, a.generation, a.local, _PLACE[a.fate], a.exit_code, a.signal),
            *(a.started_us, a.started_mono_us, a.ended_mono_us, a.slot),
            *(u.wall_ms, u.cpu_ms, u.memory_peak_mib, u.disk_peak_bytes),
            *(u.read_bytes, u.written_bytes),
            *(a.consumed, a.outputs, a.software, a.evidence),
        )
        for a in attempts
        for u in (a.usage,)
    ]
    return codec.compress(msgpack.packb(rows))


def _unpack_rows(stored: bytes) -> tuple[Attempt, ...]:
    rows = msgpack.unpackb(_decompressed(stored), use_list=False, strict_map_key=True)
    return tuple(
        Attempt(*(*row[:4], FATES[row[4]], *row[5:11], Usage(*row[11:17]), *row[17:]))
        for row in rows
    )


class _Site:
    """Puts segments into signed result bundles, as many in each as one may hold."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder, self._key, self._pilot = folder, MemoryKey.generate(), MemoryKey.generate()
        about = Certificate(SiteName("bench"), self._key.public, 1, NOW_US)
        self._certificate = certificate.issue(about, authority.registrar)
        self._chunks: list[ChunkSource] = []
        self._entries: list[SegmentEntry] = []
        self._bytes = self._bundles = 0

    def add(self, raw: bytes, attempts: int) -> None:
        """Put in a segment of so many attempts."""
        digest, header = segments.segment_digest(raw), _header()
        signature = self._pilot.sign(pae(SEAL_PAYLOAD_TYPE, digest))
        entry = SegmentEntry(
            *(digest, header.pilot_run, self._pilot.public, signature),
            *("4711.0", header.lease, header.work, True),
        )
        self._entries.append(entry)
        self._chunks.append(ChunkSource("segment", digest.hex(), attempts, raw))
        if sum(one.records for one in self._chunks) >= ATTEMPTS_PER_BUNDLE_MAX:
            self._write()

    def close(self) -> int:
        """Return the bytes of all bundles."""
        if self._chunks:
            self._write()
        return self._bytes

    def _write(self) -> None:
        draft = ManifestDraft(
            kind=Kind.RESULT,
            producer="bench",
            stream=StreamId(b"s" * 16),
            sequence=self._bundles,
            created_us=NOW_US,
            previous=b"p" * 32 if self._bundles else b"",
            audience="central",
            certificate=self._certificate,
            segments=tuple(self._entries),
        )
        path = self._folder / "results"
        write_bundle(path, draft, self._chunks, self._key)
        self._bytes += path.stat().st_size
        self._bundles += 1
        path.unlink()
        self._chunks.clear()
        self._entries.clear()
