"""Inputs that are cheap to send and dear to read, and everything that reads from outside."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard

from bundle import canonical
from bundle.dataset import spec
from bundle.errors import PulkError
from bundle.limits import MIB, SEAL_LIMITS, SMALL_LIMITS
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.seal import Claim, Seal
from bundle.spool.bounded import read_bounded
from bundle.trust import certificate, cosignature, enrolment, request, trust_file
from bundle.trust.keys import KeyFile
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle, peek_trust, verify_envelope
from tests.attacks import vector_records as records
from tests.attacks import vector_trust
from tests.attacks.vector_bundles import plain
from tests.attacks.vector_parts import CERTIFICATES, KEY_FILE, KEYS, Body, draft, make, sign

Bomb = tuple[str, bytes]
FILE_BYTES = 8 * MIB
VIEW = TrustView(trust_file.verify(vector_trust.TRUST[1]), frozenset({KEYS["user"].public}))


def many(head: bytes, one: bytes, count: int) -> bytes:
    """An array (dd) or map (df) of so many equal things."""
    return head + count.to_bytes(4, "big") + one * count


def msgpack_bombs() -> Iterator[Bomb]:
    """Bytes that a parser would make much more of than they are."""
    yield "arrays nested a million deep", b"\x91" * MIB + b"\xc0"
    yield "maps nested deep", b"\x81\xa1a" * (MIB // 3) + b"\xc0"
    for head in (b"\xdd", b"\xdf", b"\xc6", b"\xdb"):
        yield f"{head.hex()} declares 2^32-1", head + b"\xff" * 4 + b"\x00" * 64
        yield f"{head.hex()} declares all that is left", many(head, b"", 1 << 20) + b"\xc0" * 99
    for head in (b"\xdc", b"\xde", b"\xc5", b"\xda"):
        yield f"{head.hex()} declares 2^16-1", head + b"\xff" * 2 + b"\x00" * 64
    dear, often = (60_000, 490_000, FILE_BYTES), (60_000,)
    for name, one, elements, sizes in (
        ("empty maps", b"\x80", 1, dear),
        ("empty arrays", b"\x90", 1, often),
        ("nils", b"\xc0", 1, often),
        ("numbers", b"\xcd\x01\x00", 1, often),
        ("short texts", b"\xa2ab", 1, dear),
        ("short bytes", b"\xc4\x02ab", 1, often),
        ("arrays of one", b"\x91\xc0", 2, often),
        ("maps of one", b"\x81\xa1a\xc0", 3, often),
        ("nested maps", b"\x81\xa1a" * 12 + b"\xc0", 25, (60_000, 490_000)),
    ):
        for size in sizes:
            count = size // (len(one) if size == FILE_BYTES else elements)
            yield f"{count} {name}", many(b"\xdd", one, count)
    keys = b"".join(b"\xa4" + b"%04x" % n + b"\x80" for n in range(30_000))
    yield "a map of 30,000 empty maps", b"\xdf" + (30_000).to_bytes(4, "big") + keys
    yield "one text of 8 MiB", b"\xdb" + (8 * MIB - 5).to_bytes(4, "big") + b"x" * (8 * MIB - 5)
    yield "text that is no text", b"\xdb" + (1 << 20).to_bytes(4, "big") + b"\xff" * (1 << 20)
    yield "an ext of 1 MiB", b"\xc9" + (1 << 20).to_bytes(4, "big") + b"\x01" + bytes(1 << 20)


def frames() -> Iterator[tuple[str, Body]]:
    """Bodies that expand, or that are many for nothing."""
    noise = hashlib.sha256(b"noise").digest() * (1 << 15)  # 1 MiB
    empty = zstandard.compress(b"")
    size = len(noise).to_bytes(4, "little")

    def body(frame: bytes, **lie: Any) -> Body:
        return Body("segment", "s", noise, stored=frame, codec=1, lie=lie)

    honest = zstandard.compress(bytes(256 * MIB))  # 8 KiB
    assert honest[4] == 0x80
    yield "256 MiB of zeros, honestly", body(honest, raw_bytes=256 * MIB)
    yield (
        "64 MiB of zeros, within no ratio",
        body(zstandard.compress(bytes(64 * MIB)), raw_bytes=64 * MIB),
    )
    yield "256 MiB behind a lie of 1 MiB", body(honest[:6] + size + honest[10:])
    yield "beyond its kind's limit", body(honest + bytes(2 * MIB), raw_bytes=65 * MIB)
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    long = zstandard.ZstdCompressor(compression_params=wide).compress(bytes(200 * MIB))
    yield "a window of 128 MiB", body(long[:5] + b"\x88" + size + long[10:])
    head = b"\x28\xb5\x2f\xfd\xa0" + size
    yield "blocks of nothing", body(head + b"\0\0\0" * (MIB // 3 - 100))
    yield "one MiB of empty frames", body(empty * ((MIB - 100) // len(empty)))
    yield "a frame in a frame", body(zstandard.compress(zstandard.compress(noise)))
    skip = b"\x50\x2a\x4d\x18" + (900_000).to_bytes(4, "little") + bytes(900_000)
    yield "a skippable frame", body(skip + zstandard.compress(noise)[:1000])
    twice = head + (128 << 10 << 3 | 2).to_bytes(3, "little") + b"a"
    yield "a block of 128 KiB, 10,000 times", body(twice + (twice[9:]) * 10_000)


def manifests() -> Iterator[Bomb]:
    """Bundle files whose manifest, rightly signed, is what is dear."""
    base = plain().manifest
    assert base[0] & 0xF0 == 0x80

    def bundle(raw: bytes) -> bytes:
        return sign(replace(plain(), manifest=raw)).file()

    for name, bomb in msgpack_bombs():
        yield f"manifest with {name}", bundle(bytes([base[0] + 1]) + base[1:] + b"\xa2zz" + bomb)
    receipts = [[b"s" * 16, [], [], [], [[n % 100, "x"] for n in range(600_000)]]]
    fields: dict[str, Any] = plain().value() | {"receipts": receipts}
    yield "1,800,000 parts of receipts", bundle(canonical.encode(fields))
    row = [b"s" * 16, [], [], [], []]
    fields = plain().value() | {"receipts": list(itertools.repeat(row, 300_000))}
    yield "300,000 receipts", bundle(canonical.encode(fields))
    for count in (65_537, 70_000):
        chunks = [["data", f"{n:x}", 1, 0, b"d" * 32] for n in range(count)]
        yield f"{count} chunks", bundle(canonical.encode(plain().value() | {"chunks": chunks}))


def bodies() -> Iterator[Bomb]:
    """Bundle files whose chunks are what is dear."""
    for name, body in frames():
        yield name, make(draft(Kind.WORK), body).file()


def segment_bombs() -> Iterator[Bomb]:
    """Segments that promise much in few bytes."""
    good = canonical.decode(records.segment(records.attempts()), SMALL_LIMITS)

    def changed(columns: dict[str, Any] | None = None, **fields: Any) -> bytes:
        return canonical.encode(good | {"columns": good["columns"] | (columns or {})} | fields)

    flat = {name: [0, b""] for name in good["columns"]}
    lists = {"consumed": [[0, b""], [0, b""]], "outputs": [[0, b""], [0, b""], [0, b""]]}
    for count in (10_001, 2**31, 2**40, 2**64 - 1):
        yield f"{count} attempts of nothing", changed(flat | lists, attempts=count)
    for count in (2_000_001, 2**40, 2**63 - 1):
        consumed = [[count, b""], [0, b""]]
        one = flat | lists | {"consumed": consumed}
        yield f"{count} consumed", changed(one, attempts=1, digests=b"d" * 32, texts=["a"])
    yield "a table of texts", changed(texts=["ab"] * 300_000)
    yield "a table of long texts", changed(texts=["ab" * 20] * 70_000)
    yield "a table of digests", changed(digests=b"d" * 32 * 100_000)
    yield "planes without end", changed({"wall_ms": [0, bytes(12 * MIB)]})


def trust_bombs() -> Iterator[Bomb]:
    """Chains of trust files that are long, or long to no end."""
    one = vector_trust.TRUST[1]
    yield "a chain of 4,095", trust_file.encode_chain([one] * 4_095) + b"\xc0"
    yield "a chain of 8,000", trust_file.encode_chain([one] * 8_000)
    revoked = [[n.to_bytes(32, "big"), []] for n in range(26_000)]
    large = vector_trust.resigned({"revocations": revoked, "version": 0})
    yield "a chain of large ones", trust_file.encode_chain([large] * 7)


Reader = Callable[[bytes], object]


def readers() -> dict[str, tuple[bytes, Reader, Callable[[], Iterator[Bomb]]]]:
    """Return by name: good bytes, what reads them, and the bombs that are for it."""
    folder = Path(tempfile.mkdtemp())

    def at(read: Callable[[Path], object]) -> Reader:
        def reader(raw: bytes) -> object:
            path = folder / "file"
            path.unlink(missing_ok=True)
            path.touch(0o600)
            path.write_bytes(raw)
            return read(path)

        return reader

    def whole(path: Path) -> None:
        with open_bundle(path, VIEW, audience=None, kinds=frozenset(Kind)) as bundle:
            for place, entry in enumerate(bundle.manifest.chunks):
                bundle.chunk(place) if entry.kind != "data" else bundle.check_chunk(place)

    key, words = KEYS["north"].public, vector_trust.FINGERPRINT
    seal = Seal(b"s", key, b"", b"\x90", b"\x80", "batch")
    claim = Claim(records.RUN, key, "b", "h", "boot", 1, 1, 1, 1, "none")
    general = msgpack_bombs
    answer = enrolment.make_answer(CERTIFICATES["north"], vector_trust.TRUST[1])
    asked = enrolment.make_request("north", KEYS["north"], created_us=1)
    signed = cosignature.encode(cosignature.make(b"d" * 32, [KEYS["user"]]))
    start = VIEW.trust
    kinds = frozenset({Kind.WORK})
    return {
        "bundle": (plain().file(), at(whole), manifests),
        "body": (plain().file(), at(whole), bodies),
        "trust in an unverified bundle": (plain().file(), at(peek_trust), manifests),
        "envelope": (records.envelope(plain()), lambda r: verify_envelope(r, VIEW, kinds), general),
        "enrolment request": (asked, enrolment.check_request, general),
        "enrolment answer": (answer, lambda r: enrolment.accept_answer(r, words, key), general),
        "trust file": (vector_trust.TRUST[1], trust_file.verify, general),
        "trust file on disk": (vector_trust.TRUST[1], at(trust_file.load), general),
        "chain": (vector_trust.CHAIN, lambda r: trust_file.advance(start, r), trust_bombs),
        "any chain": (vector_trust.CHAIN, lambda r: trust_file.advance(start, r), general),
        "certificate": (CERTIFICATES["north"], lambda r: certificate.verify(r, start), general),
        "co-signature": (signed, cosignature.read, general),
        "key file": (KEY_FILE, at(KeyFile.load), general),
        "seal": (
            seals.encode(seal),
            at(lambda p: seals.decode(read_bounded(p, SEAL_LIMITS), where="")),
            general,
        ),
        "claim": (
            seals.encode_claim(claim),
            at(lambda p: seals.decode_claim(read_bounded(p, SMALL_LIMITS), where="")),
            general,
        ),
        "logs": (b"\x90", seals.decode_logs, general),
        "report": (records.report(), reports.decode, general),
        "segment": (records.segment(records.attempts()), segments.decode, segment_bombs),
        "any segment": (records.segment(records.attempts()), segments.decode, general),
        "telemetry": (records.samples(), telemetry.decode, general),
        "lease": (records.lease(), leases.decode, general),
        "dataset": (records.DOCUMENT, spec.decode, general),
        "header": (good_header().encode(), _check_header, headers),
    }


def good_header() -> str:
    """The header of a signed request."""
    return request.sign_request(KEYS["north"], CERTIFICATES["north"], "GET", "/", 1)


def _check_header(raw: bytes) -> object:
    text = raw.decode("latin-1")
    return request.check_request(text, VIEW, "GET", "/", now_us=1, skew_max_us=9)


def headers() -> Iterator[Bomb]:
    """Headers that are long."""
    yield "8 MiB of dots", b"PulkSite " + b"." * (8 * MIB)
    yield "8 MiB of base64", b"PulkSite " + b"A" * (8 * MIB) + b".1.AAAA"
    yield "a number without end", b"PulkSite AAAA." + b"9" * 8000 + b".AAAA"
    yield "a map in base64", b"PulkSite 3wAAAf8=.1.AAAA"


def write(folder: Path) -> None:
    """Write every bomb, a file for each, into a folder for each source of them."""
    for source in {bombs for _, _, bombs in readers().values()}:
        place = folder / source.__name__
        place.mkdir()
        for number, (what, raw) in enumerate(source()):
            (place / f"{number:03d} {what}").write_bytes(raw)


def drop(folder: str) -> Callable[[], dict[str, dict[str, str]]]:
    """Return what drops all bombs on their readers; it says the code of each refusal."""
    every = readers()
    for good, read, _ in every.values():
        read(good)

    def drop_one(read: Reader, path: Path) -> str:
        try:
            read(path.read_bytes())
        except MemoryError:
            return "MemoryError"
        except PulkError as error:
            return error.code
        return "read"

    return lambda: {
        name: {
            path.name: drop_one(read, path)
            for path in sorted((Path(folder) / source.__name__).iterdir())
        }
        for name, (_, read, source) in every.items()
    }
