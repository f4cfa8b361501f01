"""Mutants of good bundles: what a courier can do to the bytes, and what an insider can sign.

Everything follows from the `random.Random` that is given, so a number names a mutant.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import zstandard

from bundle import canonical
from bundle.digest import chunk_digest
from bundle.errors import PulkError
from bundle.limits import MANIFEST_LIMITS
from bundle.wire import codec
from bundle.wire.manifest import Kind
from tests.attacks import vector_bundles, vector_trust
from tests.attacks import vector_records as records
from tests.attacks.vector_parts import KEYS, Body, Made, draft, make, proofs, sign

Random = random.Random
ODD_NUMBERS = (0, 1, -1, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**53, 2**63)


@dataclass(frozen=True)
class Corpus:
    """Good bundles, and the trust file that makes them good."""

    bundles: tuple[Made, ...]
    trust: bytes = vector_trust.TRUST[1]

    @classmethod
    def small(cls) -> Corpus:
        """Those of the published vectors that are read."""
        found = [made for _, made, about in vector_bundles.every() if "code" not in about]
        return cls(tuple(found))

    @classmethod
    def large(cls) -> Corpus:
        """A few of 60 to 300 KiB: long segments, files, many chunks, one file in two forms."""
        rng = Random(7)
        rows = tuple(
            replace(row, local=4 * n + row.local, job=n % 3)
            for n in range(700)
            for row in records.attempts()
        )
        raw = records.segment(rows)
        noise, even = rng.randbytes(150_000), b"0123456789abcdef" * 4000
        dense = Body.zstd("segment", "s", raw, codec.compress(raw))
        files = [vector_bundles.file_of(noise), vector_bundles.file_of(even)]
        packed = replace(files[1], stored=codec.compress(even), codec=1)
        many = [Body("logs", f"{n}", rng.randbytes(n % 90)) for n in range(600)]
        return cls(
            (
                make(draft(Kind.RESULT), dense, Body("segment", "t", raw), packed),
                make(draft(Kind.WORK), *files, packed, Body("lease", "l", records.lease())),
                make(draft(Kind.RESULT), *many),
                make(draft(Kind.DATA), files[0], packed),
            )
        )


def mutant(corpus: Corpus, rng: Random) -> bytes:
    """Return the bytes of one mutant; now and then it is as good as its parent."""
    made = rng.choice(corpus.bundles)
    return rng.choice(MUTATIONS)(made, corpus, rng)


def _havoc(made: Made, _: Corpus, rng: Random) -> bytes:
    raw = bytearray(made.file())
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        spot = rng.random() < 0.5
        at = rng.randrange(min(len(raw), 600) if spot else len(raw)) if raw else 0
        length = rng.choice((1, 1, 2, 4, 8, 41, 200))
        match rng.randrange(7):
            case 0:
                raw[at : at + 1] = bytes([(raw[at] if raw else 0) ^ 1 << rng.randrange(8)])
            case 1:
                raw[at : at + length] = rng.randbytes(length)
            case 2:
                raw[at:at] = rng.randbytes(length)
            case 3:
                del raw[at : at + length]
            case 4:
                raw[at:at] = raw[at : at + length]
            case 5:
                raw[at : at + length] = bytes([rng.choice((0, 0x7F, 0x80, 0xFF))]) * length
            case 6:
                del raw[at:]
    return bytes(raw)


def _splice(made: Made, corpus: Corpus, rng: Random) -> bytes:
    one, two = made.file(), rng.choice(corpus.bundles).file()
    if rng.random() < 0.5:
        at = rng.randrange(len(one))
        return one[:at] + two[at:]
    return one[: rng.randrange(len(one))] + two[rng.randrange(len(two)) :]


def _exchange(made: Made, corpus: Corpus, rng: Random) -> bytes:
    """Put parts of another bundle in, with a header that fits them."""
    other = rng.choice(corpus.bundles)
    field = rng.choice(("kind", "manifest", "signatures", "bodies"))
    return replace(made, **{field: getattr(other, field)}).file()


def _head(made: Made, _: Corpus, rng: Random) -> bytes:
    """Edit the header, with sizes that still fit the file or not."""
    raw = bytearray(made.file())
    at, width = rng.choice(((8, 2), (10, 2), (12, 2), (14, 4), (18, 4), (22, 4), (26, 8)))
    now = int.from_bytes(raw[at : at + width], "big")
    new = rng.choice((now + 1, now - 1, now + 41, now - 41, *ODD_NUMBERS)) % 256**width
    raw[at : at + width] = new.to_bytes(width, "big")
    if at in (14, 18) and rng.random() < 0.5:  # what one part loses the other gains
        there = 32 - at
        both = now + int.from_bytes(raw[there : there + 4], "big") - new
        raw[there : there + 4] = (both % 2**32).to_bytes(4, "big")
    return bytes(raw)


def _table(made: Made, _: Corpus, rng: Random) -> bytes:
    """Edit the chunk table, the sums right or not, the file's size kept right."""
    if not made.bodies:
        return made.file()
    at = rng.randrange(len(made.bodies))
    body = made.bodies[at]
    stored = body.raw if body.stored is None else body.stored
    match rng.randrange(6):
        case 0:
            body = replace(body, codec=rng.choice((0, 1, 2, 3, 255)))
        case 1:
            body = replace(body, digest=rng.choice((bytes(32), rng.randbytes(32), None)))
        case 2:
            body = body.absent()
        case 3:
            body = replace(body, stored=stored[: rng.randrange(len(stored) + 1)])
        case 4:
            body = replace(body, stored=stored + rng.randbytes(rng.randrange(9)))
        case 5:
            body = rng.choice(made.bodies)
    bodies = list(made.bodies)
    bodies[at] = body
    if rng.random() < 0.1:
        rng.shuffle(bodies)
    return made.with_bodies(*bodies).file()


