"""What differs between two bundles: manifest, chunks, records, and what this copy holds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bundle.digest import PLAIN_KINDS
from bundle.errors import PulkError
from bundle.look.inspect import manifest_facts
from bundle.look.records import records_of, segment_rows
from bundle.records import segment as segments
from bundle.wire.entries import ChunkEntry
from bundle.wire.read import OpenBundle

ROWS_SHOWN_MAX = 1000  # of records that differ; the rest is counted
_KEY = ("dataset", "job", "step", "generation", "lease", "pilot_run", "local")

ChunkKey = tuple[str, str, int]  # kind, name, and which of those that share both
Facts = dict[str, Any]


def differences(a: OpenBundle, b: OpenBundle) -> Facts:
    """Return all that differs between two bundles; `same` where nothing does.

    `same_bundle`: one id, so that they can differ only in which chunks are present. Records that
    cannot be compared, because a chunk is absent or damaged, are named under `unread`.
    """
    chunks_a, chunks_b = _chunks(a), _chunks(b)
    changed = [key for key in chunks_a if key in chunks_b and chunks_a[key][1] != chunks_b[key][1]]
    found: Facts = {
        "a": str(a.path),
        "b": str(b.path),
        "same_bundle": a.id == b.id,
        "manifest": _fields(manifest_facts(a.manifest), manifest_facts(b.manifest)),
        "chunks": {
            "only_a": [_named(key) for key in chunks_a if key not in chunks_b],
            "only_b": [_named(key) for key in chunks_b if key not in chunks_a],
            "changed": [_named(key) for key in changed],
        },
        "present": _presence(a, b) if a.id == b.id else {"only_a": [], "only_b": []},
        "records": [],
        "unread": [],
    }
    for key in changed:
        if key[0] not in PLAIN_KINDS | {"segment"}:
            _compare_records(found, key, (a, chunks_a[key][0]), (b, chunks_b[key][0]))
    found["attempts"] = _attempts(found, a, b)
    found["same"] = a.id == b.id and not any(found["present"].values())
    return found


def _chunks(bundle: OpenBundle) -> dict[ChunkKey, tuple[int, ChunkEntry]]:
    seen: Counter[tuple[str, str]] = Counter()
    rows: dict[ChunkKey, tuple[int, ChunkEntry]] = {}
    for place, entry in enumerate(bundle.manifest.chunks):
        key = (entry.kind, entry.name, seen[entry.kind, entry.name])
        seen[entry.kind, entry.name] += 1
        rows[key] = (place, entry)
    return rows


def _named(key: ChunkKey) -> Facts:
    kind, name, number = key
    return {"kind": kind, "name": name} | ({"number": number} if number else {})


def _presence(a: OpenBundle, b: OpenBundle) -> Facts:
    absent_a, absent_b = frozenset(a.absent()), frozenset(b.absent())
    return {"only_a": sorted(absent_b - absent_a), "only_b": sorted(absent_a - absent_b)}


def _fields(a: Any, b: Any, at: str = "") -> list[Facts]:
    """Return the fields in which two maps of plain values differ, with the path to each."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = [*a, *(name for name in b if name not in a)]
        return [
            row
            for name in names
            for row in _fields(a.get(name), b.get(name), f"{at}.{name}" if at else str(name))
        ]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and a != b:
        numbered = enumerate(zip(a, b, strict=True))
        return [row for n, pair in numbered for row in _fields(*pair, f"{at}[{n}]")]
    return [] if a == b else [{"field": at, "a": a, "b": b}]


def _compare_records(
    found: Facts, key: ChunkKey, a: tuple[OpenBundle, int], b: tuple[OpenBundle, int]
) -> None:
    try:
        values = [records_of(key[0], bundle.chunk(place)) for bundle, place in (a, b)]
    except PulkError as error:
        found["unread"].append(_named(key) | {"reason": error.text()})
        return
    rows = _fields(*values)
    found["records"].append(_named(key) | {"fields": rows[:ROWS_SHOWN_MAX], "count": len(rows)})


def _attempts(found: Facts, a: OpenBundle, b: OpenBundle) -> Facts:
    """Compare attempts by key over all segments, however cut; equal segments are skipped."""
    in_both = _segments(a) & _segments(b)
    rows_a = dict(_digests(found, a, in_both))
    rows_b = dict(_digests(found, b, in_both))
    changed = [key for key, digest in rows_a.items() if rows_b.get(key, digest) != digest]
    only_a = [key for key in rows_a if key not in rows_b]
    only_b = [key for key in rows_b if key not in rows_a]
    rows = [
        {"in": where} | dict(zip(_KEY, key, strict=True))
        for where, keys in (("both", changed), ("a", only_a), ("b", only_b))
        for key in keys
    ]
    return {
        "only_a": len(only_a),
        "only_b": len(only_b),
        "changed": len(changed),
        "rows": rows[:ROWS_SHOWN_MAX],
    }


def _segments(bundle: OpenBundle) -> frozenset[bytes]:
    chunks = bundle.manifest.chunks
    return frozenset(chunks[place].digest for place in bundle.find("segment"))


def _digests(
    found: Facts, bundle: OpenBundle, passed_over: frozenset[bytes]
) -> Iterator[tuple[tuple[Any, ...], bytes]]:
    for place in bundle.find("segment"):
        entry = bundle.manifest.chunks[place]
        if entry.digest in passed_over:
            continue
        try:
            segment = segments.decode(bundle.chunk(place))
        except PulkError as error:
            reason = {"reason": error.text()}
            found["unread"].append({"kind": entry.kind, "name": entry.name} | reason)
            continue
        for row in segment_rows(segment):
            text = json.dumps(row, sort_keys=True).encode()
            yield tuple(row[name] for name in _KEY), hashlib.sha256(text).digest()
