"""`pulk bundle ls` finds bundles whatever their names, `cat` shows what is in one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.errors import PulkError
from bundle.look.content import is_text
from bundle.look.errors import AmbiguousChunk, BinaryToTerminal, NoJson, PiecesMismatch
from bundle.look.records import KNOWN_KINDS
from bundle.wire import files, thin
from bundle.wire.errors import BadSignature, ChunkMismatch, NoSuchChunk, UnknownKey
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource
from tests.bundle.looking import Carried, carried, run

NOISE = bytes(range(256)) * 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    return carried(tmp_path_factory.mktemp("world"))


@pytest.fixture
def trust(cast: Any, tmp_path: Path) -> Path:
    path = tmp_path / "trust"
    path.write_bytes(cast.trust_bytes)
    return path


@pytest.fixture
def data(cast: Any) -> Path:
    chunks = [
        ChunkSource("data", hashlib.sha256(NOISE).hexdigest(), 0, NOISE),
        ChunkSource("data", "text", 0, b"plain text\n"),
        ChunkSource("later", "a", 1, b"\x81\xa1a\xc4\x02\x00\xff"),
        ChunkSource("later", "b", 1, b"no msgpack"),
    ]
    return cast.pack(chunks, cast.draft(Kind.DATA, producer="central"), cast.central)  # type: ignore[no-any-return]


def listed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    run("ls", *arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_a_stick_with_everything_on_it(
    cast: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], trust: Path
) -> None:
    stick = tmp_path / "stick"
    (stick / "A" / "B").mkdir(parents=True)
    raw = data.read_bytes()
    (stick / "A" / "B" / "F0AE12~1.PUL").write_bytes(raw)
    (stick / "renamed \x1b[31m\n.txt").write_bytes(raw)
    (stick / "cut.pulk").write_bytes(raw[:50])
    (stick / "EMPTY.PULK").write_bytes(b"")
    (stick / "flipped").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    (stick / "photo.jpg").write_bytes(b"\xff\xd8")
    (stick / "link.pulk").symlink_to(data)
    (stick / "loop").symlink_to(stick)
    os.mkfifo(stick / "pipe.pulk")
    thin.write_thin(data, stick / "part", {1})
    found = listed(capsys, stick)
    states = {row["path"]: row["state"] for row in found["bundles"]}
    assert states == {
        "A/B/F0AE12~1.PUL": "whole",
        "EMPTY.PULK": "damaged",
        "cut.pulk": "damaged",
        "flipped": "whole",
        "part": "part",
        "renamed \x1b[31m\n.txt": "whole",
    }
    assert found["other_files"] == 1
    assert len(found["passed_over"]) == 3
    assert run("ls", stick) == 0
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert run("ls", stick, "--read", "--json") == 1
    read = json.loads(capsys.readouterr().out)
    states = {row["path"]: row["state"] for row in read["bundles"]}
    assert states["flipped"] == "damaged"
    assert states["A/B/F0AE12~1.PUL"] == "whole"


def test_ls_of_a_folder_judges_signatures_where_there_is_trust(
    cast: Any, data: Path, trust: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = cast.pack((), cast.draft(Kind.WORK), cast.stranger)
    assert run("ls", cast.folder, "--trust", trust, "--json") == 1
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)["bundles"]}
    assert rows[data.name]["signed_by"] == "central"
    assert rows[forged.name]["state"] == "refused"
    assert rows[forged.name]["refusal"]["code"] == UnknownKey.code


def test_ls_of_a_bundle_names_every_chunk(
    data: Path, capsys: pytest.CaptureFixture[str], trust: Path
) -> None:
    part = data.with_name("part")
    thin.write_thin(data, part, {0, 2})
    found = listed(capsys, part, "--trust", trust)
    assert [row["place"] for row in found["chunks"]] == [0, 1, 2, 3]
    assert [row["codec"] for row in found["chunks"]] == ["zstd", "absent", "stored", "absent"]
    raw = bytearray(data.read_bytes())
    raw[-1] ^= 1
    part.write_bytes(raw)
    assert run("ls", part, "--read") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["whole", "whole", "whole", "damaged"]


def cat(capsysbinary: pytest.CaptureFixture[bytes], *arguments: object) -> bytes:
    assert run("cat", *arguments) == 0
    return capsysbinary.readouterr().out


def test_records_are_shown_as_json(
    world: Carried, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    lease = json.loads(cat(capsysbinary, world.work, "1"))
    assert lease["tasks"] == 6
    assert lease["blocks"] == [{"generation": 0, "jobs": [[0, 3]], "steps": [0, 1]}]
    document = json.loads(cat(capsysbinary, world.work, "dataset"))
    assert document["steps"][1]["inputs"] == [{"step": 0, "output": 0, "name": "g"}]
    assert document["steps"][0]["run"] == {"argv": ["/bin/true"]}
    work = json.loads(cat(capsysbinary, world.result, "work-manifest"))
    assert (work["kind"], work["audience"]) == ("work", "north")
    assert json.loads(cat(capsysbinary, world.report, "report"))["tasks_wanted"] == 100


def test_attempts_come_one_on_a_line_and_say_everything_by_themselves(
    world: Carried, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    shown = cat(capsysbinary, world.result, "segment", "--json")
    rows = json.loads(shown)
    assert len(rows) == len(shown.splitlines()) == 8
    assert sorted(row["fate"] for row in rows) == ["oom"] + ["success"] * 7
    assert {"dataset", "lease", "pilot_run", "host", "job", "outputs"} <= rows[0].keys()


def test_bytes_are_no_json_and_several_chunks_are_one_array(
    world: Carried, data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with pytest.raises(NoJson):
        run("cat", data, "0", "--json")
    assert capsysbinary.readouterr().out == b""
    run("cat", data, "0", "--json", "--out", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == NOISE
    found = json.loads(cat(capsysbinary, world.work, "lease", "--json"))
    assert isinstance(found, (list, dict))


def test_a_file_is_found_by_its_digest_and_names_can_be_cut_short(
    data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    digest = hashlib.sha256(NOISE).hexdigest()
    for given in (digest, digest[:8], "0", f"data:{digest}", f"data:{digest[:5]}"):
        assert cat(capsysbinary, data, given) == NOISE
    assert cat(capsysbinary, data, "data:te") == b"plain text\n"
    to = tmp_path / "out"
    run("cat", data, digest, "--out", to)
    assert to.read_bytes() == NOISE
    assert cat(capsysbinary, data, digest, "--out", "/dev/null") == b""
    assert Path("/dev/null").is_char_device()


def test_what_fits_nothing_or_several_is_refused_with_what_fits(data: Path) -> None:
    with pytest.raises(AmbiguousChunk, match="'data' fits 2 chunks: 0 data:"):
        run("cat", data, "data")
    for given in ("4", "lease", "data:x", "data:", "abcdef12", "\x1b[31m", "9" * 70, ""):
        with pytest.raises(NoSuchChunk):
            run("cat", data, given)


def test_kinds_of_later_versions_are_shown_as_they_can_be(
    data: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert json.loads(cat(capsysbinary, data, "later:a")) == {"a": "00ff"}
    assert cat(capsysbinary, data, "later:b") == b"no msgpack"
    assert cat(capsysbinary, data, "later:a", "--raw") == b"\x81\xa1a\xc4\x02\x00\xff"


def test_without_trust_it_says_that_nothing_vouches(
    data: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cat", data, "data:text")
    assert "nothing vouches for this" in capsys.readouterr().err
    run("cat", data, "data:text", "--trust", trust)
    assert capsys.readouterr().err == ""


def test_nothing_damaged_comes_out(
    cast: Any, data: Path, trust: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    raw = bytearray(data.read_bytes())
    raw[-1] ^= 1
    scrap = cast.scrap(bytes(raw))
    for out in ((), ("--out", tmp_path / "never")):
        with pytest.raises(ChunkMismatch):
            run("cat", scrap, "3", *out)
    assert capsysbinary.readouterr().out == b""
    assert not (tmp_path / "never").exists()
    raw = bytearray(data.read_bytes())
    raw[60] ^= 1
    with pytest.raises(BadSignature):
        run("cat", cast.scrap(bytes(raw)), "3", "--trust", trust)


def test_pieces_are_put_together(
    cast: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr("bundle.wire.files.DATA_CHUNK_BYTES_MAX", 1000)
    monkeypatch.setattr("bundle.wire.entries.DATA_CHUNK_BYTES_MAX", 1000)
    source = tmp_path / "source"
    source.write_bytes(NOISE)
    digest = hashlib.sha256(NOISE).digest()
    draft = cast.draft(Kind.DATA, producer="central")
    path = cast.pack(files.file_sources(digest, source), draft, cast.central)
    assert len(cast.take_apart(path).rows) == 6
    assert cat(capsysbinary, path, digest.hex()) == NOISE
    run("cat", path, digest.hex()[:10], "--out", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == NOISE
    assert cat(capsysbinary, path, "1") == NOISE[1000:2000]
    other = hashlib.sha256(b"other").digest()
    path = cast.pack(files.file_sources(other, source), draft, cast.central)
    with pytest.raises(PiecesMismatch):
        run("cat", path, other.hex(), "--out", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


class Terminal(io.TextIOWrapper):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("raw", [NOISE, b"\x1b[2Jtext", b"caf\xe9", "\u202e".encode()])
def test_data_that_could_steer_a_terminal_is_not_sent_to_one(
    cast: Any, monkeypatch: pytest.MonkeyPatch, raw: bytes
) -> None:
    path = cast.pack([ChunkSource("data", "d", 0, raw), ChunkSource("data", "t", 0, b"text\n")])
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(screen, encoding="utf-8"))
    with pytest.raises(BinaryToTerminal):
        run("cat", path, "0")
    assert screen.getvalue() == b""
    run("cat", path, "1")
    sys.stdout.flush()
    assert screen.getvalue() == b"text\n"


def test_text_is_what_a_terminal_shows_as_it_is() -> None:
    assert is_text("gr\u00fcn\n\t".encode())
    assert not is_text(b"\r")


def test_a_document_with_files_and_hostile_texts_is_plain_json(
    cast: Any, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    dataset = Dataset(
        name="\x1b[31m\n",
        jobs=1,
        seed=0,
        steps=(Step("s", Command(("sh", "\x00")), environment=(("A", "\u202e"),)),),
        files=(("f", b"#!/bin/sh\n"), ("g", b"\xff\x00")),
    )
    path = cast.pack([ChunkSource("dataset", "x", 1, spec.encode(dataset))])
    shown = cat(capsysbinary, path, "dataset")
    assert all(byte >= 32 or byte == 10 for byte in shown)
    found = json.loads(shown)
    assert found["files"] == {"f": {"text": "#!/bin/sh\n"}, "g": {"hex": "ff00"}}
    assert found["steps"][0]["environment"] == {"A": "\u202e"}


RUBBISH = (b"", b"\xc1", b"\x80", b"\x90", b"rubbish", b"\x81\xa4jobs\xff", b"\xdf\xff\xff\xff\xff")
KINDS = sorted(KNOWN_KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", RUBBISH)
def test_malformed_records_are_refused_and_never_a_traceback(
    cast: Any, kind: str, raw: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cast.pack([ChunkSource(kind, "x", 1, raw)])
    try:
        run("cat", path, kind)
    except PulkError as error:
        assert error.text()
    run("inspect", path, "--json")
    assert run("query", path, "select * from problems") in (0, 1)
