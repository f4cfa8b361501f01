"""What a relay remembers beside the spool's own files, in `state/`.

`central` (newest commit, rules, tombstones), `received` and `withdrawn` (numbers per central
stream), `seen/` and `leases/` (ids dealt with for good), `refusals` (to be told in the next
report). Each file is replaced whole; a lost update costs a repetition, never a result.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import BundleId, DatasetId, Epoch, LeaseId, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from bundle.records.receipt import intervals
from bundle.spool import publish
from bundle.spool.layout import Spool
from bundle.wire.manifest import Manifest, Rules
from relay.core.custody import NO_EPOCH

REFUSALS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Central:
    """The newest of what central said of itself. `at_us`: when this site heard it."""

    epoch: Epoch = NO_EPOCH
    commit: int = 0
    rules: Rules = field(default_factory=Rules)
    tombstones: frozenset[DatasetId] = frozenset()
    at_us: int = 0


def folder(spool: Spool) -> Path:
    """Return the folder of these files."""
    return spool.folder("state")


def read_map(path: Path) -> shape.Reader | None:
    """Read a canonical map; None where it is missing or damaged (it is made anew then)."""
    try:
        value = canonical.decode(path.read_bytes(), STATE_LIMITS, where=str(path))
        return shape.Reader.of(value, str(path))
    except (OSError, PulkError):
        return None


def write_map(spool: Spool, path: Path, value: Any) -> None:
    """Replace a canonical map: file synced, renamed, folder synced."""
    publish.write_file(spool.folder("tmp"), path, canonical.encode(value))


def read_central(spool: Spool) -> Central:
    """Return the newest of what central said of itself."""
    value = read_map(folder(spool) / "central")
    if value is None:
        return Central()
    rules = value.reader("rules")
    return Central(
        epoch=Epoch(value.count("epoch"), value.bytes("nonce")),
        commit=value.count("commit"),
        rules=Rules(rules.text("network"), rules.count("node_hours_max_milli")),
        tombstones=frozenset(DatasetId(text) for text in value.texts("tombstones")),
        at_us=value.count("at_us"),
    )


def hear_central(spool: Spool, manifest: Manifest, at_us: int) -> None:
    """Join a work manifest: the newest (epoch, commit) rules, tombstones are never taken back."""
    old = read_central(spool)
    epoch = manifest.epoch or NO_EPOCH
    is_newer = (epoch.counter, manifest.commit) >= (old.epoch.counter, old.commit)
    new_head = (epoch, manifest.commit) if is_newer else (old.epoch, old.commit)
    rules = manifest.rules if is_newer and manifest.rules else old.rules
    tombstones = old.tombstones | set(manifest.tombstones)
    if tombstones != old.tombstones:  # before it is remembered: after a crash it is written again
        lines = "".join(f"{one}\n" for one in sorted(tombstones))
        publish.write_file(spool.folder("tmp"), spool.tombstones, lines.encode())
    write_map(
        spool,
        folder(spool) / "central",
        {
            "epoch": new_head[0].counter,
            "nonce": new_head[0].nonce,
            "commit": new_head[1],
            "rules": {
                "network": rules.network,
                "node_hours_max_milli": rules.node_hours_max_milli,
            },
            "tombstones": sorted(tombstones),
            "at_us": at_us,
        },
    )


def read_received(spool: Spool) -> dict[StreamId, IntervalSet]:
    """Return which numbers of each central stream have arrived here."""
    value = read_map(folder(spool) / "received")
    if value is None:
        return {}
    return {StreamId(row.bytes(0, 16)): intervals(row, 1) for row in value.readers("streams")}


def note_received(spool: Spool, stream: StreamId, sequence: int) -> None:
    """Remember that a bundle of central's arrived."""
    known = read_received(spool)
    numbers = known.get(stream, IntervalSet())
    if sequence in numbers:
        return
    known[stream] = numbers | IntervalSet.of([sequence])
    rows = [[one, known[one].to_wire()] for one in sorted(known)]
    write_map(spool, folder(spool) / "received", {"streams": rows})