def _compressed(made: Made, _: Corpus, rng: Random) -> bytes:
    """Compress bodies anew, honestly or not, every sum of the table right."""
    bodies = [replace(one, stored=_frame(one.raw, rng), codec=1) for one in made.bodies]
    keep = [rng.random() < 0.5 for _ in bodies]
    chosen = [
        old if kept else new for old, new, kept in zip(made.bodies, bodies, keep, strict=True)
    ]
    return made.with_bodies(*chosen).file()


def _frame(raw: bytes, rng: Random) -> bytes:
    how = zstandard.ZstdCompressionParameters.from_level(
        rng.choice((1, 3, 9)),
        write_checksum=rng.random() < 0.3,
        write_content_size=rng.random() < 0.9,
        window_log=rng.choice((10, 17, 24)),
    )
    make_frame = zstandard.ZstdCompressor(compression_params=how).compress
    frame = make_frame(raw)
    match rng.randrange(9):
        case 0:
            return frame + make_frame(b"")
        case 1:
            return make_frame(b"") + frame
        case 2:
            return make_frame(raw + b"!")
        case 3:
            at = rng.randrange(len(frame))
            return frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]
        case 4:
            return frame[: rng.randrange(len(frame))]
    return frame


def _rows(made: Made, _: Corpus, rng: Random) -> bytes:
    """Edit the signatures."""
    rows = canonical.decode(made.signatures, MANIFEST_LIMITS)
    match rng.randrange(4):
        case 0:
            key = rng.choice(list(KEYS.values()))
            rows.insert(rng.randrange(2), {"key": key.public, "signature": rng.randbytes(64)})
        case 1:
            rows = rows * rng.choice((0, 2, 16, 17))
        case 2:
            rows = _changed(rows, rng)
        case 3:
            name = rng.choice(list(rows[0]))
            rows[0][name] = rng.choice((b"", rng.randbytes(32), rng.randbytes(64)))
    return replace(made, signatures=_packed(rows)).file()


