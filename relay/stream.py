"""The numbers of this site's bundles: one record per number, claimed by exclusive link.

`streams/<stream>/identity` binds a stream to host, device and inodes of the spool and its own
folder, so a spool that was copied, moved or put back from a copy starts a new one; `closed` ends a
stream whose receipts know more than this spool (a snapshot put back). `<number>` is the record of a
bundle, and its link *is* the claim: it names the id, and the bundle lies synced in `tmp/<id>.pulk`
before. So a number has one bundle for ever, whatever crashes and however many ticks run; `settle`
finishes what a crash left.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import STREAM_ID_BYTES, BundleId, StreamId
from bundle.limits import SEAL_LIMITS, STATE_LIMITS
from bundle.records import seal as seals
from bundle.records.segment import segment_digest
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import Spool
from bundle.wire.manifest import Kind
from relay.listing import names

TAIL = 16  # newest records, kept though their bundles are gone: the chain goes on from them
TRIES_MAX = 16


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one numbered bundle: enough to finish its publication after a crash."""

    stream: StreamId
    sequence: int
    id: BundleId
    kind: Kind
    works: tuple[BundleId, ...] = ()
    seals: tuple[tuple[BundleId, str, bytes], ...] = ()  # work bundle, file name, segment digest
    introduces: tuple[tuple[BundleId, bytes], ...] = ()  # work bundle and chunk digest

    @property
    def file_name(self) -> str:
        """The bundle's file name in `out/`, `sent/` and `rejected/`."""
        return f"{self.sequence:08d}-{self.id}.pulk"


class StreamBusy(PulkError):
    """Other ticks took every number that was tried. Harmless; the next tick goes on."""

    code = "stream-busy"
    transient = True
    what = "other ticks took {tries} numbers meanwhile"
    remedy = "run fewer ticks at once"


Draft = Callable[[int, bytes], tuple[Path, Record] | None]
"""Writes a bundle for (sequence, previous digest) into `tmp`, synced; None: nothing to say."""


def current(spool: Spool) -> StreamId:
    """Return this spool's stream, a new one where none is bound to this host and folder."""
    for stream in every(spool):
        folder = spool.stream(stream)
        with contextlib.suppress(OSError):
            same = (folder / "identity").read_bytes() == _identity(spool, folder)
            if same and not (folder / "closed").exists():
                return stream
    stream = StreamId(os.urandom(STREAM_ID_BYTES))
    made = spool.folder("tmp") / f"stream-{stream.hex()}"
    made.mkdir(mode=publish.FOLDER_MODE)
    publish.write_file(spool.folder("tmp"), made / "identity", _identity(spool, made))
    publish.publish(made, spool.stream(stream))
    return stream


def every(spool: Spool) -> list[StreamId]:
    """Return the streams that this spool has numbered, sorted."""
    found = names(spool.folder("streams"))
    return [StreamId(bytes.fromhex(name)) for name in found if _is_stream(name)]


def close(spool: Spool, stream: StreamId) -> None:
    """End a stream: nothing is numbered in it any more."""
    publish.write_file(spool.folder("tmp"), spool.stream(stream) / "closed", b"")


def head(spool: Spool, stream: StreamId) -> int:
    """Return the highest number claimed, -1 where there is none."""
    return max(_numbers(spool, stream), default=-1)


def publish_next(spool: Spool, draft: Draft) -> Record | None:
    """Number a bundle, publish it into `out/`, settle it. Raises StreamBusy."""
    stream = current(spool)
    for _ in range(TRIES_MAX):
        last = head(spool, stream)
        before = read(spool, stream, last) if last >= 0 else None
        made = draft(last + 1, bytes.fromhex(before.id) if before else b"")
        if made is None:
            return None
        path, record = made
        if _claim(spool, path, record):
            settle(spool, record)
            return record
    raise StreamBusy(where=str(spool.stream(stream)), tries=TRIES_MAX)


def _claim(spool: Spool, path: Path, record: Record) -> bool:
    """Claim the record's number for the bundle at `path`; False where another tick has it."""
    staged = staged_bundle(spool, record.id)
    publish.publish(path, staged)  # durable before the number points to it
    target = spool.stream(record.stream) / f"{record.sequence:08d}"
    try:
        publish.write_new_file(spool.folder("tmp"), target, encode(record))
    except publish.AlreadyThere:
        publish.remove(staged)
        return False
    if head(spool, record.stream) > record.sequence:
        # Slow, and overtaken by so much that the number's first record was pruned already.
        publish.remove(target)
        publish.remove(staged)
        return False
    return True


