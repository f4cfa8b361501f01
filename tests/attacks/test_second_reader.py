"""A reader written from the document alone says the same as ours, of vectors and of mutants."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from bundle.trust import trust_file
from bundle.trust.trust_file import TrustView
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from tests.attacks import make_vectors, second_reader
from tests.attacks.mutants import Corpus, mutant
from tests.attacks.second_records import RefusedError, read_certificate, read_trust

VECTORS = make_vectors.FOLDER
INDEX: dict[str, Any] = json.loads((VECTORS / "index.json").read_bytes())
USERS = frozenset(map(bytes.fromhex, INDEX["users"]))
KINDS = [kind.value for kind in Kind]
MUTANTS = int(os.environ.get("PULK_MUTANTS", "1000"))


def second(raw: bytes, trust: bytes, row: dict[str, Any], *, chunks: bool) -> str | None:
    """The id of a bundle that the second reader reads, or None."""
    kinds = set(row.get("kinds") or KINDS)
    how = {"audience": row.get("audience"), "kinds": kinds, "users": USERS, "chunks": chunks}
    try:
        return second_reader.read_bundle(raw, trust, **how).id
    except RefusedError:
        return None


def first(path: Path, trust: TrustView) -> str | None:
    """The id of a bundle that our reader reads to its last chunk, or None."""
    try:
        with open_bundle(path, trust, audience=None, kinds=frozenset(Kind)) as bundle:
            bundle.check_present()
            return str(bundle.id)
    except BundleRefused:
        return None


BUNDLES = [r for r in INDEX["files"] if r["type"] == "bundle" and r["file"] != "."]


@pytest.mark.parametrize("row", [pytest.param(row, id=row["file"]) for row in BUNDLES])
def test_the_second_reader_says_of_each_bundle_what_is_published(row: dict[str, Any]) -> None:
    raw = (VECTORS / row["file"]).read_bytes()
    if len(raw) > row.get("bytes_max", len(raw)):
        return  # how much a place takes is its own affair
    trust = (VECTORS / row["trust"]).read_bytes()
    assert second(raw, trust, row, chunks=False) == row.get("bundle_id")
    damaged = {one["verdict"] for one in row.get("chunks", [])} - {"ok", "absent-chunk"}
    whole = None if damaged else row.get("bundle_id")
    assert second(raw, trust, row, chunks=True) == whole


def test_the_second_reader_says_of_each_trust_file_and_certificate_what_is_published() -> None:
    for row in INDEX["files"]:
        raw = (VECTORS / row["file"]).read_bytes() if row["file"] != "." else b""
        try:
            match row["type"]:
                case "trust":
                    assert read_trust(raw)["version"] == row.get("version"), row
                case "certificate":
                    trust = read_trust((VECTORS / row["trust"]).read_bytes())
                    site, key, _ = read_certificate(raw, trust)
                    assert (site, key.hex()) == (row.get("site"), row.get("key")), row
        except RefusedError:
            assert row["verdict"] == "refused", row


def test_both_readers_say_the_same_of_mutants(tmp_path: Path) -> None:
    seed = int(os.environ.get("PULK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"PULK_SEED={seed}")
    corpus, path, read = Corpus.small(), tmp_path / "mutant.pulk", 0
    trust = TrustView(trust_file.verify(corpus.trust), USERS)
    for number in range(MUTANTS):
        raw = mutant(corpus, random.Random(f"{seed} {number}"))
        path.write_bytes(raw)
        ours, theirs = first(path, trust), second(raw, corpus.trust, {}, chunks=True)
        assert ours == theirs, f"PULK_SEED={seed}, mutant {number}"
        read += ours is not None
    assert 0 < read < MUTANTS