def insider_manifest(made: Made, _: Corpus, rng: Random) -> bytes:
    """Sign another manifest with the right key: any value anywhere."""
    value: Any = made.value()
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _changed(value, rng)
    raw = _packed(value)
    if rng.random() < 0.1:
        at = rng.randrange(len(raw))
        raw = raw[:at] + rng.randbytes(rng.randrange(3)) + raw[at + 1 :]
    kind = made.kind
    if isinstance(value, dict) and value.get("kind") in list(Kind) and rng.random() < 0.7:
        kind = Kind(value["kind"])
    changed = replace(made, manifest=raw, kind=kind)
    return sign(changed, proofs(kind) if rng.random() < 0.8 else None).file()


def insider_chunk(made: Made, _: Corpus, rng: Random) -> bytes:
    """Sign other content of a chunk with the right key: any value anywhere inside."""
    records_of = [at for at, one in enumerate(made.bodies) if one.kind not in ("data", "piece")]
    if not records_of:
        return made.file()
    at = rng.choice(records_of)
    try:
        value = canonical.decode(made.bodies[at].raw, MANIFEST_LIMITS)
    except PulkError:
        value = rng.choice(ODD_NUMBERS)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _changed(value, rng)
    raw = _packed(value)
    bodies = list(made.bodies)
    bodies[at] = Body(bodies[at].kind, bodies[at].name, raw, bodies[at].records)
    value = made.value()
    value["chunks"][at][2] = len(raw)
    value["chunks"][at][4] = chunk_digest(bodies[at].kind, raw)
    return sign(replace(made, manifest=canonical.encode(value), bodies=tuple(bodies))).file()


def _packed(value: Any) -> bytes:
    """Encode canonically where that can be, else as it is."""
    try:
        return canonical.encode(value)
    except PulkError:
        return bytes(msgpack.packb(value))


def _changed(value: Any, rng: Random) -> Any:
    """Return the value with one place inside it changed."""
    if isinstance(value, list) and value and rng.random() < 0.9:
        rows, at = list(value), rng.randrange(len(value))
        match rng.randrange(8):
            case 0:
                del rows[at]
            case 1:
                rows.insert(at, rng.choice(rows))
            case 2:
                rng.shuffle(rows)
            case _:
                rows[at] = _changed(rows[at], rng)
        return rows
    if isinstance(value, dict) and value and rng.random() < 0.95:
        fields, name = dict(value), rng.choice(sorted(value))
        match rng.randrange(10):
            case 0:
                del fields[name]
            case 1:
                fields[rng.choice(("zz", "alg", "trust", "rules", name.upper()))] = _any(rng)
            case 2:
                fields[name] = fields[rng.choice(sorted(fields))]
            case _:
                fields[name] = _changed(fields[name], rng)
        return fields
    if isinstance(value, bytes) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return value[:at] + rng.randbytes(rng.randrange(4)) + value[at + rng.randrange(2) :]
    if type(value) is int and rng.random() < 0.5:
        return min(2**64 - 1, max(-(2**63), value + rng.choice((1, -1, *ODD_NUMBERS))))
    return _any(rng)


def _any(rng: Random) -> Any:
    return rng.choice(
        (
            None, True, 1.5, b"", "", "x", "central", "../north", "\x1b[2J\x00", [], {}, [[]],
            "é" * rng.randrange(300), rng.randbytes(rng.choice((1, 16, 32, 64))),
            rng.choice(ODD_NUMBERS), [[0, 1], [2, 1]], {"a": 1}, hashlib.sha256(b"").digest(),
        )
    )  # fmt: skip


Mutation = Callable[[Made, Corpus, Random], bytes]
MUTATIONS: tuple[Mutation, ...] = (
    _havoc, _havoc, _splice, _exchange, _head, _table, _compressed, _rows,
    insider_manifest, insider_manifest, insider_chunk,
)  # fmt: skip
