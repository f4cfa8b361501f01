"""`pulk bundle inspect` and `verify` tell a person and a script what a file is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bundle.cli.bundle import group
from bundle.errors import PulkError
from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt
from bundle.wire.errors import BadSignature, ChunkMismatch, Truncated
from bundle.wire.manifest import Kind, Rules
from bundle.wire.write import ChunkSource


@pytest.fixture
def trust(cast: Any, tmp_path: Path) -> str:
    path = tmp_path / "trust"
    path.write_bytes(cast.trust_bytes)
    return str(path)


@pytest.fixture
def work(cast: Any) -> Path:
    receipt = StreamReceipt(b"r" * 16, merged=IntervalSet(((0, 4),)), refused=((4, "bomb"),))
    draft = cast.draft(Kind.WORK, receipts=(receipt,), rules=Rules(), lifetime_ms=3_600_000)
    name = "[red]not\x1b[31mmarkup"
    return cast.pack([ChunkSource("lease", name, 5, b"lease " * 100)], draft)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, list(arguments))


def test_inspect_without_trust_says_that_nothing_was_verified(work: Path) -> None:
    shown = run("inspect", str(work)).stdout
    assert "not looked at (no --trust)" in shown
    assert "\x1b[31m" not in shown
    assert "[red]not" in shown


def test_inspect_as_json_is_one_document_with_every_fact(work: Path, trust: str) -> None:
    found = json.loads(run("inspect", str(work), "--json", "--trust", trust).stdout)
    assert found["verified"] is True
    assert found["signed_by"] == "central"
    assert found["receipts"][0]["merged"] == [[0, 4]]
    assert found["receipts"][0]["refused"] == [[4, "bomb"]]
    assert found["chunks"][0]["records"] == 5
    assert found["chunks"][0]["codec"] == "zstd"
    assert len(found["id"]) == 64


def test_inspect_shows_what_is_wrong_with_a_bundle_that_it_can_still_read(
    cast: Any, work: Path, trust: str
) -> None:
    raw = work.read_bytes()
    scrap = cast.scrap(raw[:-1] + bytes([raw[-1] ^ 1]))
    found = json.loads(run("inspect", str(scrap), "--json", "--trust", trust).stdout)
    assert found["verified"] is False
    assert found["refusal"]["code"] == "chunk-mismatch"
    assert "NO: chunk-mismatch" in run("inspect", str(scrap), "--trust", trust).stdout


def test_verify_accepts_a_good_bundle(work: Path, trust: str) -> None:
    done = run("verify", str(work), "--trust", trust)
    assert done.exit_code == 0
    assert done.stdout.startswith("verified: work bundle ")
    assert json.loads(run("verify", str(work), "--trust", trust, "--json").stdout)["verified"]


def test_verify_refuses_what_is_cut_altered_or_forged(cast: Any, work: Path, trust: str) -> None:
    raw = work.read_bytes()
    altered = raw[:60] + bytes([raw[60] ^ 1]) + raw[61:]
    for scrap, kind in (
        (raw[:-1], Truncated),
        (altered, BadSignature),
        (raw[:-1] + b"\0", ChunkMismatch),
    ):
        told = run("verify", str(cast.scrap(scrap)), "--trust", trust)
        assert isinstance(told.exception, kind)
        assert isinstance(told.exception, PulkError)
        done = run("verify", str(cast.scrap(scrap)), "--trust", trust, "--json")
        assert done.exit_code == 1
        assert json.loads(done.stdout)["refusal"]["code"] == kind.code


def test_verify_needs_a_trust_file(work: Path) -> None:
    assert run("verify", str(work)).exit_code == 2
