"""SQLite: its gates, and disks that are full, fail, or belong to a network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from central.errors import BadFilesystem, DatabaseBusy, DatabaseTrouble
from central.store.protocol import Store
from central.store.rows import BlockRow
from central.store.sqlite import SqliteStore, filesystem, wal_is_safe
from central.store.sqlite.filesystem import filesystem_kind
from central.store.sqlite.library import sqlite3
from central.store.statements import Statement, statements
from tests.central.store import processes
from tests.central.store.conftest import Engine
from tests.testbed import debian

FILES = ("bundles", "datasets", "leases", "segments", "blocks", "tasks", "people")
TABLES = {"pairs": "wanted_pair", "numbers": "wanted_number", "digests": "wanted_digest"}

# Writes one more block in each transaction and says so once it is committed.
WRITER = """
import os, sys
from central.core.facts import Verdict
from central.errors import DatabaseTrouble
from central.store.rows import BlockRow
if sys.stdin.readline() == "go\\n":
    for at in range(400):
        try:
            with store.transaction():
                rows = [BlockRow(0, at, os.urandom({size}), 1, 0), BlockRow(1, at, b"", 0, 1)]
                store.tasks.save_blocks(1, rows)
        except DatabaseTrouble:
            print("trouble", at)
        else:
            print("kept", at)
