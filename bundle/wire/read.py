"""Reading a bundle: nothing unverified leaves this module, one chunk costs that chunk alone.

`open_bundle` reads header, manifest, signatures and chunk table, and verifies in the order of
docs/bundle-format.md up to the signatures. Chunks are read and verified when they are asked for.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from bundle import canonical, shape
from bundle.ids import BundleId, SiteName
from bundle.limits import BUNDLE_BYTES_MAX, ENVELOPE_LIMITS
from bundle.spool import publish
from bundle.trust.trust_file import TrustView
from bundle.wire import header
from bundle.wire import manifest as manifests
from bundle.wire.admit import Admitted, admit, check_kind
from bundle.wire.chunk import raw_bytes, short_bytes
from bundle.wire.entries import RECORD_CHUNK_BYTES_MAX
from bundle.wire.errors import (
    MalformedBundle,
    NoSuchChunk,
    NotABundleFile,
    TooLarge,
    WrongAudience,
)
from bundle.wire.header import Codec, Header, Place
from bundle.wire.manifest import Kind, Manifest, bundle_id
from bundle.wire.stored import read_at


class OpenBundle:
    """A verified bundle, open for reading its chunks. A context manager."""

    def __init__(
        self,
        path: Path,
        descriptor: int,
        admitted: Admitted,
        parts: tuple[bytes, bytes],
        places: tuple[Place, ...],
    ) -> None:
        """Made by `open_bundle`; it owns the descriptor."""
        self.path = path
        self.manifest: Manifest = admitted.manifest
        self.manifest_bytes, self.signatures_bytes = parts
        self.id: BundleId = bundle_id(self.manifest_bytes)
        self.signer_key: bytes = admitted.signer_key
        self.site: SiteName | None = admitted.site
        self.places = places
        self._descriptor = descriptor

    def __enter__(self) -> OpenBundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; chunks can no longer be read."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def find(self, kind: str, name: str | None = None) -> list[int]:
        """Return the places of the chunks of a kind, and of a name where one is given."""
        return [
            place
            for place, entry in enumerate(self.manifest.chunks)
            if entry.kind == kind and name in (None, entry.name)
        ]

    def one(self, kind: str, name: str | None = None) -> int:
        """Return the place of the first such chunk. Raises NoSuchChunk."""
        found = self.find(kind, name)
        if not found:
            raise NoSuchChunk(where=str(self.path), kind=kind, name=name or "")
        return found[0]

    def present(self, place: int) -> bool:
        """Return whether this copy of the bundle holds a chunk's bytes."""
        return self.places[place].codec is not Codec.ABSENT

    def absent(self) -> list[int]:
        """Return the places of the chunks that this copy comes without."""
        return [place for place in range(len(self.places)) if not self.present(place)]

    def chunk(self, place: int) -> bytes:
        """Return a chunk's verified raw bytes.

        Raises ChunkMismatch, Bomb, TooLarge, Truncated, AbsentChunk, as all that read one.
        """
        entry = self.manifest.chunks[place]
        if entry.raw_bytes > RECORD_CHUNK_BYTES_MAX:
            raise TooLarge(
                where=str(self.path),
                part=f"chunk {place}, to be held in memory,",
                size=entry.raw_bytes,
                size_max=RECORD_CHUNK_BYTES_MAX,
            )
        short = short_bytes(self._descriptor, self.places[place], entry)
        if short is not None:
            return short
        whole = io.BytesIO()  # grows in place: the bytes are held once
        whole.writelines(self.stream(place))
        return whole.getvalue()

    def copy_chunk(self, place: int, to: Path) -> None:
        """Write a chunk's raw bytes to a file, streaming; `to` appears whole, synced, verified.

        The folder's sync is the caller's. Raises ChunkMismatch, Bomb, Truncated, OSError.
        """
        with publish.replacing(to) as out:
            for piece in self.stream(place):
                out.write(piece)

    def check_chunk(self, place: int) -> None:
        """Verify one chunk, streaming. Raises ChunkMismatch, Bomb, Truncated, AbsentChunk."""
        for _ in self.stream(place):
            pass

    def check_all(self) -> None:
        """Verify every chunk, streaming. Raises ChunkMismatch, Bomb, Truncated, AbsentChunk."""
        for place in range(len(self.places)):
            self.check_chunk(place)

    def check_present(self) -> None:
        """Verify every chunk that is in this copy. Raises ChunkMismatch, Bomb, Truncated."""
        for place in filter(self.present, range(len(self.places))):
            self.check_chunk(place)

    def envelope(self) -> bytes:
        """Return {kind, manifest, signatures}: what shows elsewhere that this was signed."""
        return canonical.encode(
            {
                "kind": self.manifest.kind.value,
                "manifest": self.manifest_bytes,
                "signatures": self.signatures_bytes,
            }
        )

    def stream(self, place: int) -> Iterator[bytes]:
        """Yield a chunk's raw bytes in pieces, verified only once all of them are out.

        Whoever takes them must drop them where this ends with an exception.
        """
        entry = self.manifest.chunks[place]
        return raw_bytes(self._descriptor, self.places[place], entry, place, str(self.path))


