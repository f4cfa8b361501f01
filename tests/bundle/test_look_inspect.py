"""`pulk bundle inspect` and `verify` tell a person and a script what a file is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.ids import DatasetId, Epoch
from bundle.intervals import IntervalSet
from bundle.look.errors import NoTrustFile
from bundle.records.edit import Edit
from bundle.records.receipt import StreamReceipt
from bundle.trust import trust_file
from bundle.wire import thin
from bundle.wire.errors import BadMagic
from bundle.wire.manifest import Kind, Rules
from bundle.wire.write import ChunkSource
from tests.bundle.looking import carried, run

HOSTILE = "[red]not\x1b[31mmarkup\nsecond\x00line\u202e"


@pytest.fixture
def trust(cast: Any, tmp_path: Path) -> Path:
    path = tmp_path / "trust"
    path.write_bytes(cast.trust_bytes)
    return path


@pytest.fixture
def work(cast: Any) -> Path:
    receipt = StreamReceipt(
        b"r" * 16,
        merged=IntervalSet(((0, 4),)),
        safe=IntervalSet(((0, 3),)),
        refused=((4, "bomb\x1b[0m"),),
    )
    draft = cast.draft(
        Kind.WORK,
        receipts=(receipt,),
        rules=Rules("none", 100_000),
        lifetime_ms=3_600_000,
        tombstones=("a" * 26,),
        edits=(Edit(DatasetId("b" * 26), b"e" * 32, Epoch(1, b"n" * 16), 41),),
        trust=trust_file.encode_chain([cast.trust_bytes]),
        previous=b"p" * 32,
    )
    chunks = [
        ChunkSource("lease", HOSTILE, 5, b"lease " * 100),
        ChunkSource("data", "d", 0, b"x" * 3000),
    ]
    return cast.pack(chunks, draft)  # type: ignore[no-any-return]


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_without_trust_nothing_is_claimed_to_be_verified(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", work) == 0
    shown = capsys.readouterr().out
    assert "not looked at (no --trust)" in shown
    assert "claims to" in shown
    assert "would" not in shown


def test_hostile_names_cannot_steer_the_terminal(
    work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (("inspect", work), ("inspect", work, "--trust", trust), ("ls", work)):
        run(*arguments)
        shown = capsys.readouterr().out
        assert "[red]not" in shown
        assert all(line.isprintable() for line in shown.splitlines())


def test_json_is_one_document_with_every_fact(
    work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", work, "--json", "--trust", trust) == 0
    found = told(capsys)
    assert (found["verified"], found["signed_by"]) == (True, "central")
    assert found["receipts"][0]["merged"] == [[0, 4]]
    assert found["receipts"][0]["words"].startswith("merged 0-3; safe 0-2; refused 4 (bomb")
    assert found["chunks"][0]["records"] == 5
    assert found["chunks"][0]["codec"] == "zstd"
    assert found["totals"]["files"] == 1
    assert found["totals"]["file_bytes"] == 3000
    assert found["trust_versions"] == [1]
    (edit,) = found["edits"]
    assert (edit["dataset"], edit["epoch"], edit["commit"]) == ("b" * 26, 1, 41)
    assert found["previous"] == (b"p" * 32).hex()
    assert found["file_bytes"] == work.stat().st_size
    assert len(found["id"]) == 64


def test_the_effect_is_told_in_words(
    work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("inspect", work, "--json", "--trust", trust)
    effect = told(capsys)["effect"]
    assert effect["mood"] == "would"
    assert effect["phrases"] == [
        "hold site north to its rules: no network, at most 100 node hours",
        "bring 1 file (2.9 KiB)",
        "acknowledge bundle 3 as merged",
        "acknowledge bundles 0-2 as safe",
        "tell that 1 bundle were refused",
        "declare 1 dataset gone",
        "put 1 edited document in force",
        "bring trust version 1",
    ]


def test_what_a_real_round_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = carried(tmp_path)

    def phrases(path: Path) -> str:
        assert run("inspect", path, "--json", "--trust", world.trust) == 0
        return "; ".join(told(capsys)["effect"]["phrases"])

    assert phrases(world.report).startswith("tell that north wants 100 tasks, has 4 slots and")
    assert "offer 2 shards with 7 tasks of dataset chain (" in phrases(world.work)
    assert phrases(world.result).startswith("report 8 attempts of 2 leases: 7 success, 1 oom; ")
    assert "bring 1 file (64 B)" in phrases(world.result)
    assert "acknowledge bundles 0-2 as safe" in phrases(world.answer)


def test_signatures_say_whose_they_are_only_with_trust(
    cast: Any, work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("inspect", work, "--json")
    assert told(capsys)["signatures"][0]["verifies"] is None
    run("inspect", work, "--json", "--trust", trust)
    [one] = told(capsys)["signatures"]
    assert (one["key"], one["verifies"]) == (cast.central.public.hex(), True)
    assert one["holder"] == "central key of trust version 1"
    run("inspect", cast.pack(), "--json", "--trust", trust)
    assert told(capsys)["signatures"][0]["holder"] == "site north"


def test_a_stranger_beside_the_right_signer_is_named_as_unknown(
    cast: Any, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = cast.take_apart(cast.pack())
    both = cast.signatures(
        Kind.RESULT, parts.manifest, (cast.stranger, b""), (cast.site, cast.certificate)
    )
    path = cast.scrap(replace(parts, signatures=both).whole())
    assert run("inspect", path, "--json", "--trust", trust) == 0
    holders = [one["holder"] for one in told(capsys)["signatures"]]
    assert holders == ["unknown to trust version 1", "site north"]


def test_a_bad_bundle_is_shown_and_exits_1(
    cast: Any, work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = work.read_bytes()
    scrap = cast.scrap(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert run("inspect", scrap, "--json", "--trust", trust) == 1
    found = told(capsys)
    assert found["verified"] is False
    assert found["refusal"]["code"] == "chunk-mismatch"
    assert found["effect"]["mood"] == "claims to"
    assert run("inspect", scrap, "--trust", trust) == 1
    assert "NO: chunk-mismatch" in capsys.readouterr().out
    assert run("inspect", scrap) == 0


def test_a_forged_bundle_is_shown_and_exits_1(
    cast: Any, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = cast.pack((), cast.draft(Kind.WORK), cast.stranger)
    assert run("inspect", forged, "--json", "--trust", trust) == 1
    found = told(capsys)
    assert (found["verified"], found["refusal"]["code"]) == (False, "unknown-key")
    assert found["effect"]["mood"] == "claims to"


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello, this is no bundle of any kind at all")
    with pytest.raises(BadMagic):
        run("inspect", path)


def test_absent_chunks_are_named(
    cast: Any, work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = work.with_name("part.pulk")
    thin.write_thin(work, part, {0})
    assert run("inspect", part, "--trust", trust) == 0
    assert "chunks 1 are not in this copy" in capsys.readouterr().out
    run("inspect", part, "--json", "--trust", trust)
    found = told(capsys)
    assert (found["absent"], found["verified"]) == ([1], True)
    assert found["chunks"][1]["codec"] == "absent"
    assert any("1 of them not in this copy" in one for one in found["effect"]["phrases"])


def test_verify_tells_of_each_file_and_exits_1_where_one_is_refused(
    cast: Any, work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = cast.pack()
    bad = cast.scrap(work.read_bytes()[:-1])
    assert run("verify", work, good, "--trust", trust) == 0
    assert capsys.readouterr().out.count("verified: ") == 2
    assert run("verify", work, "--trust", trust, bad, good) == 1
    shown = capsys.readouterr()
    assert shown.out.count("verified: ") == 2
    assert shown.err.startswith(f"refused: {bad}: truncated: ")
    assert run("verify", work, bad, "--trust", trust, "--json") == 1
    found = told(capsys)
    assert found["verified"] is False
    assert [one["verified"] for one in found["files"]] == [True, False]
    assert found["files"][1]["refusal"]["code"] == "truncated"


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda raw: raw[:-1], "truncated"),
        (lambda raw: raw + b"x", "trailing-bytes"),
        (lambda raw: raw[:60] + bytes([raw[60] ^ 1]) + raw[61:], "bad-signature"),
        (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "chunk-mismatch"),
        (lambda raw: raw[:0], "bad-magic"),
    ],
)
def test_verify_refuses_what_is_cut_altered_or_empty(
    cast: Any, work: Path, trust: Path, capsys: pytest.CaptureFixture[str], damage: Any, code: str
) -> None:
    scrap = cast.scrap(damage(work.read_bytes()))
    assert run("verify", scrap, "--trust", trust, "--json") == 1
    assert told(capsys)["files"][0]["refusal"]["code"] == code


def test_a_part_verifies_only_where_that_is_asked_for(
    work: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = work.with_name("part.pulk")
    thin.write_thin(work, part, {1})
    assert run("verify", part, "--trust", trust) == 1
    assert "absent-chunk" in capsys.readouterr().err
    assert run("verify", part, "--trust", trust, "--partial") == 0
    assert "1 of 2 chunks" in capsys.readouterr().out


def test_verify_needs_a_trust_file(work: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as usage:
        run("verify", work)
    assert usage.value.code == 2
    with pytest.raises(NoTrustFile, match="no trust file can be read here"):
        run("verify", work, "--trust", tmp_path / "nowhere")