"""


def play(process: subprocess.Popen[str]) -> dict[str, set[int]]:
    """Let a writer write; return by word at which blocks it said it."""
    out, err = process.communicate("go\n", timeout=processes.LIMIT_S)
    assert process.returncode == 0, err
    said: dict[str, set[int]] = {"kept": set(), "trouble": set()}
    for line in out.splitlines():
        word, at = line.split()
        said[word].add(int(at))
    return said


def check_whole(store: Store, kept: set[int]) -> None:
    """Both blocks of a transaction or none, all that was acknowledged, and the file in order."""
    found = [(row.step, row.block) for row in store.tasks.every_block(1)]
    assert {at for step, at in found if step == 0} == kept
    assert {at for step, at in found if step == 1} == kept
    assert store.check() == []


def test_wal_is_used_only_where_it_keeps_what_was_committed() -> None:
    safe = {(3, 51, 3), (3, 52, 0), (3, 44, 6), (3, 50, 7)}
    unsafe = {(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2)}
    assert all(wal_is_safe(version) for version in safe)
    assert not any(wal_is_safe(version) for version in unsafe)


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 3)])
def test_a_commit_is_on_the_disk_before_it_returns(
    tmp_path: Path, version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    store = SqliteStore(tmp_path / "pulk.sqlite")
    assert store.database.execute("PRAGMA synchronous").fetchone()[0] == 2
    mode = store.database.execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == ("wal" if wal_is_safe(version) else "delete")
    store.close()


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "pulk.sqlite").close()
    assert (tmp_path / "pulk.sqlite").stat().st_mode & 0o077 == 0


def test_network_filesystems_are_known_by_the_kernels_list_of_mounts() -> None:
    mounts = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 21 0:50 / /home rw - nfs4 server:/home rw\n"
        "31 30 0:51 / /home/with\\040space rw - tmpfs tmpfs rw\n"
    )
    assert filesystem_kind(Path("/var/lib/central"), mounts) == "ext4"
    assert filesystem_kind(Path("/home/me/central"), mounts) == "nfs4"
    assert filesystem_kind(Path("/home/with space/central"), mounts) == "tmpfs"


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs"])
def test_a_network_filesystem_is_refused_before_a_file_is_made(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "filesystem_kind", lambda *_: kind)
    with pytest.raises(BadFilesystem) as caught:
        SqliteStore(tmp_path / "pulk.sqlite")
    assert kind in caught.value.text()
    assert list(tmp_path.iterdir()) == []


def test_every_statement_by_name_is_one_that_sqlite_can_prepare(sqlite_engine: Engine) -> None:
    store = sqlite_engine.open()
    assert isinstance(store, SqliteStore)
    seen = 0
    for file in FILES:
        for one in statements(file).values():
            text = one.filled(_table(one))
            values = [None] * text.count("?")
            assert store.database.execute(f"EXPLAIN {text}", values).fetchall(), one.name
            seen += 1
    assert seen > 70


def test_no_question_scans_a_table_that_grows(sqlite_engine: Engine) -> None:
    store = sqlite_engine.open()
    assert isinstance(store, SqliteStore)
    allowed = {"ids", "kinds", "sites", "datasets", "tallies", "tokens", "users"}
    allowed |= {"persons", "accesses", "submitters"}
    small = {"SCAN w", "SCAN CONSTANT ROW", "SCAN bundle USING INDEX bundle_parked"}
    small.add("SCAN bundle USING INDEX bundle_unsafe")
    small.add("SCAN c USING COVERING INDEX control_tombstone")
    for file in FILES:
        for one in statements(file).values():
            if one.name in allowed or one.kind == "rows":
                continue
            text = store._connection._text(one, _table(one))
            values = [None] * text.count("?")
            plan = store.database.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
            scans = [row[3] for row in plan if row[3].startswith("SCAN") and row[3] not in small]
            assert scans == [], one.name


@pytest.mark.parametrize("keys", [1, 10_000])
def test_blocks_take_one_query_however_many(sqlite_engine: Engine, keys: int) -> None:
    store = sqlite_engine.open()
    assert isinstance(store, SqliteStore)
    said: list[str] = []
    store.database.conn.set_trace_callback(said.append)
    store.tasks.blocks(1, [(0, at) for at in range(keys)])
    store.database.conn.set_trace_callback(None)
    assert len([one for one in said if "FROM wanted_pair" in one and "SELECT" in one]) == 1


def test_a_database_that_another_holds_is_busy_and_free_again(sqlite_engine: Engine) -> None:
    store = sqlite_engine.open()
    assert isinstance(store, SqliteStore)
    store.database.execute("PRAGMA busy_timeout=20")
    other = sqlite3.connect(sqlite_engine.place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusy), store.transaction():
        raise AssertionError
    other.execute("ROLLBACK")
    other.execute("BEGIN")
    other.execute("SELECT * FROM bundle").fetchall()  # a reader keeps a commit out of a journal
    if not wal_is_safe(sqlite3.sqlite_version_info):
        with pytest.raises(DatabaseBusy), store.transaction():
            store.people.set_meta("name", b"value")
    other.close()
    assert store.people.meta("name") is None
    with store.transaction():
        store.people.set_meta("name", b"value")
    assert store.people.meta("name") == b"value"


def test_a_copy_is_whole_while_others_write(sqlite_engine: Engine, tmp_path: Path) -> None:
    store, other = sqlite_engine.open(), sqlite_engine.open()
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(0, at, b"s" * 999, 1, 0) for at in range(999)])
    target = tmp_path / "copy.sqlite"
    paused: list[int] = []

    def pause() -> None:
        paused.append(1)
        with store.transaction():  # goes into the copy too
            store.people.set_meta("meanwhile", b"%d" % len(paused))

    store.backup(target, pause)
    assert paused
    with other.transaction():
        other.tasks.save_blocks(1, [BlockRow(0, 0, b"later", 0, 0)])
    copy = SqliteStore(target, read_only=True)
    assert len(list(copy.tasks.every_block(1))) == 999
    assert copy.tasks.blocks(1, [(0, 0)]) == {(0, 0): b"s" * 999}
    assert copy.check() == []
    copy.close()
    assert target.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        store.backup(target)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one mebibyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.programs
def test_a_full_disk_acknowledges_nothing_and_takes_more_once_there_is_space(
    small_disk: Path,
) -> None:
    engine = Engine("sqlite", str(small_disk / "pulk.sqlite"))
    engine.open().close()
    said = play(processes.start(engine, WRITER.format(size=20_000)))
    assert said["kept"]
    assert said["trouble"]
    store = engine.open()
    check_whole(store, said["kept"])
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(2, 0, b"s" * 60_000, 0, 0) for _ in (0,)])
    assert store.check() == []
    store.close()


@pytest.mark.programs
@pytest.mark.parametrize("call", ["fsync", "fdatasync", "pwrite64", "unlink", "ftruncate"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_disk_that_fails_acknowledges_nothing(
    sqlite_engine: Engine, tmp_path: Path, call: str, error: str
) -> None:
    """Every third such call of the writer fails; SQLite names the rest."""
    if shutil.which("strace") is None:
        why = debian.install(["strace"])
        if why:
            pytest.skip(f"strace is not here: {why}")
    sqlite_engine.open().close()
    under = ("strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}",
             "-e", f"inject={call}:error={error}:when=40+3")  # fmt: skip
    process = processes.start(sqlite_engine, WRITER.format(size=500), under=under)
    said = play(process)
    syncs = "fdatasync" if sqlite3.__name__ == "sqlite3" else "fsync"  # how each was built
    if call in ("fdatasync", "fsync", "pwrite64"):
        assert "INJECTED" in (tmp_path / "trace").read_text() or call != syncs
    store = sqlite_engine.open()
    found = {row.block for row in store.tasks.every_block(1)}
    assert said["kept"] <= found
    check_whole(store, found)
    # what was not acknowledged may be there only where the failure came after the commit
    late = found - said["kept"]
    assert late <= said["trouble"]


def test_trouble_is_transient_and_says_what_sqlite_said(tmp_path: Path) -> None:
    path = tmp_path / "pulk.sqlite"
    SqliteStore(path).close()
    store = SqliteStore(path, read_only=True)
    with pytest.raises(DatabaseTrouble) as caught, store.transaction():
        store.people.set_meta("name", b"value")
    store.close()
    assert caught.value.transient
    assert "readonly" in caught.value.text()


def _table(one: Statement) -> str:
    if one.kind == "rows":
        return f"VALUES ({', '.join('?' * len(one.types))})"
    return f"{TABLES[one.kind]} AS w" if one.kind else ""
