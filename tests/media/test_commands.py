"""`pulk bundle export | import | split | join | eject | gaps` from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundle.cli.media import MEMORY
from bundle.media import size
from bundle.wire.manifest import Kind
from tests.media.made import Press

pytestmark = pytest.mark.programs


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `pulk bundle` from the unpacked tree."""
    done = subprocess.run(
        [sys.executable, "-m", "bundle.cli", "bundle", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def bundle(*arguments: object, code: int = 0) -> Any:
    """Run it with --json."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


def test_two_sticks_carry_what_does_not_fit_on_one(press: Press, tmp_path: Path) -> None:
    paths = [press.make(n, chunks=4, chunk_bytes=20_000) for n in range(4)]
    into = tmp_path / "into"
    for number in range(2):
        medium = tmp_path / f"stick-{number}"
        medium.mkdir()
        done = bundle("export", press.goods, medium, "--size", "200kB", "--part-size", "60kB")
        assert bool(done["left"]) == (number < 1)
        bundle("eject", medium)
        came = bundle("import", medium, into, "--trust", press.trust_file)
        assert {row["became"] for row in came["came"]} <= {"landed", "kept", "known"}
    assert {path.stem for path in into.glob("*.pulk")} == {path.stem for path in paths}
    assert (press.goods / MEMORY).exists()


def test_eject_frees_and_says_so(press: Press, stick: Path) -> None:
    path = press.make()
    bundle("export", press.goods, stick)
    done = bundle("eject", stick, "--free", press.goods)
    assert done == {"whole": [path.name], "bad": [], "freed": [path.stem]}
    assert not path.exists()
    (stick / path.name).unlink()
    assert bundle("eject", stick, code=1)["bad"][0]["problem"] == "it is not there"
    error = bundle("eject", press.root, code=1)["error"]
    assert error["code"] == "no-card"


def test_split_and_join(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=4)
    out = tmp_path / "out"
    parts = [row["file"] for row in bundle("split", whole, "--size", "3kB", "--out", out)["parts"]]
    assert len(parts) > 1
    error = bundle("join", "--out", tmp_path / "not", *parts[1:], code=1)["error"]
    assert error["code"] == "incomplete"
    assert not (tmp_path / "not").exists()
    bundle("join", *reversed(parts), "--out", tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == whole.read_bytes()
    error = bundle("split", whole, "--size", "1kB", "--out", out, code=1)["error"]
    assert error["code"] == "part-too-small"


def test_import_ends_with_one_where_something_was_refused(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    (stick / "good").write_bytes(press.make().read_bytes())
    (stick / "notes.txt").write_text("hello")
    bundle("import", stick, tmp_path / "into")
    (stick / "bad.pulk").write_text("hello")
    said = run("import", stick, tmp_path / "into", code=1).stdout
    assert "bad.pulk: refused" in said
    assert "bad-magic" in said
    assert "good: known" in said


def test_gaps_are_told_by_number(press: Press, stick: Path) -> None:
    before, ids = "", []
    for number in range(6):
        path = press.make(number, kind=Kind.WORK, previous=before)
        before = path.stem
        ids.append(path)
    for number in (2, 3):
        ids[number].unlink()
    rival = press.make(4, kind=Kind.WORK, salt=1)
    (found,) = bundle("gaps", press.goods)["streams"]
    assert found["missing"] == [[2, 2]]
    assert [one["sequence"] for one in found["rivals"]] == [4]
    assert rival.stem in found["rivals"][0]["bundles"]
    assert "2-3 have not arrived" in run("gaps", press.goods).stdout


def test_a_medium_that_is_not_there_is_for_later(press: Press, tmp_path: Path) -> None:
    error = bundle("export", press.goods, tmp_path / "unmounted", code=75)["error"]
    assert error["code"] == "medium-failed"
    assert "mounted" in error["what"]


def test_names_can_be_cut_short_where_one_fits(press: Press, tmp_path: Path) -> None:
    paths = [press.make(n) for n in range(2)]
    short = str(paths[0])[: -len(".pulk") - 50]
    assert bundle("inspect", short)["id"] == paths[0].stem
    rows = bundle("verify", "--trust", press.trust_file, *(str(one)[:-30] for one in paths))
    assert [Path(row["path"]) for row in rows["files"]] == paths
    for name in ("abcd1.pulk", "abcd2.pulk"):
        paths[0].with_name(name).write_bytes(paths[0].read_bytes())
    said = run("verify", "--trust", press.trust_file, press.goods / "abcd", code=2).stderr
    assert "fits 2 files" in said
    said = run("query", press.goods / "abcd", "select 1", code=2).stderr
    assert "fits 2 files" in said
    assert bundle("ls", press.goods / "abcde", code=1)["error"]["code"] == "not-a-bundle-file"


def test_the_wrong_folder_or_no_trust_file_changes_nothing(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    path = press.make()
    for words, code in (
        (("export", press.goods, press.goods), "same-folder"),
        (("import", press.goods, press.goods / ".." / "goods"), "same-folder"),
        (("import", press.goods, tmp_path / "into", "--trust", tmp_path / "no"), "no-trust-file"),
    ):
        assert bundle(*words, code=1)["error"]["code"] == code
    bundle("export", press.goods, stick)
    assert bundle("eject", stick, "--free", stick, code=1)["error"]["code"] == "same-folder"
    assert {one.name for one in press.goods.iterdir()} == {path.name, MEMORY}
    assert (stick / path.name).exists()
    assert not (tmp_path / "into").exists()


def test_gaps_rest_on_signed_numbers_alone(press: Press) -> None:
    path = press.make(3)
    raw = path.read_bytes()
    at = raw.index(b"sequence") + len("sequence")
    assert raw[at] == 3
    (press.goods / "flipped.pulk").write_bytes(raw[:at] + bytes([7]) + raw[at + 1 :])
    found = bundle("gaps", press.goods)
    assert found["streams"][0]["came"] == [[3, 1]]
    assert ["bad-signature" in one["reason"] for one in found["unread"]] == [True]


def test_a_folder_whose_name_is_no_text_is_exported(press: Press, stick: Path) -> None:
    path = press.make()
    odd = Path(os.fsdecode(bytes(press.root) + b"/odd\xff\x1b"))
    odd.mkdir()
    path.rename(odd / path.name)
    assert bundle("export", odd, stick)["carried"] == [path.stem]


def test_json_is_one_document_or_an_error_alone(press: Press) -> None:
    path = press.make()
    fails_late = (
        "select abs(x) from (select 1 x union all select -9223372036854775808 order by x desc)"
    )
    assert bundle("query", path, fails_late, code=1)["error"]["code"] == "query-refused"
    assert bundle("query", path, "select kind from bundles") == [{"kind": "data"}]
    assert bundle("query", path, "select 1 where 0") == []


def test_sizes_are_read_as_people_write_them() -> None:
    assert size.parse("700MB") == 700_000_000
    assert size.parse("2GiB") == size.parse("2G") == 2 << 30
    assert size.parse("1.5 KiB") == 1536
    assert size.parse("12") == 12
    for text in ("", "GiB", "-1", "0", "1 furlong", "1e3"):
        with pytest.raises(ValueError, match="no size"):
            size.parse(text)
    assert "argument --size" in run("split", "x", "--size", "1x", "--out", "y", code=2).stderr