def settle(spool: Spool, record: Record) -> None:
    """Do what follows from a claimed number, again where a crash came between. Idempotent."""
    staged = staged_bundle(spool, record.id)
    if staged.exists():
        with contextlib.suppress(publish.AlreadyThere, FileNotFoundError):
            publish.publish_new(staged, spool.folder("out") / record.file_name)
    told: dict[BundleId, set[bytes]] = {}
    for work, digest in record.introduces:
        told.setdefault(work, set()).add(digest)
    for work, digests in told.items():
        add_told(spool, record.stream, work, digests)
    folders = set()
    for work, name, digest in record.seals:
        source, kept = spool.folder("sealed") / name, spool.kept_seals(work)
        if _holds(source, digest) and spool.work(work).is_dir():
            publish.make_folder(kept)
            if publish.claim(source, kept / name):
                folders.add(kept)
    for folder in folders:
        publish.fsync_folder(folder)
    if folders:
        publish.fsync_folder(spool.folder("sealed"))


def _holds(path: Path, digest: bytes) -> bool:
    """Return whether a seal's file holds this segment.

    Not only its name is asked: a pilot that was thought dead seals late what was salvaged before.
    """
    try:
        seal = seals.decode(read_bounded(path, SEAL_LIMITS), where=str(path))
    except (OSError, PulkError):
        return False
    return segment_digest(seal.segment) == digest


def recover(spool: Spool) -> None:
    """Settle the newest records of every stream: a crash leaves no others unsettled."""
    sealed = set(names(spool.folder("sealed")))
    for stream in every(spool):
        for sequence in sorted(_numbers(spool, stream))[-TAIL:]:
            record = read(spool, stream, sequence)
            if record is None:
                continue
            is_unmoved = any(name in sealed for _, name, _ in record.seals)
            if is_unmoved or staged_bundle(spool, record.id).exists():
                settle(spool, record)


def staged_bundle(spool: Spool, bundle: BundleId) -> Path:
    """Return where a bundle lies before its number is claimed."""
    return spool.folder("tmp") / f"{bundle}.pulk"


def read(spool: Spool, stream: StreamId, sequence: int) -> Record | None:
    """Return the record of a number, or None."""
    path = spool.stream(stream) / f"{sequence:08d}"
    try:
        value = shape.Reader.of(canonical.decode(path.read_bytes(), STATE_LIMITS), str(path))
    except FileNotFoundError:
        return None
    return Record(
        stream=stream,
        sequence=sequence,
        id=BundleId(value.text("id")),
        kind=Kind(value.text("kind")),
        works=tuple(BundleId(text) for text in value.texts("works")),
        seals=tuple(
            (BundleId(r.text(0)), r.text(1), r.bytes(2, 32)) for r in value.readers("seals")
        ),
        introduces=tuple((BundleId(r.text(0)), r.bytes(1)) for r in value.readers("introduces")),
    )


def prune(spool: Spool, records: Iterable[Record]) -> None:
    """Drop the records of bundles that need not be kept, but for the newest of each stream."""
    for record in records:
        if record.sequence <= head(spool, record.stream) - TAIL:
            publish.remove(spool.stream(record.stream) / f"{record.sequence:08d}")


def told(spool: Spool, stream: StreamId, work: BundleId) -> frozenset[bytes]:
    """Return which chunks of a work bundle the stream has introduced."""
    with contextlib.suppress(FileNotFoundError):
        data = (spool.stream(stream) / f"told-{work}").read_bytes()
        return frozenset(data[at : at + 32] for at in range(0, len(data) - 31, 32))
    return frozenset()


def add_told(spool: Spool, stream: StreamId, work: BundleId, digests: Iterable[bytes]) -> None:
    """Remember introduced chunks; a lost update means that one is introduced again."""
    known = told(spool, stream, work)
    joined = known | frozenset(digests)
    if joined != known and spool.work(work).is_dir():
        target = spool.stream(stream) / f"told-{work}"
        publish.write_file(spool.folder("tmp"), target, b"".join(sorted(joined)))


def forget_told(spool: Spool, work: BundleId) -> None:
    """Forget what was introduced of a work bundle, in every stream."""
    for stream in every(spool):
        (spool.stream(stream) / f"told-{work}").unlink(missing_ok=True)


def encode(record: Record) -> bytes:
    """Return the bytes of a number's record."""
    return canonical.encode(
        {
            "id": record.id,
            "kind": record.kind.value,
            "works": list(record.works),
            "seals": [list(one) for one in record.seals],
            "introduces": [list(one) for one in record.introduces],
        }
    )


def _identity(spool: Spool, folder: Path) -> bytes:
    """Return what binds a stream to this place: a copy, also one put back here, is another."""
    state = spool.root.stat()
    return canonical.encode(
        {
            "host": platform.node(),
            "device": state.st_dev,
            "inode": state.st_ino,
            "stream": folder.stat().st_ino,
        }
    )


def _numbers(spool: Spool, stream: StreamId) -> list[int]:
    found = names(spool.stream(stream))
    return [int(name) for name in found if name.isdecimal()]


def _is_stream(name: str) -> bool:
    return len(name) == 2 * STREAM_ID_BYTES and all(c in "0123456789abcdef" for c in name)
