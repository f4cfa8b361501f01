"""The published vectors: the reader says of each file what docs/vectors/index.json says.

Only docs/vectors is read here; that the generator makes exactly these bytes is a test of its own.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import PulkError
from bundle.records import segment as segments
from bundle.trust import certificate, enrolment, fingerprint, trust_file
from bundle.trust.keys import verify
from bundle.trust.trust_file import TrustView
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from bundle.wire.read import OpenBundle, open_bundle, verify_envelope

VECTORS = Path(__file__).parents[2] / "docs" / "vectors"
INDEX: dict[str, Any] = json.loads((VECTORS / "index.json").read_bytes())
USERS = frozenset(map(bytes.fromhex, INDEX["users"]))
BYTES_MAX, ALL_BYTES_MAX = 4096, 150 << 10


def of_type(name: str) -> list[Any]:
    return [pytest.param(row, id=row["file"]) for row in INDEX["files"] if row["type"] == name]


def raw_of(row: dict[str, Any], field: str = "file") -> bytes:
    return (VECTORS / row[field]).read_bytes()


def view(name: str) -> TrustView:
    return TrustView.load(VECTORS / name) if not USERS else TrustView(load(name), USERS)


def load(name: str) -> trust_file.Trust:
    return trust_file.load(VECTORS / name)


def code_of(work: Any) -> str:
    """Return the code of the refusal, or `ok`."""
    try:
        work()
    except PulkError as error:
        return error.code
    return "ok"


def expected(row: dict[str, Any]) -> str:
    return str(row["verdict"] if row["verdict"] == "ok" else row["code"])


@pytest.mark.parametrize("row", of_type("bundle"))
def test_a_bundle_is_read_or_refused_as_published(row: dict[str, Any]) -> None:
    kinds = frozenset(Kind(kind) for kind in row["kinds"] or list(Kind))
    limit = {"bytes_max": row["bytes_max"]} if "bytes_max" in row else {}
    path, audience = VECTORS / row["file"], row["audience"]
    try:
        bundle = open_bundle(path, view(row["trust"]), audience=audience, kinds=kinds, **limit)
    except BundleRefused as error:
        assert (error.code, str(path) in str(error)) == (expected(row), True)
        return
    with bundle:
        assert expected(row) == "ok"
        found = (bundle.id, bundle.signer_key.hex(), bundle.site, bundle.manifest.kind)
        assert found == (row["bundle_id"], row["signer"], row["site"], row["kind"])
        assert [name for name, _ in bundle.manifest.unknown] == row.get("unknown", [])
        assert chunks_of(bundle) == row["chunks"]
        if "attempts" in row:
            assert attempts_of(bundle) == row["attempts"]


def chunks_of(bundle: OpenBundle) -> list[dict[str, Any]]:
    rows = []
    for place, entry in enumerate(bundle.manifest.chunks):
        verdict = code_of(lambda place=place: bundle.check_chunk(place))
        rows.append(asdict(entry) | {"digest": entry.digest.hex(), "verdict": verdict})
    return rows


def attempts_of(bundle: OpenBundle) -> list[dict[str, Any]]:
    found = []
    for one in segments.decode(bundle.chunk(bundle.one("segment"))).attempts:
        row = asdict(one)
        row |= row.pop("usage")
        row["consumed"] = [digest.hex() for digest in one.consumed]
        row["outputs"] = [[digest.hex(), size] for digest, size in one.outputs]
        found.append(row)
    return found


@pytest.mark.parametrize("row", of_type("trust"))
def test_a_trust_file_is_read_or_refused_as_published(row: dict[str, Any]) -> None:
    assert code_of(lambda: trust_file.verify(raw_of(row))) == expected(row)
    if row["verdict"] == "ok":
        trust = load(row["file"])
        found = (trust.version, fingerprint.of_roots(trust))
        assert found == (row["version"], row["root_fingerprint"])


@pytest.mark.parametrize("row", of_type("chain"))
def test_a_chain_is_followed_or_refused_as_published(row: dict[str, Any]) -> None:
    start = load(row["from"])
    assert code_of(lambda: trust_file.advance(start, raw_of(row))) == expected(row)
    if row["verdict"] == "ok":
        assert trust_file.advance(start, raw_of(row)).version == row["version"]


@pytest.mark.parametrize("row", of_type("certificate"))
def test_a_certificate_is_read_or_refused_as_published(row: dict[str, Any]) -> None:
    trust = load(row["trust"])
    assert code_of(lambda: certificate.verify(raw_of(row), trust)) == expected(row)
    if row["verdict"] == "ok":
        found = certificate.verify(raw_of(row), trust)
        assert (found.site, found.key.hex()) == (row["site"], row["key"])


@pytest.mark.parametrize("row", of_type("request"))
def test_a_request_is_read_or_refused_as_published(row: dict[str, Any]) -> None:
    assert code_of(lambda: enrolment.check_request(raw_of(row))) == expected(row)
    if row["verdict"] == "ok":
        found = enrolment.check_request(raw_of(row))
        shown = (found.site, found.key.hex(), found.fingerprint)
        assert shown == (row["site"], row["key"], row["fingerprint"])


@pytest.mark.parametrize("row", of_type("answer"))
def test_an_answer_is_taken_or_refused_as_published(row: dict[str, Any]) -> None:
    words, key = row["root_fingerprint"], bytes.fromhex(row["key"])
    assert code_of(lambda: enrolment.accept_answer(raw_of(row), words, key)) == expected(row)
    if row["verdict"] == "ok":
        assert enrolment.accept_answer(raw_of(row), words, key).site == row["site"]


@pytest.mark.parametrize("row", of_type("envelope"))
def test_an_envelope_is_read_or_refused_as_published(row: dict[str, Any]) -> None:
    trust, kinds = view(row["trust"]), frozenset(map(Kind, row["kinds"]))
    assert code_of(lambda: verify_envelope(raw_of(row), trust, kinds)) == expected(row)
    if row["verdict"] == "ok":
        assert verify_envelope(raw_of(row), trust, kinds)[0] == row["bundle_id"]


@pytest.mark.parametrize("row", [pytest.param(r, id=r["name"]) for r in INDEX["signatures"]])
def test_a_signature_is_judged_as_published(row: dict[str, Any]) -> None:
    key, message, signature = (bytes.fromhex(row[n]) for n in ("key", "message", "signature"))
    assert verify(key, message, signature) is row["valid"]


def test_the_vectors_are_small_and_each_is_in_the_index() -> None:
    sizes = {path.name: path.stat().st_size for path in VECTORS.iterdir()}
    listed = {row["file"] for row in INDEX["files"]} - {"."}
    assert set(sizes) == listed | {"index.json"}
    assert max(sizes[name] for name in listed) < BYTES_MAX
    assert sum(sizes.values()) < ALL_BYTES_MAX


def test_every_kind_of_bundle_is_among_them_and_every_refusal_of_the_order() -> None:
    read = {row["kind"] for row in INDEX["files"] if row["type"] == "bundle" and "site" in row}
    assert read == set(Kind)
    codes = {row["code"] for row in INDEX["files"] if "code" in row}
    codes |= {one["verdict"] for row in INDEX["files"] for one in row.get("chunks", [])}
    order = {
        "not-a-bundle-file", "too-large", "bad-magic", "truncated", "trailing-bytes",
        "unsupported-version", "malformed-bundle", "wrong-kind", "unknown-key", "key-not-allowed",
        "bad-signature", "malformed-manifest", "revoked-key", "bomb", "wrong-audience",
        "absent-chunk", "chunk-mismatch",
    }  # fmt: skip
    assert order <= codes