def read_withdrawn(spool: Spool) -> dict[StreamId, IntervalSet]:
    """Return which numbers of each central stream need not arrive any more."""
    value = read_map(folder(spool) / "withdrawn")
    if value is None:
        return {}
    return {StreamId(row.bytes(0, 16)): intervals(row, 1) for row in value.readers("streams")}


def note_withdrawn(spool: Spool, stream: StreamId, numbers: IntervalSet) -> None:
    """Remember numbers that need not arrive any more."""
    known = read_withdrawn(spool)
    joined = known.get(stream, IntervalSet()) | numbers
    if joined != known.get(stream, IntervalSet()):
        known[stream] = joined
        rows = [[one, known[one].to_wire()] for one in sorted(known)]
        write_map(spool, folder(spool) / "withdrawn", {"streams": rows})


def is_seen(spool: Spool, bundle: BundleId) -> bool:
    """Return whether a verified bundle was dealt with for good."""
    return bytes.fromhex(bundle) in _rows(folder(spool) / "seen" / bundle[:2], 32)


def note_seen(spool: Spool, bundle: BundleId) -> None:
    """Remember a verified bundle for good (one row in one of 256 files)."""
    if not is_seen(spool, bundle):
        path = folder(spool) / "seen" / bundle[:2]
        publish.make_folder(path.parent)
        append_rows(path, [bytes.fromhex(bundle)])


def ended_leases(spool: Spool, leases: Iterable[LeaseId]) -> frozenset[LeaseId]:
    """Return which of the leases belong to work bundles that are over and gone."""
    found: set[LeaseId] = set()
    rows: dict[str, frozenset[bytes]] = {}
    for lease in leases:
        name = lease.hex()[:2]
        if name not in rows:
            rows[name] = _rows(folder(spool) / "leases" / name, 16)
        if lease in rows[name]:
            found.add(lease)
    return frozenset(found)


def note_ended_leases(spool: Spool, leases: Iterable[LeaseId]) -> None:
    """Remember leases for good, so that an old copy of their bundle is not run again."""
    publish.make_folder(folder(spool) / "leases")
    by_name: dict[str, list[bytes]] = {}
    for lease in leases:
        by_name.setdefault(lease.hex()[:2], []).append(lease)
    for name, rows in by_name.items():
        path = folder(spool) / "leases" / name
        known = _rows(path, 16)
        if missing := [row for row in rows if row not in known]:
            append_rows(path, missing)


def read_refusals(spool: Spool) -> tuple[tuple[str, str], ...]:
    """Return the refusals not yet reported: (bundle id or file name, code)."""
    value = read_map(folder(spool) / "refusals")
    return tuple((r.text(0), r.text(1)) for r in value.readers("rows")) if value else ()


def note_refusal(spool: Spool, bundle: str, code: str) -> None:
    """Remember a refusal for the next report; the newest are kept where there are too many."""
    rows = dict(read_refusals(spool))
    bundle = bundle.encode(errors="backslashreplace").decode()  # a file's name may be no text
    if rows.get(bundle) != code:
        rows[bundle] = code
        _write_refusals(spool, rows)


def forget_refusals(spool: Spool, told: Iterable[tuple[str, str]]) -> None:
    """Drop refusals that a report has told."""
    left = dict(read_refusals(spool))
    told = tuple(told)
    for bundle, code in told:
        if left.get(bundle) == code:
            del left[bundle]
    if told:
        _write_refusals(spool, left)


def _write_refusals(spool: Spool, rows: dict[str, str]) -> None:
    kept = list(rows.items())[-REFUSALS_MAX:]
    write_map(spool, folder(spool) / "refusals", {"rows": [list(one) for one in kept]})


def _rows(path: Path, width: int) -> frozenset[bytes]:
    """Read fixed-width rows; a torn last row is passed over."""
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        whole = len(data) - len(data) % width
        return frozenset(data[at : at + width] for at in range(0, whole, width))
    return frozenset()


def append_rows(path: Path, rows: list[bytes]) -> None:
    """Append rows of one width and sync. A torn row of a crash is cut off first."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, publish.FILE_MODE)
    try:
        size = os.fstat(descriptor).st_size
        if torn := size % len(rows[0]):
            os.ftruncate(descriptor, size - torn)
        data = memoryview(b"".join(rows))
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    publish.fsync_folder(path.parent)
