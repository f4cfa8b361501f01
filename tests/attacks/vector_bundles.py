"""The bundle files among the published vectors, each with what is expected of it, in words."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bundle import canonical
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from bundle.limits import MANIFEST_LIMITS
from bundle.records.receipt import StreamReceipt
from bundle.records.rules import Maximum
from bundle.wire.entries import Rules
from bundle.wire.header import NO_DIGEST, Codec
from bundle.wire.manifest import Kind
from tests.attacks import vector_records as records
from tests.attacks import vector_trust
from tests.attacks.curve import ORDER
from tests.attacks.vector_parts import (
    CENTRALS_STREAM,
    CERTIFICATES,
    DATASET,
    KEYS,
    SITES_STREAM,
    Body,
    Made,
    draft,
    edited,
    make,
    run_length,
    sign,
)

Vector = tuple[str, Made, dict[str, Any]]
ALIKE, TEXT = b"a" * 300, b"a bundle is whole or it is nothing. " * 12
# zstd at level 3 over TEXT, as one library makes it: a real compressed block.
TEXT_FRAME = base64.b64decode(
    "KLUv/WCwAF0BAAQCYSBidW5kbGUgaXMgd2hvbGUgb3IgaXRub3RoaW5nLiACAIlH6SnrbAI="
)
CENTRAL, NORTH = (KEYS["central-1"], b""), (KEYS["north"], CERTIFICATES["north"])


def every() -> Iterator[Vector]:
    """Yield the name of each, its parts, and what is expected."""
    yield from _read()
    yield from _copies()
    yield from _before_the_manifest()
    yield from _signers()
    yield from _manifests()
    yield from _bodies()


def plain() -> Made:
    """Return the bundle that most others are made from: one file, one empty log."""
    return make(draft(Kind.WORK), file_of(ALIKE), Body("logs", "", b"", records=0))


def file_of(raw: bytes, **rest: Any) -> Body:
    """Return the chunk of a file."""
    return Body("data", hashlib.sha256(raw).hexdigest(), raw, records=0, **rest)


def _read() -> Iterator[Vector]:
    central, north = {"signer": "central-1"}, {"signer": "north", "site": "north"}
    yield "work", records.work(), central | {"audience": "north", "kinds": ["work"]}
    rows = records.plain(records.attempts())
    yield "result", records.result(), north | {"audience": "central", "attempts": rows}
    for kind, raw in ((Kind.REPORT, records.report()), (Kind.TELEMETRY, records.samples())):
        yield kind.value, make(draft(kind), Body(kind.value, kind.value, raw)), north
    document = Body("dataset", DATASET, records.DOCUMENT)
    yield "submission", make(draft(Kind.SUBMISSION), document), {"signer": "user"}
    yield "data-of-central", make(draft(Kind.DATA), file_of(TEXT)), central
    fields = {"producer": "north", "stream": SITES_STREAM, "certificate": CERTIFICATES["north"]}
    yield "data-of-a-site", make(draft(Kind.DATA, **fields), file_of(TEXT), by=[NORTH]), north
    yield "commit", make(draft(Kind.COMMIT, audience=""), Body("facts", "facts", b"\x80")), central
    yield "no-chunks", make(draft(Kind.WORK)), central
    full = draft(
        Kind.WORK,
        previous=b"p" * 32,
        lifetime_ms=86_400_000,
        refers=(b"r" * 32,),
        receipts=(
            StreamReceipt(
                SITES_STREAM,
                merged=IntervalSet.of([0, 1, 2, 5]),
                safe=IntervalSet.of([0, 1]),
                parked=IntervalSet.of([4]),
                refused=((3, "outside-lease"),),
            ),
        ),
        rules=Rules("any", 1_000_000, Maximum(64_000, 86_400_000, 1 << 40)),
        tombstones=(DatasetId("a" * 26),),
        received=((SITES_STREAM, IntervalSet.of([0])),),
    )
    yield "every-field", make(full), central
    later = {"zz-later": [1, -1, 1.5, None, True, "text", b"bytes", {"a": 1}]}
    yield "unknown-field", edited(plain(), **later), central | {"unknown": ["zz-later"]}
    newer = replace(edited(plain(), format=2), head={"format": 2})
    yield "later-format", newer, central
    yield "largest-numbers", edited(make(draft(Kind.WORK)), sequence=2**63 - 1), central
    next_key = make(draft(Kind.WORK), by=[(KEYS["central-2"], b"")])
    yield "next-central-key", next_key, {"signer": "central-2"}
    others = [(KEYS["stranger"], b""), CENTRAL, (KEYS["central-2"], b"")]
    yield "more-signatures", sign(plain(), others), central | {"why": "the first that may sign"}
    chained = make(draft(Kind.WORK, trust=vector_trust.CHAIN), by=[(KEYS["central-3"], b"")])
    yield "carries-trust", chained, {"signer": "central-3", "trust": "trust-2.trust"}
    place = {"trust": "trust-3.trust"}
    kept = vector_trust.last_kept()
    yield "kept-of-a-revoked-key", kept, north | place | {"why": "the last kept, by its id"}
    before = make(draft(Kind.RESULT, sequence=2))
    yield "kept-before-the-last", before, north | place


def _copies() -> Iterator[Vector]:
    made, (whole, empty) = plain(), plain().bodies
    expected = {"signer": "central-1", "why": "one id in every stored form"}
    yield "stored", made, expected
    short = replace(whole, stored=run_length(ALIKE), codec=Codec.ZSTD)
    yield "zstd", made.with_bodies(short, empty), expected
    block = Body.zstd("data", hashlib.sha256(TEXT).hexdigest(), TEXT, TEXT_FRAME, records=0)
    yield "zstd-block", make(draft(Kind.WORK), block), {"signer": "central-1"}
    windowed = b"\x28\xb5\x2f\xfd\x44\x00\x2c\x00" + run_length(ALIKE)[7:]
    sum_of = windowed + bytes.fromhex("c7cfcfb9")
    framed = replace(whole, stored=sum_of, codec=Codec.ZSTD)
    yield "zstd-window-checksum", made.with_bodies(framed, empty), expected
    thin = made.with_bodies(whole.absent(), empty)
    yield "thin", thin, expected | {"states": ["absent-chunk", "ok"]}
    nothing = made.with_bodies(whole.absent(), empty.absent())
    yield "thin-of-all", nothing, expected | {"states": ["absent-chunk"] * 2}


def _before_the_manifest() -> Iterator[Vector]:
    made = plain()
    raw = made.file()

    def head(name: str, code: str, why: str = "", **fields: Any) -> Vector:
        return name, replace(made, head=fields), {"code": code, "why": why or f"{fields}"}

    folder = {"file": ".", "raw": None, "code": "not-a-bundle-file", "why": "a folder"}
    yield "folder", made, folder
    yield "beyond-the-cap", made, {"code": "too-large", "bytes_max": len(raw) - 1}
    yield "empty", made, {"raw": b"", "code": "bad-magic"}
    as_text = raw.replace(b"\r\n", b"\n", 1)
    yield "sent-as-text", made, {"raw": as_text, "code": "bad-magic"}
    yield "cut-in-the-header", made, {"raw": raw[:20], "code": "truncated"}
    yield "cut-by-one", made, {"raw": raw[:-1], "code": "truncated"}
    yield "one-byte-more", made, {"raw": raw + b"\0", "code": "trailing-bytes"}
    yield head("too-new", "unsupported-version", format=9, reader_min=8)
    yield head("format-0", "unsupported-version", format=0)
    yield head("manifest-too-large", "too-large", manifest_bytes=(8 << 20) + 1)
    yield head("chunks-too-many", "too-large", chunks=65_537)
    yield head("parts-exceed-the-file", "malformed-bundle", manifest_bytes=5000)
    at = raw[:12] + b"\x00\x07" + raw[14:]
    yield "kind-unknown", made, {"raw": at, "code": "malformed-bundle"}
    yield "kind-not-here", made, {"kinds": ["result", "report"], "code": "wrong-kind"}


def _signers() -> Iterator[Vector]:
    made = plain()
    rows = canonical.decode(made.signatures, MANIFEST_LIMITS)

    def with_rows(name: str, code: str, *rows: dict[str, Any], why: str = "") -> Vector:
        return name, replace(made, signatures=canonical.encode(list(rows))), _refused(code, why)

    yield with_rows("no-signature", "malformed-bundle")
    yield with_rows("seventeen-signatures", "malformed-bundle", *rows * 17)
    yield with_rows("signature-names-algorithm", "malformed-bundle", rows[0] | {"alg": "ed25519"})
    long = rows[0] | {"signature": rows[0]["signature"] + b"\0"}
    yield with_rows("signature-of-65-bytes", "malformed-bundle", long)
    good = rows[0]["signature"]
    scalar = int.from_bytes(good[32:], "little")
    beyond = good[:32] + (scalar + ORDER).to_bytes(32, "little")
    yield with_rows("scalar-beyond-order", "bad-signature", rows[0] | {"signature": beyond})
    wrong = rows[0] | {"key": KEYS["central-2"].public}
    yield with_rows("second-does-not-fit", "bad-signature", rows[0], wrong)
    yield "signed-as-another-kind", sign(made, kind="commit"), _refused("bad-signature")
    other = replace(made, manifest=edited(made, commit=8).manifest)
    yield "manifest-altered", other, _refused("bad-signature")
    yield "unknown-key", sign(made, [(KEYS["stranger"], b"")]), _refused("unknown-key")
    root = sign(made, [(KEYS["root-1"], b"")])
    yield "signed-by-a-root", root, _refused("key-not-allowed")
    certified = sign(made, [NORTH])
    yield "work-of-a-site", certified, _refused("key-not-allowed")
    result = make(draft(Kind.RESULT))
    yield (
        "site-without-certificate",
        sign(result, [(KEYS["north"], b"")]),
        _refused("key-not-allowed"),
    )
    borrowed = sign(result, [(KEYS["south"], CERTIFICATES["north"])])
    yield "certificate-of-another-key", borrowed, _refused("key-not-allowed")
    for name, code, proof in (
        ("certificate-by-a-stranger", "unknown-key", vector_trust.STRANGERS),
        ("certificate-of-a-weak-key", "key-not-allowed", vector_trust.WEAK),
    ):
        yield name, sign(result, [(KEYS["north"], proof)]), _refused(code)
    foreign = make(draft(Kind.RESULT, producer="south"), by=[NORTH])
    yield "in-another-sites-name", foreign, _refused("key-not-allowed")
    reissued = sign(result, [(KEYS["north"], vector_trust.REISSUED)])
    yield "certificate-not-the-manifests", reissued, _refused("key-not-allowed")
    data = make(draft(Kind.DATA, producer="north"))
    yield "data-in-a-sites-name", data, _refused("key-not-allowed")
    revoked = {"trust": "trust-3.trust", "code": "revoked-key"}
    yield "revoked-beyond-the-kept", make(draft(Kind.RESULT, sequence=4)), revoked
    rival = make(draft(Kind.RESULT, commit=1))
    yield "revoked-another-id", rival, revoked | {"why": "the last kept number, another id"}


def _manifests() -> Iterator[Vector]:
    made = plain()
    swapped = replace(sign(made, kind="commit"), kind=Kind.COMMIT)
    yield "kind-not-the-headers", swapped, _refused("malformed-bundle")
    for name, fields in {
        "kind-of-no-bundle": {"kind": "gossip"},
        "sequence-negative": {"sequence": -1},
        "sequence-beyond": {"sequence": 2**63},
        "stream-short": {"stream": b"short"},
        "no-stream": {"stream": None},
        "audience-empty": {"audience": ""},
        "names-a-suite": {"suite": "ed25519"},
        "producer-not-central": {"producer": "north"},
        "central-certified": {"certificate": CERTIFICATES["north"]},
        "reader-beyond-format": {"reader_min": 2},
        "runs-touch": {"received": [[CENTRALS_STREAM, [[0, 1], [1, 1]]]]},
        "row-too-long": {"epoch": [1, b"n" * 16, 1]},
        "rule-maximum-zero": {
            "rules": {"network": "any", "node_hours_max_milli": 0, "maximum": [0, 0, 0]}
        },
        "rule-unknown": {"rules": {"network": "any", "node_hours_max_milli": 0, "x": 1}},
        "nested-too-deep": {"zz": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]},
    }.items():
        yield name, edited(made, **fields), _refused("malformed-manifest", f"{fields}")
    head, body = made.manifest[:1], made.manifest[1:]
    for name, raw in {
        "not-minimal": made.manifest.replace(b"\xa6commit\x07", b"\xa6commit\xcc\x07"),
        "not-in-order": head + body.replace(b"\xa6commit\x07", b"") + b"\xa6commit\x07",
        "key-twice": bytes([head[0] + 1]) + body.replace(b"\xa6commit\x07", b"\xa6commit\x07" * 2),
        "ext-type": made.manifest.replace(b"\xa6commit\x07", b"\xa6commit\xd4\x01\x07"),
        "not-a-number": made.manifest.replace(
            b"\xa6commit\x07", b"\xa6commit\xcb\x7f\xf8" + bytes(6)
        ),
        "declares-2-to-the-32": made.manifest.replace(
            b"\xa6commit\x07", b"\xa6commit\xdd" + b"\xff" * 4
        ),
        "bytes-after": made.manifest + b"\xc0",
    }.items():
        yield name, sign(replace(made, manifest=raw)), _refused("malformed-manifest")
    yield "format-not-the-headers", edited(made, format=2), _refused("malformed-bundle")
    yield "for-north", made, _refused("wrong-audience") | {"audience": "south"}


def _bodies() -> Iterator[Vector]:
    made, (whole, empty) = plain(), plain().bodies
    frame = run_length(ALIKE)

    def row(name: str, code: str, body: Body, why: str = "") -> Vector:
        return name, made.with_bodies(body, empty), _refused(code, why)

    def body(name: str, code: str, one: Body, why: str = "") -> Vector:
        expected = {"signer": "central-1", "states": [code, "ok"], "why": why}
        return name, made.with_bodies(one, empty), expected

    yield "table-too-short", made.with_bodies(whole), _refused("malformed-bundle")
    yield row("codec-unknown", "bomb", replace(whole, codec=3))
    yield row("stored-short", "bomb", replace(whole, stored=ALIKE[:-1]))
    yield row("zstd-not-smaller", "bomb", replace(whole, codec=Codec.ZSTD))
    yield row("absent-with-digest", "bomb", replace(whole.absent(), digest=b"d" * 32))
    huge = Body("data", "huge", b"", 0, b"x", Codec.ZSTD, {"raw_bytes": 1048577 + 100})
    yield "beyond-the-ratio", make(draft(Kind.WORK), huge), _refused("bomb")
    zstd = replace(whole, codec=Codec.ZSTD)
    yield body("body-altered", "chunk-mismatch", replace(zstd, stored=frame, digest=NO_DIGEST))
    yield body("stored-altered", "chunk-mismatch", replace(whole, stored=b"b" * 300))
    other = run_length(b"b" * 300)
    yield body("raw-altered", "chunk-mismatch", replace(zstd, stored=other), "both sums are right")
    for name, bad in {
        "two-frames": frame + b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00",
        "skippable-frame": b"\x50\x2a\x4d\x18\x00\x00\x00\x00" + frame,
        "another-size-declared": run_length(b"a" * 299),
        "no-size-declared": b"\x28\xb5\x2f\xfd\x00\x58" + frame[7:],
        "names-a-dictionary": b"\x28\xb5\x2f\xfd\x61\x07" + frame[5:],
        "window-too-large": b"\x28\xb5\x2f\xfd\x40\x69" + frame[5:],
        "block-cut": frame[:-1],
        "block-of-unknown-form": frame[:7] + (300 << 3 | 7).to_bytes(3, "little") + frame[10:],
        "many-empty-blocks": frame[:7] + b"\0\0\0" * 80 + frame[7:],
    }.items():
        yield body(name, "bomb", replace(zstd, stored=bad))
    cut = frame[:7] + (299 << 3 | 3).to_bytes(3, "little") + b"a"
    yield body("less-than-declared", "chunk-mismatch", replace(zstd, stored=cut))


def _refused(code: str, why: str = "") -> dict[str, Any]:
    return {"code": code, "why": why}
