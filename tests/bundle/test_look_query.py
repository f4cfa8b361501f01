"""`pulk bundle query` opens records as tables, for reading only."""

from __future__ import annotations

import builtins
import csv
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.look.errors import NoSqliteUtils, QueryRefused
from bundle.look.schema import SCHEMA
from bundle.records import telemetry
from bundle.records.telemetry import Sample
from bundle.wire import thin
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource
from tests.bundle.looking import Carried, carried, run
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    return carried(tmp_path_factory.mktemp("world"))


def ask(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    assert run("query", *arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_a_whole_stick_is_one_database(world: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    stick = world.site.folder
    rows = ask(
        capsys,
        stick,
        world.work,
        "select b.kind, count(*) as n from bundles b group by kind order by kind",
    )
    assert rows == [
        {"kind": "report", "n": 2},
        {"kind": "result", "n": 1},
        {"kind": "work", "n": 1},
    ]
    [row] = ask(capsys, stick, "select count(*) n, sum(outputs) o, sum(wall_ms) w from attempts")
    assert row == {"n": 8, "o": 7, "w": 8000}
    [row] = ask(capsys, stick, "select fate, host from attempts where fate != 'success'")
    assert row == {"fate": "oom", "host": "node1"}


def test_every_table_answers_and_the_loop_fills_those_it_should(
    world: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (world.site.folder, world.work, world.answer)
    counts = {name: ask(capsys, *files, _count(name))[0]["n"] for name in SCHEMA}
    filled = {
        "attempts": 8, "outputs": 7, "consumed": 6, "segments": 2, "leases": 2, "lease_blocks": 3,
        "datasets": 1, "steps": 3, "works": 1, "reports": 2, "report_held": 1, "files": 1,
        "receipts": 4, "received": 2, "problems": 0, "bundles": 5, "copies": 5, "signatures": 5,
    }  # fmt: skip
    assert {name: counts[name] for name in filled} == filled


def _count(table: str) -> str:
    return f"select count(*) n from {table}"  # noqa: S608


def test_outputs_join_with_attempts_by_key(
    world: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ask(
        capsys,
        world.result,
        "select a.job, o.sha256 from attempts a join outputs o"
        " using (bundle, dataset, job, step, generation, lease, pilot_run, local)"
        " join files f on f.sha256 = o.sha256",
    )
    assert len(rows) == 1


def test_copies_and_parts_of_a_bundle_count_once(
    world: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "a").write_bytes(world.result.read_bytes())
    (stick / "b").write_bytes(world.result.read_bytes())
    assert ask(capsys, stick, "select count(*) n from attempts") == [{"n": 8}]
    (stick / "a").unlink()
    (stick / "b").unlink()
    thin.write_thin(world.result, stick / "a", {4})
    assert ask(capsys, stick, "select count(*) n from attempts") == [{"n": 7}]
    thin.write_thin(world.result, stick / "b", {5, 6})
    assert ask(capsys, stick, "select count(*) n from attempts") == [{"n": 8}]
    [row] = ask(capsys, stick, "select present, chunks from bundles")
    assert row == {"present": 3, "chunks": 7}


def test_a_segment_in_two_bundles_counts_once(
    world: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    site = world.site
    held = next(iter(site.works.values()))
    played = site.play(held, held.leases[0])
    a, b = site.result([played]), site.result([played])
    assert ask(capsys, a, b, "select count(*) n from attempts") == [{"n": 6}]
    assert ask(capsys, a, b, "select count(*) n from chunks where kind = 'segment'") == [{"n": 2}]


def test_numbers_beyond_sqlite_are_rounded(cast: Any, capsys: pytest.CaptureFixture[str]) -> None:
    raw = telemetry.encode((Sample(2**64 - 1, 2**63 - 1, 0, 0, 0),))
    draft = cast.draft(Kind.TELEMETRY)
    path = cast.pack([ChunkSource("telemetry", "\x1b[2J\n", 1, raw)], draft)
    [row] = ask(capsys, path, "select at_us, cpu_milli, segment from telemetry")
    assert row == {"at_us": float(2**64 - 1), "cpu_milli": 2**63 - 1, "segment": "\x1b[2J\n"}
    run("query", path, "select segment from telemetry")
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    "sql",
    [
        "attach database ':memory:' as x",
        "attach database '/tmp/pulk-query-never' as x",
        "create table x (y)",
        "create temp table x (y)",
        "insert into bundles (id) values (1)",
        "update attempts set fate = 'success'",
        "delete from attempts",
        "drop table attempts",
        "pragma query_only = off",
        "pragma writable_schema = on",
        "pragma journal_mode",
        "select load_extension('x')",
        "select fts3_tokenizer('simple')",
        "select writefile('/tmp/pulk-query-never', 'x')",
        "vacuum into '/tmp/pulk-query-never'",
        "select length(zeroblob(500000000))",
        "vacuum into '/tmp/pulk-query-never'",
        "begin",
        "create virtual table x using fts5(y)",
        "select 1; select 2",
        "select nothing from nowhere",
        "no sql at all",
        "",
        "-- only words",
        "select \x00",
        "select '\ud800'",
    ],
)
def test_only_one_statement_that_reads_is_run(world: Carried, sql: str) -> None:
    with pytest.raises(QueryRefused):
        run("query", world.result, sql)
    assert not Path("/tmp/pulk-query-never").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5)"
        " select * from n",
        "select value from leases, json_each(leases.needs)",
        "pragma table_info(attempts)",
        "select name from pragma_table_info('attempts')",
        "select name from sqlite_master",
        "values (1, 2)",
        "explain query plan select * from attempts",
        "select group_concat(distinct fate) from attempts",
    ],
)
def test_everything_that_reads_is_allowed(
    world: Carried, sql: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, world.result, sql)


def test_answers_as_csv_and_as_a_table(world: Carried, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select fate, count(*) as n from attempts group by fate order by n"
    assert run("query", "--csv", world.result, sql) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["fate", "n"],
        ["oom", "1"],
        ["success", "7"],
    ]
    assert run("query", world.result, "--trust", world.trust, sql) == 0
    assert capsys.readouterr().out.splitlines() == ["fate     n", "oom      1", "success  7"]


def test_answers_that_json_has_no_form_for(
    world: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ask(capsys, world.result, "select 1 as a, 2 as a, x'00ff' as b, 9e999 as c")
    assert rows == [{"a": 1, "a_2": 2, "b": "00ff", "c": "inf"}]
    assert ask(capsys, world.result, "select 1 where 0") == []


def test_what_cannot_be_read_is_named_and_the_rest_answers(
    cast: Any, world: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "good").write_bytes(world.result.read_bytes())
    (stick / "cut.pulk").write_bytes(world.result.read_bytes()[:70])
    rubbish = cast.pack([ChunkSource("lease", "x", 1, b"rubbish")])
    (stick / "rubbish").write_bytes(rubbish.read_bytes())
    assert run("query", stick, "select count(*) n from attempts", "--csv") == 1
    shown = capsys.readouterr()
    assert shown.out == "n\n8\n"
    assert shown.err.count("not in the answer: ") == 2
    rows = ask(capsys, stick, "select code, place from problems order by code", code=1)
    assert rows == [{"code": "not-canonical", "place": 0}, {"code": "truncated", "place": None}]


def test_a_damaged_chunk_is_taken_from_another_copy(
    world: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = bytearray(world.result.read_bytes())
    raw[-70] ^= 1  # inside the last body but one or the last
    (tmp_path / "a").write_bytes(raw)
    (tmp_path / "b").write_bytes(world.result.read_bytes())
    rows = ask(capsys, tmp_path / "a", tmp_path / "b", "select count(*) n from attempts", code=1)
    assert rows == [{"n": 8}]


def test_with_trust_what_is_refused_is_left_out(
    cast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = tmp_path / "trust"
    trust.write_bytes(cast.trust_bytes)
    forged = cast.pack((), cast.draft(Kind.WORK), cast.stranger)
    good = cast.pack()
    sql = "select signed_by, verified from bundles"
    rows = ask(capsys, forged, good, sql, "--trust", trust, code=1)
    assert rows == [{"signed_by": "north", "verified": 1}]
    rows = ask(capsys, forged, good, sql)
    assert [row["verified"] for row in rows] == [None, None]


def test_the_schema_names_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("query", "--schema") == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name}: " in f"\n{shown}" for name in SCHEMA)
    assert run("query", "--schema", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["attempts"]["columns"]["fate"] == "str"


@pytest.mark.parametrize("arguments", [(), ("x",), ("x", "select 1", "--json", "--csv")])
def test_too_little_or_too_much_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as usage:
        run("query", *arguments)
    assert usage.value.code == 2


def test_without_sqlite_utils_it_says_what_to_do(
    world: Carried, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "sqlite_utils":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NoSqliteUtils, match="pip install sqlite-utils"):
        run("query", world.result, "select 1")


@pytest.mark.programs
def test_a_query_without_end_is_stopped_by_ctrl_c(world: Carried) -> None:
    sql = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY), "bundle", "query", "--json", str(world.result), sql],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(200):  # until it is at work in SQLite or, on a slow machine, still loading
            time.sleep(0.01)
            if process.poll() is not None:
                break
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in told


def test_a_thousand_attempts_in_one_segment(
    world: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    site = world.site
    held = next(iter(site.works.values()))
    played = site.play(held, held.leases[0])
    one = played.segment.attempts[0]
    many = tuple(replace(one, local=number, evidence=f"try {number}") for number in range(2500))
    path = site.result([replace(played, segment=replace(played.segment, attempts=many))])
    [row] = ask(capsys, path, "select count(*) n, count(distinct evidence) e from attempts")
    assert row == {"n": 2500, "e": 2500}
