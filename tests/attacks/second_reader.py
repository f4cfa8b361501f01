"""A second reader of bundles, written from docs/bundle-format.md alone: nothing of `bundle` here.

It says of a file whether it is read or refused, and which id it has; why it is refused is told in
plain words and compared with nothing. It is small, not fast, and holds whole files in memory.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Any

import zstandard

from tests.attacks.second_records import (
    RefusedError,
    array,
    binary,
    canonical,
    count,
    read_certificate,
    read_trust,
    require,
    runs,
    signatures,
    signed_by,
    text,
)

KINDS = ("work", "result", "telemetry", "report", "submission", "data", "commit")
MANIFEST = (8388608, 500_000)
SPARSE = (
    "previous", "epoch", "commit", "audience", "lifetime_ms", "certificate", "segments",
    "introduces", "refers", "receipts", "rules", "tombstones", "trust", "received",
    "withdrawn", "called_off", "called_off_tasks", "edits",
)  # fmt: skip


@dataclass(frozen=True)
class Read:
    """What a reader says of a bundle; `chunks` are (kind, name, raw bytes), None where absent."""

    id: str
    signer: bytes
    manifest: dict[str, Any]
    chunks: list[tuple[str, str, bytes | None]]


def read_bundle(
    raw: bytes,
    trust_raw: bytes,
    *,
    audience: str | None,
    kinds: set[str],
    users: frozenset[bytes] = frozenset(),
    chunks: bool = True,
) -> Read:
    """Verify a bundle in the order of the page."""
    trust = read_trust(trust_raw)
    require(len(raw) >= 34 and raw[:8] == bytes.fromhex("8950554c4b0d0a0a"), "magic")
    version, least, kind_at, size, signed_size, rows, total = struct.unpack(">HHHIIIQ", raw[8:34])
    require(version >= 1 and least <= 1, "version")
    require(size <= MANIFEST[0] and signed_size <= 65536 and rows <= 65536, "sizes")
    require(total == len(raw) and kind_at < len(KINDS) and KINDS[kind_at] in kinds, "header")
    table_at = 34 + size + signed_size
    require(table_at + 41 * rows <= total, "the parts exceed the file")
    body, kind = raw[34 : 34 + size], KINDS[kind_at]
    signer = _signer(kind, body, canonical(raw[34 + size : table_at], (65536, 256)), trust, users)
    m = _manifest(canonical(body, MANIFEST))
    require((m["format"], m["reader_min"], m["kind"]) == (version, least, kind), "not the header's")
    key, proof, site, registrars = signer
    if site:
        require((m["producer"], m.get("certificate")) == (site, proof), "not the site's own")
    elif kind == "data":
        require(m["producer"] == "central", "not central's own")
    identity = hashlib.sha256(body)
    place = (m["stream"], m["sequence"], identity.digest())
    require(_counts(trust["revoked"], key, place), "a revoked key")
    holds = [_counts(trust["revoked"], one, place) for one in registrars]
    require(not holds or any(holds), "a revoked registrar")
    found, at = [], table_at + 41 * rows
    require(rows == len(m["chunks"]), "rows of the table")
    for n, (chunk, name, raw_bytes, _, digest) in enumerate(m["chunks"]):
        row = table_at + 41 * n
        codec, stored, check = struct.unpack(">BQ32s", raw[row : row + 41])
        _row(codec, stored, raw_bytes, check)
        found.append((chunk, name, (codec, raw[at : at + stored], check), raw_bytes, digest))
        at += stored
    require(at == total, "where the bodies end")
    require(audience is None or m.get("audience", audience) == audience, "for somebody else")
    opened = [(one[0], one[1], _chunk(*one) if chunks else None) for one in found]
    return Read(identity.hexdigest(), key, m, opened)


def _counts(revoked: dict[bytes, Any], key: bytes, place: tuple[bytes, int, bytes]) -> bool:
    """Whether a key is in force, or the place is among what its revocation keeps."""
    if key not in revoked:
        return True
    stream, sequence, identity = place
    for of, numbers, ids in revoked[key]:
        if of == stream and any(first <= sequence < first + many for first, many in numbers):
            last = sum(numbers[-1]) - 1
            pinned = {ids[at : at + 32] for at in range(0, len(ids), 32)}
            if identity in pinned or (len(ids) == 32 and sequence != last):
                return True
    return False


def _signer(
    kind: str, body: bytes, rows: Any, trust: dict[str, Any], users: frozenset[bytes]
) -> tuple[bytes, bytes, str, set[bytes]]:
    """The first key that may sign the kind: key, certificate, site, its registrars."""
    listed = {one for name in ("roots", "centrals", "registrars") for one in trust[name]} | users
    centrals = set(trust["centrals"]) if kind in ("work", "commit", "data") else set()
    allowed = []
    for row in signatures(rows):
        key, proof = row["key"], row.get("certificate", b"")
        site, by = "", set[bytes]()
        if proof and key not in listed and kind in ("result", "telemetry", "report", "data"):
            try:
                site, certified, by = read_certificate(proof, trust)
            except RefusedError:
                continue
            if certified != key:
                continue
        elif proof or key not in (users if kind == "submission" else centrals):
            continue
        require(signed_by(key, f"pulk/bundle/{kind}/1", body, row["signature"]), "signature")
        allowed.append((key, proof, site, by))
    require(allowed, "nobody who may sign it did")
    return allowed[0]


def _manifest(m: Any) -> dict[str, Any]:
    require(type(m) is dict, "no map")
    require(all(m[name] for name in SPARSE if name in m), "a field is there though empty")
    require(not {"alg", "algorithm", "suite"} & set(m), "an algorithm")
    require(count(m.get("reader_min"), 65535) <= count(m.get("format"), 65535), "versions")
    require(text(m.get("kind")) in KINDS, "kind")
    text(m.get("producer"))
    binary(m.get("stream"), 16)
    for name in ("sequence", "created_us"):
        count(m.get(name))
    for name in ("commit", "lifetime_ms"):
        count(m.get(name, 0))
    binary(m.get("previous", bytes(32)), 32)
    text(m.get("audience", ""))
    for name in ("certificate", "trust"):
        binary(m.get(name, b""))
    for name in ("introduces", "refers"):
        for digest in array(m.get(name, [])):
            binary(digest, 32)
    for lease in array(m.get("called_off", [])):
        binary(lease, 16)
    for lease, step, numbers in (array(row, 3) for row in array(m.get("called_off_tasks", []))):
        binary(lease, 16)
        count(step, 65_535)
        runs(numbers)
    edited = [array(row, 5) for row in array(m.get("edits", []))]
    for dataset, document, counter, nonce, commit in edited:
        require(re.fullmatch("[a-z2-7]{26}", text(dataset)), "a dataset's id")
        binary(document, 32)
        binary(nonce, 16)
        count(counter)
        count(commit)
    require(len({one[0] for one in edited}) == len(edited), "two edits of a dataset")
    for one in array(m.get("tombstones", [])):
        require(re.fullmatch("[a-z2-7]{26}", text(one)), "a dataset's id")
    if "epoch" in m:
        counter, nonce = array(m["epoch"], 2)
        count(counter)
        binary(nonce, 16)
    if "rules" in m:
        require(type(m["rules"]) is dict, "rules")
        require(set(m["rules"]) - {"maximum"} == {"network", "node_hours_max_milli"}, "rules")
        require(m["rules"]["network"] in ("none", "any"), "network")
        count(m["rules"]["node_hours_max_milli"])
        if "maximum" in m["rules"]:
            most = [count(one, 2**50) for one in array(m["rules"]["maximum"], 3)]
            require(any(most), "a maximum of nothing")
    for stream, numbers in (array(row, 2) for row in array(m.get("received", []))):
        binary(stream, 16)
        runs(numbers)
    runs(m.get("withdrawn", []))
    for row in array(m.get("receipts", [])):
        binary(array(row, 5)[0], 16)
        for numbers in row[1:4]:
            runs(numbers)
        for sequence, code in (array(one, 2) for one in array(row[4])):
            count(sequence)
            text(code)
    for row in array(m.get("segments", [])):
        widths = ((32,), (8,), (32,), (0, 64), None, (16,))
        for value, width in zip(array(row, 8), widths, strict=False):
            text(value) if width is None else binary(value, *width)
        require(re.fullmatch("[0-9a-f]{64}", text(row[6])), "a bundle's id")
        require(type(row[7]) is bool, "a boolean")
    _chunks(array(m.get("chunks")))
    central, site = m["producer"] == "central", m["kind"] in ("result", "telemetry", "report")
    require(central or m["kind"] not in ("work", "commit"), "its producer is central")
    require("certificate" in m or not site, "a site's certificate is missing")
    require("certificate" not in m or not central, "central has no certificate")
    return dict(m)


def _chunks(rows: list[Any]) -> None:
    require(len(rows) <= 65536, "too many chunks")
    before, size = ("", -1), 0
    for kind, name, raw_bytes, records, digest in (array(row, 5) for row in rows):
        require(re.fullmatch("[a-z][a-z0-9.-]{0,31}", text(kind)), "a chunk's kind")
        require(len(text(name)) <= 255, "a chunk's name")
        most = 67108864 if kind in ("data", "piece") else 201326592
        count(raw_bytes, most)
        count(records)
        binary(digest, 32)
        if kind != "piece":
            before = ("", -1)
            continue
        found = re.fullmatch(r"([0-9a-f]{64})\.(0|[1-9][0-9]{0,7})", name)
        require(found and raw_bytes, "a piece")
        file, number = (found[1], int(found[2])) if found else ("", 0)
        require(not number or (before == (file, number - 1) and size == most), "order of pieces")
        before, size = (file, number), raw_bytes


def _row(codec: int, stored: int, raw_bytes: int, check: bytes) -> None:
    match codec:
        case 0:
            require(stored == raw_bytes, "stored and raw size differ")
        case 1:
            require(stored < raw_bytes <= 1048576 + 100 * stored, "ratio")
        case _:
            require(codec == 2 and not stored and check == bytes(32), "absent")


def _chunk(
    kind: str, name: str, form: tuple[int, bytes, bytes], raw_bytes: int, digest: bytes
) -> bytes | None:
    codec, body, check = form
    if codec == 2:
        return None
    require(hashlib.sha256(body).digest() == check, "the table's digest")
    raw = _frame(body, raw_bytes) if codec else body
    prefix = b"" if kind in ("data", "piece") else f"pulk:chunk.{kind}:1\n".encode()
    require(len(raw) == raw_bytes, "raw size")
    require(hashlib.sha256(prefix + raw).digest() == digest, "the manifest's digest")
    return raw


def _frame(body: bytes, raw_bytes: int) -> bytes:
    """One strict zstd frame: RFC 8878, 3.1.1."""
    require(body[:4] == b"\x28\xb5\x2f\xfd" and len(body) > 5, "no frame")
    flags, at = body[4], 5
    require(not flags & 0b11011, "a dictionary or reserved bits")
    window = 0
    if not flags & 32:
        base = 1 << (10 + (body[at] >> 3))
        window, at = base + base // 8 * (body[at] & 7), at + 1
    width = (flags >> 5 & 1, 2, 4, 8)[flags >> 6]
    size = int.from_bytes(body[at : at + width], "little") + (256 if width == 2 else 0)
    require(width and size == raw_bytes and max(window, size if flags & 32 else 0) <= 1 << 23, "-")
    at, end, last = at + width, len(body) - (4 if flags & 4 else 0), 0
    blocks = 0
    while not last:
        head = int.from_bytes(body[at : at + 3], "little")
        last, form, length = head & 1, head >> 1 & 3, head >> 3
        require(at + 3 <= end and form < 3 and length <= 131072, "a block")
        at, blocks = at + 3 + (1 if form == 1 else length), blocks + 1
        require(blocks <= raw_bytes // 256 + 64, "too many blocks")
    require(at == end, "where the frame ends")
    try:
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=raw_bytes)
    except zstandard.ZstdError as error:
        raise RefusedError(str(error)) from error