def open_bundle(
    path: Path,
    trust: TrustView,
    *,
    audience: str | None,
    kinds: frozenset[Kind],
    bytes_max: int = BUNDLE_BYTES_MAX,
) -> OpenBundle:
    """Verify a bundle up to its signatures and open it.

    Args:
        path: a plain file; links are not followed.
        trust: whose signatures count.
        audience: who reads: a site's name or "central"; None reads whatever it is meant for.
        kinds: what is accepted here.
        bytes_max: size beyond which the file is not even looked at.

    Raises:
        BundleRefused: a subclass that names what, where and what to do; some are Parkable.
    """
    where = str(path)
    descriptor, size = open_plain(path, bytes_max)
    try:
        head, parts = read_parts(descriptor, size, where, kinds)
        admitted = admit(head.kind, *parts, trust, kinds, where=where)
        places = read_places(descriptor, head, admitted.manifest, where)
        meant = admitted.manifest.audience
        if audience is not None and meant not in ("", audience):
            raise WrongAudience(where=where, audience=meant, here=audience)
        return OpenBundle(path, descriptor, admitted, parts, places)
    except BaseException:
        os.close(descriptor)
        raise


def open_known(path: Path, known: BundleId) -> OpenBundle:
    """Open a bundle that was verified before, by its id alone: whoever signed it counted then.

    Raises BundleRefused.
    """
    where = str(path)
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        head, parts = read_parts(descriptor, size, where, frozenset(Kind))
        if bundle_id(parts[0]) != known:
            reason = f"it is bundle {bundle_id(parts[0])}, not {known}"
            raise MalformedBundle(where=where, part="manifest", reason=reason)
        manifest = manifests.decode(parts[0], where=where)
        places = read_places(descriptor, head, manifest, where)
        return OpenBundle(path, descriptor, Admitted(manifest, b"", None), parts, places)
    except BaseException:
        os.close(descriptor)
        raise


def verify_envelope(
    raw: bytes, trust: TrustView, kinds: frozenset[Kind], *, where: str = "envelope"
) -> tuple[BundleId, Manifest]:
    """Verify what `OpenBundle.envelope` made. Raises BundleRefused."""
    try:
        value = shape.Reader.of(canonical.decode(raw, ENVELOPE_LIMITS), where)
        kind = Kind(value.text("kind"))
        manifest_bytes, signatures_bytes = value.bytes("manifest"), value.bytes("signatures")
        if len(value.value) != 3:
            raise shape.WrongShape(where=where, expected="three fields", found="others")
    except (canonical.NotCanonical, shape.WrongShape, ValueError) as error:
        raise MalformedBundle(where=where, part="envelope", reason=str(error)) from error
    admitted = admit(kind, manifest_bytes, signatures_bytes, trust, kinds, where=where)
    return bundle_id(manifest_bytes), admitted.manifest


def peek_trust(path: Path) -> bytes:
    """Return the trust chain in a bundle without verifying the bundle; empty where there is none.

    For a site whose trust file is too old to know the signer: the chain carries its own signatures,
    so `bundle.trust.trust_file.advance` decides; then the bundle is opened anew.
    """
    descriptor, size = open_plain(path, BUNDLE_BYTES_MAX)
    try:
        _, parts = read_parts(descriptor, size, str(path), frozenset(Kind))
        return manifests.decode(parts[0], where=str(path)).trust
    finally:
        os.close(descriptor)


def read_parts(
    descriptor: int, size: int, where: str, kinds: frozenset[Kind]
) -> tuple[Header, tuple[bytes, bytes]]:
    """Return header, and raw manifest and signature bytes, nothing of them verified."""
    head = header.unpack(
        read_at(descriptor, 0, min(size, header.HEADER_BYTES), where), size, where=where
    )
    check_kind(head.kind, kinds, where)
    raw = read_at(descriptor, header.HEADER_BYTES, head.table_at - header.HEADER_BYTES, where)
    return head, (raw[: head.manifest_bytes], raw[head.manifest_bytes :])


def read_places(descriptor: int, head: Header, manifest: Manifest, where: str) -> tuple[Place, ...]:
    """Return where each chunk lies, the header and table checked against the manifest."""
    if (head.format, head.reader_min) != (manifest.format, manifest.reader_min):
        reason = "its versions are not the manifest's"
        raise MalformedBundle(where=where, part="header", reason=reason)
    table = read_at(descriptor, head.table_at, head.bodies_at - head.table_at, where)
    return header.unpack_table(table, head, manifest.chunks, where=where)


def open_plain(path: Path, bytes_max: int) -> tuple[int, int]:
    """Return descriptor and size of a plain file. Raises NotABundleFile, TooLarge."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise NotABundleFile(where=str(path), reason=error.strerror or str(error)) from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise NotABundleFile(where=str(path), reason="it is no plain file")
    if state.st_size > bytes_max:
        os.close(descriptor)
        raise TooLarge(where=str(path), part="the file", size=state.st_size, size_max=bytes_max)
    return descriptor, state.st_size
