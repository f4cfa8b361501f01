"""Writing a bundle: streaming, with memory bounded whatever the size of data chunks.

Chunks given as bytes are compressed at once into a spill file; chunks given as files are read
twice, first for the digest that the manifest needs. Same inputs give the same manifest bytes and
id, whatever the compression.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundle import canonical
from bundle.digest import PLAIN_KINDS, chunk_digest, chunk_start
from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX, MANIFEST_BYTES_MAX, SIGNATURES_BYTES_MAX
from bundle.spool import publish
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
class Slice:
    """`count` bytes of a file from byte `at` on."""

    path: Path
    at: int
    count: int


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """One chunk to be packed; `raw` is its bytes, or a file or a slice of one that holds them."""

    kind: str
    name: str
    records: int
    raw: bytes | Path | Slice


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
        with publish.replacing(path) as out:
            _write(out, (whole, manifest_bytes, signatures_bytes), packed, spill, level)
    return bundle_id(manifest_bytes)


@dataclass(frozen=True, slots=True)
class _Packed:
    """A chunk with its entry: either spilled in stored form, or still in its file."""

    entry: ChunkEntry
    row: Row | None
    file: Slice | None


def _take(source: ChunkSource, spill: IO[bytes], level: int) -> _Packed:
    raw = source.raw
    if isinstance(raw, Path):
        raw = Slice(raw, 0, raw.stat().st_size)
    if isinstance(raw, Slice):
        entry = ChunkEntry(
            source.kind, source.name, raw.count, source.records, _measure(source.kind, raw)
        )
        return _Packed(entry, None, raw)
    digest = chunk_digest(source.kind, raw)
    entry = ChunkEntry(source.kind, source.name, len(raw), source.records, digest)
    stored = codec.compress(raw, level) if level and raw else raw
    form = Codec.ZSTD
    if not level or header.row_problem(form, len(stored), len(raw)):
        form, stored = Codec.STORED, raw
    spill.write(stored)
    return _Packed(entry, (form, len(stored), hashlib.sha256(stored).digest()), None)


def _measure(kind: str, part: Slice) -> bytes:
    running = chunk_start(kind)
    for piece in _pieces(part):
        running.update(piece)
    return bytes(running.digest())


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


def _store_file(out: IO[bytes], part: Slice, entry: ChunkEntry, level: int) -> Row:
    at = out.tell()
    if level and _shrinks(part, level):
        row = _stream(out, part, entry, level)
        if not header.row_problem(row[0], row[1], entry.raw_bytes):
            return row
        out.seek(at)
        out.truncate()
    return _stream(out, part, entry, 0)


def _shrinks(part: Slice, level: int) -> bool:
    sample = next(_pieces(part), b"")
    gain = len(sample) - len(codec.compress(sample, level))
    return gain * _SAMPLE_GAIN_MIN > len(sample)


def _stream(out: IO[bytes], part: Slice, entry: ChunkEntry, level: int) -> Row:
    """Write a slice's stored form while its digest is taken again. Raises SourceChanged."""
    stored, raw, size = hashlib.sha256(), chunk_start(entry.kind), 0
    compressor = codec.compressing(entry.raw_bytes, level) if level else None
    is_plain = compressor is None and entry.kind in PLAIN_KINDS  # one digest for both

    def put(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        if not is_plain:
            stored.update(piece)
        out.write(piece)

    for piece in _pieces(part):
        raw.update(piece)
        put(compressor.compress(piece) if compressor else piece)
    if raw.digest() != entry.digest:
        raise SourceChanged(where=str(part.path))
    if compressor:
        put(compressor.flush())
    form = Codec.ZSTD if level else Codec.STORED
    return form, size, entry.digest if is_plain else stored.digest()


def _pieces(part: Slice) -> Iterator[bytes]:
    """Yield the bytes of a slice. Raises SourceChanged where the file ends before it."""
    left = part.count
    with part.path.open("rb") as file:
        file.seek(part.at)
        while left:
            piece = file.read(min(left, codec.PIECE_BYTES))
            if not piece:
                raise SourceChanged(where=str(part.path))
            left -= len(piece)
            yield piece


def _copy(source: IO[bytes], out: IO[bytes], count: int) -> None:
    while count and (piece := source.read(min(count, codec.PIECE_BYTES))):
        out.write(piece)
        count -= len(piece)
