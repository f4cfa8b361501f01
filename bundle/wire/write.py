"""Writing a bundle: streaming, with memory bounded whatever the size of data chunks.

Chunks given as bytes are compressed at once into a spill file; chunks given as files are read
twice, first for the digest that the manifest needs. Same inputs give the same manifest bytes and
id, whatever the compression.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundle import canonical
from bundle.digest import chunk_digest, chunk_start
from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX, MANIFEST_BYTES_MAX, SIGNATURES_BYTES_MAX
from bundle.trust import signed
from bundle.trust.keys import Signer
from bundle.trust.signed import Signature
from bundle.wire import codec, header
from bundle.wire import manifest as manifests
from bundle.wire.errors import DraftRefused, MalformedManifest, SourceChanged
from bundle.wire.header import Codec, Header
from bundle.wire.manifest import ChunkEntry, Manifest, ManifestDraft, bundle_id
from bundle.wire.preauth import bundle_type, pae

SAMPLE_BYTES = codec.PIECE_BYTES
_SAMPLE_GAIN_MIN = 20  # a file whose start does not shrink by 1/20 is stored as it is

Row = tuple[Codec, int, bytes]  # codec, stored bytes, SHA-256 over them


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """One chunk to be packed; `raw` is its bytes or a file that holds them."""

    kind: str
    name: str
    records: int
    raw: bytes | Path


def write_bundle(
    path: Path,
    manifest: ManifestDraft,
    chunks: Iterable[ChunkSource],
    signer: Signer,
    compress: bool = True,
    *,
    level: int = codec.LEVEL,
) -> BundleId:
    """Write a bundle and return its id; `path` is whole and synced, or untouched.

    Publishing (linking it under its name, syncing the folder) is the caller's.

    Raises:
        DraftRefused: a reader would refuse it; the reason names the field or limit.
        SourceChanged: a file changed between the two readings.
        OSError: the disk is full or failed.
    """
    level = level if compress else 0
    with tempfile.TemporaryFile(dir=path.parent, prefix=".spill-") as spill:
        packed = [_take(source, spill, level) for source in chunks]
        whole = manifest.with_chunks(tuple(one.entry for one in packed))
        manifest_bytes = _manifest_bytes(whole, path)
        signatures_bytes = _sign(whole, manifest_bytes, signer)
        with _part_beside(path) as out:
            _write(out, (whole, manifest_bytes, signatures_bytes), packed, spill, level)
            out.flush()
            os.fsync(out.fileno())
    return bundle_id(manifest_bytes)


@dataclass(frozen=True, slots=True)
class _Packed:
    """A chunk with its entry: either spilled in stored form, or still in its file."""

    entry: ChunkEntry
    row: Row | None
    file: Path | None


def _take(source: ChunkSource, spill: IO[bytes], level: int) -> _Packed:
    if isinstance(source.raw, Path):
        size, digest = _measure(source.kind, source.raw)
        entry = ChunkEntry(source.kind, source.name, size, source.records, digest)
        return _Packed(entry, None, source.raw)
    raw = source.raw
    digest = chunk_digest(source.kind, raw)
    entry = ChunkEntry(source.kind, source.name, len(raw), source.records, digest)
    stored = codec.compress(raw, level) if level and raw else raw
    form = Codec.ZSTD
    if not level or header.row_problem(form, len(stored), len(raw)):
        form, stored = Codec.STORED, raw
    spill.write(stored)
    return _Packed(entry, (form, len(stored), hashlib.sha256(stored).digest()), None)


def _measure(kind: str, path: Path) -> tuple[int, bytes]:
    running, size = chunk_start(kind), 0
    with path.open("rb") as file:
        for piece in _pieces(file):
            running.update(piece)
            size += len(piece)
    return size, running.digest()


def _manifest_bytes(manifest: Manifest, path: Path) -> bytes:
    try:
        raw = manifests.encode(manifest)
        if manifests.decode(raw) != manifest:
            raise DraftRefused(where=str(path), reason="a field does not survive encoding")
    except (MalformedManifest, canonical.NotEncodable) as error:
        raise DraftRefused(where=str(path), reason=error.text()) from error
    if len(raw) > MANIFEST_BYTES_MAX:
        reason = f"the manifest has {len(raw)} bytes, at most {MANIFEST_BYTES_MAX}"
        raise DraftRefused(where=str(path), reason=reason)
    return raw


def _sign(manifest: Manifest, manifest_bytes: bytes, signer: Signer) -> bytes:
    message = pae(bundle_type(manifest.kind), manifest_bytes)
    one = Signature(signer.public, signer.sign(message), manifest.certificate)
    raw = canonical.encode(signed.signatures_to_wire([one]))
    if len(raw) > SIGNATURES_BYTES_MAX:
        raise DraftRefused(reason=f"the signatures exceed {SIGNATURES_BYTES_MAX} bytes")
    return raw


def _write(
    out: IO[bytes],
    parts: tuple[Manifest, bytes, bytes],
    packed: list[_Packed],
    spill: IO[bytes],
    level: int,
) -> None:
    """Write all parts; header and table come last, for they hold the stored sizes."""
    manifest, manifest_bytes, signatures_bytes = parts
    sizes = (len(manifest_bytes), len(signatures_bytes), len(packed))
    head = Header(manifest.format, manifest.reader_min, manifest.kind, *sizes, total_bytes=0)
    out.write(header.pack(head) + manifest_bytes + signatures_bytes)
    out.seek(head.bodies_at)
    spill.seek(0)
    rows: list[Row] = []
    for one in packed:
        if one.file is not None:
            rows.append(_store_file(out, one.file, one.entry, level))
        elif one.row is not None:
            _copy(spill, out, one.row[1])
            rows.append(one.row)
    total = head.bodies_at + sum(row[1] for row in rows)
    if total > BUNDLE_BYTES_MAX:
        raise DraftRefused(reason=f"it would have {total} bytes, at most {BUNDLE_BYTES_MAX}")
    out.seek(0)
    out.write(header.pack(Header(head.format, head.reader_min, head.kind, *sizes, total)))
    out.seek(head.table_at)
    out.write(header.pack_table(rows))


def _store_file(out: IO[bytes], path: Path, entry: ChunkEntry, level: int) -> Row:
    at = out.tell()
    if level and _shrinks(path, level):
        row = _stream(out, path, entry, level)
        if not header.row_problem(row[0], row[1], entry.raw_bytes):
            return row
        out.seek(at)
        out.truncate()
    return _stream(out, path, entry, 0)


def _shrinks(path: Path, level: int) -> bool:
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    gain = len(sample) - len(codec.compress(sample, level))
    return gain * _SAMPLE_GAIN_MIN > len(sample)


def _stream(out: IO[bytes], path: Path, entry: ChunkEntry, level: int) -> Row:
    """Write a file's stored form while its digest is taken again. Raises SourceChanged."""
    stored, raw, sizes = hashlib.sha256(), chunk_start(entry.kind), [0, 0]
    compressor = codec.compressing(entry.raw_bytes, level) if level else None

    def put(piece: bytes) -> None:
        stored.update(piece)
        sizes[1] += len(piece)
        out.write(piece)

    with path.open("rb") as file:
        for piece in _pieces(file):
            raw.update(piece)
            sizes[0] += len(piece)
            if sizes[0] > entry.raw_bytes:
                break
            put(compressor.compress(piece) if compressor else piece)
    if (sizes[0], raw.digest()) != (entry.raw_bytes, entry.digest):
        raise SourceChanged(where=str(path))
    if compressor:
        put(compressor.flush())
    return (Codec.ZSTD if level else Codec.STORED), sizes[1], stored.digest()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(codec.PIECE_BYTES):
        yield piece


def _copy(source: IO[bytes], out: IO[bytes], count: int) -> None:
    while count and (piece := source.read(min(count, codec.PIECE_BYTES))):
        out.write(piece)
        count -= len(piece)


@contextmanager
def _part_beside(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that replaces `path` at the end, or is removed after an exception."""
    part = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, 0o600), "w+b") as out:
            yield out
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
