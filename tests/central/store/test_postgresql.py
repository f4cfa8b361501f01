"""PostgreSQL: servers that die, answers that are lost, others who are in the way, settings."""

from __future__ import annotations

import logging
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from central.errors import BackupRefused, DatabaseBusy, DatabaseTrouble, NotDurable, StoreRefused
from central.store.postgresql import PostgresqlStore, connection
from central.store.postgresql.address import Address, of_file, of_url
from central.store.retrying import in_transaction
from central.store.rows import BlockRow, TokenRow
from central.store.sqlite import SqliteStore
from central.store.statements import statements
from tests.central.store import processes
from tests.central.store.conftest import Engine
from tests.central.store.cutting import Door
from tests.central.store.test_sqlite import FILES
from tests.testbed import postgresql as testbed
from tests.testbed.postgresql import Server

pytestmark = pytest.mark.programs
ROUNDS = 4

# Writes two blocks in each transaction until it is told to stop, and says what it was told.
WRITER = """
import sys, threading
from central.errors import DatabaseTrouble
from central.store.rows import BlockRow
stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
at = 0
print("ready")
while not stopped.is_set():
    at += 1
    try:
        with store.transaction():
            rows = [BlockRow(0, at, b"s", 1, 0), BlockRow(1, at, b"s", 0, 1)]
            store.tasks.save_blocks({dataset}, rows)
    except DatabaseTrouble:
        stopped.wait(0.02)
    else:
        print(at)
"""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own, to be killed."""
    try:
        made = testbed.start()
    except testbed.Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


def backend(store: PostgresqlStore) -> int:
    return int(store._connection.execute("SELECT pg_backend_pid()")[0][0])


def opened(server: Server, name: str = "one") -> PostgresqlStore:
    return PostgresqlStore(Address(server.create(name)))


def test_a_backend_that_is_killed_in_a_transaction_leaves_nothing_of_it(server: Server) -> None:
    store = opened(server)
    with store.transaction():
        store.people.set_meta("name", b"old")
    with pytest.raises(DatabaseTrouble), store.transaction():
        store.people.set_meta("name", b"new")
        server.kill(backend(store))
        store.people.set_meta("other", b"new")
    eventually_reads(store, b"old")
    with store.transaction():
        store.people.set_meta("name", b"newer")
    assert store.people.meta("name") == b"newer"
    store.close()


def test_a_lost_connection_in_a_transaction_is_not_made_anew_inside_it(server: Server) -> None:
    store = opened(server)
    with pytest.raises(DatabaseTrouble), store.transaction():
        store.people.set_meta("name", b"half")
        server.psql(f"SELECT pg_terminate_backend({backend(store)})")
        with pytest.raises(DatabaseTrouble):
            store.people.meta("name")
        store.people.set_meta("other", b"half")
    assert store.people.meta("name") is None
    assert store.people.meta("other") is None
    store.close()


def test_a_server_that_is_stopped_and_started_is_found_again(server: Server) -> None:
    store = opened(server)
    for mode in ("fast", "immediate"):
        with store.transaction():
            store.people.set_meta("name", mode.encode())
        server.stop(mode)
        with pytest.raises(DatabaseTrouble):
            store.people.meta("name")
        with pytest.raises(DatabaseTrouble), store.transaction():
            raise AssertionError
        server.start()
        assert store.people.meta("name") == mode.encode()
        assert store.version > 0
    server.stop("immediate")
    server.start()
    with store.transaction():  # the connection is known to be lost only here
        store.people.set_meta("name", b"after")
    assert store.people.meta("name") == b"after"
    store.close()


def test_a_server_stopped_at_once_loses_nothing_that_was_acknowledged(server: Server) -> None:
    url = server.create("one")
    store, draw = PostgresqlStore(Address(url)), random.Random(7)
    kept: dict[int, set[int]] = {}
    for round_ in range(ROUNDS):
        engine = Engine("postgresql", url)
        writer = processes.start(engine, WRITER.format(dataset=round_))
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.2 + 0.2 * draw.random())
        server.stop("immediate")
        server.start()
        time.sleep(0.2)
        out, err = writer.communicate("stop\n", timeout=processes.LIMIT_S)
        assert writer.returncode == 0, err
        kept[round_] = {int(line) for line in out.split()}
    for round_, acknowledged in kept.items():
        found = [(row.step, row.block) for row in store.tasks.every_block(round_)]
        first, second = ({at for step, at in found if step == one} for one in (0, 1))
        assert acknowledged
        assert acknowledged <= first
        assert first == second
    store.close()


def through(door: Door, engine: Engine) -> PostgresqlStore:
    database = engine.place.partition("/pulk_")[2].partition("?")[0]
    store = PostgresqlStore(Address(f"postgresql://pulk@/pulk_{database}?host={door.folder}"))
    engine.opened.append(store)
    return store


def test_a_commit_whose_answer_is_lost_is_looked_up(door: Door, postgresql_engine: Engine) -> None:
    store = through(door, postgresql_engine)
    for number in range(5):
        door.cut = "after"
        with store.transaction():  # no error: it was done
            store.people.set_meta("name", b"%d" % number)
        assert door.cuts == number + 1
        assert store.people.meta("name") == b"%d" % number


def test_a_commit_that_never_arrived_is_trouble(door: Door, postgresql_engine: Engine) -> None:
    store = through(door, postgresql_engine)
    for number in range(5):
        door.cut = "before"
        with pytest.raises(DatabaseTrouble), store.transaction():
            store.people.set_meta("name", b"%d" % number)
        assert store.people.meta("name") is None
    assert door.cuts == 5


def test_two_who_lock_crosswise_both_end_and_both_are_done(
    postgresql_engine: Engine,
) -> None:
    store = postgresql_engine.open()
    with store.transaction():
        for name in ("a", "b"):
            store.people.set_meta(name, b"")
    met, losses = threading.Barrier(2), []

    def crosswise() -> None:
        add = "UPDATE meta SET value = value || 'x' WHERE name = %s"
        with psycopg.connect(postgresql_engine.place) as raw:
            for names in ("ba", "ab"):
                try:
                    with raw.transaction():
                        raw.execute(add, (names[0],))
                        if names == "ba":
                            met.wait(10)
                        raw.execute(add, (names[1],))
                    return
                except psycopg.errors.DeadlockDetected:
                    losses.append("other")

    other = threading.Thread(target=crosswise)
    other.start()
    tries: list[int] = []

    def act() -> None:
        tries.append(1)
        store.people.set_meta("a", b"s")
        if len(tries) == 1:
            met.wait(10)
        store.people.set_meta("b", b"")

    in_transaction(store, act)
    other.join(20)
    assert len(losses) + len(tries) - 1 >= 1  # one of the two lost, and did it again
    assert not other.is_alive()
    assert store.people.meta("a") in (b"s", b"sx")


def test_a_lock_that_is_held_for_long_is_busy(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SESSION", "-c lock_timeout=100ms")
    store = postgresql_engine.open()
    with psycopg.connect(postgresql_engine.place) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (connection.LOCK,))
        with pytest.raises(DatabaseBusy), store.transaction():
            raise AssertionError
    with store.transaction():
        store.people.set_meta("name", b"value")


def test_a_session_waits_for_the_disk_whatever_the_database_prefers(server: Server) -> None:
    url = server.create("one")
    server.psql("ALTER DATABASE one SET synchronous_commit = off")
    store = PostgresqlStore(Address(url))
    assert store._connection.execute("SHOW synchronous_commit") == [("on",)]
    store.close()


def test_a_server_that_forgets_is_refused(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    url = server.create("one")
    for setting in ("full_page_writes", "fsync"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        wait_for(lambda name=setting: server.psql(f"SHOW {name}") == "off")
        if setting == "fsync":
            with pytest.raises(NotDurable) as caught:
                PostgresqlStore(Address(url))
            assert caught.value.fields["setting"] == "fsync"
        else:
            with caplog.at_level(logging.WARNING):
                PostgresqlStore(Address(url)).close()
            assert [record.__dict__["setting"] for record in caplog.records] == [setting]


def test_a_database_of_another_encoding_is_refused(server: Server) -> None:
    server.psql("CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreRefused, match="LATIN1"):
        PostgresqlStore(Address(server.url("old")))


def test_many_may_open_an_empty_database_at_once(server: Server) -> None:
    engine = Engine("postgresql", server.create("one"))
    code = "with store.transaction():\n    store.bundles.tally('opened')\n"
    running = [processes.start(engine, code) for _ in range(5)]
    for one in running:
        _, err = one.communicate(timeout=processes.LIMIT_S)
        assert one.returncode == 0, err
    assert engine.open().bundles.tallies() == {"opened": 5}
    engine.opened[0].close()


def test_every_statement_by_name_is_one_that_postgresql_can_plan(postgresql_engine: Engine) -> None:
    store = postgresql_engine.open()
    assert isinstance(store, PostgresqlStore)
    for file in FILES:
        for one in statements(file).values():
            text = store._connection._text(one)
            values = [None] * text.count("%b")
            assert store._connection.execute(f"EXPLAIN {text}", values), one.name


def test_blocks_take_one_query_however_many(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = postgresql_engine.open()
    assert isinstance(store, PostgresqlStore)
    raw = store._connection._live()
    asked, real = [], raw.execute
    monkeypatch.setattr(raw, "execute", lambda *a, **k: asked.append(a[0]) or real(*a, **k))
    for keys in (1, 10_000):
        store.tasks.blocks(1, [(0, at) for at in range(keys)])
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(0, at, b"s", 0, 0) for at in range(1000)])
    assert len(asked) == 2 + 5  # begin, version, blocks, version, commit


def test_both_engines_have_the_same_tables_and_columns(
    postgresql_engine: Engine, sqlite_engine: Engine
) -> None:
    postgresql, sqlite = postgresql_engine.open(), sqlite_engine.open()
    assert isinstance(postgresql, PostgresqlStore)
    assert isinstance(sqlite, SqliteStore)
    rows = postgresql._connection.execute(
        "SELECT table_name::text, column_name::text, data_type::text"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    )
    kinds = {"bigint": "INTEGER", "boolean": "INTEGER", "text": "TEXT", "bytea": "BLOB"}
    found = {(table, column, kinds[kind]) for table, column, kind in rows if table != "revision"}
    expected = set()
    for table in sqlite.database.table_names():
        for row in sqlite.database.execute(f"PRAGMA table_xinfo('{table}')"):
            expected.add((table, row[1], row[2]))
    assert found == expected
    assert len(found) > 100


def test_a_dump_is_restored_whole(
    postgresql: Server, postgresql_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = postgresql_engine.open()
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(0, at, b"\0s" * at, 1, 0) for at in range(99)])
        store.people.add_token(TokenRow(0, b"digest", "name", 1, ""))
    target = tmp_path / "copy.dump"
    monkeypatch.setenv("PATH", f"{postgresql.programs}:/usr/bin:/bin")
    store.backup(target)
    with pytest.raises(FileExistsError):
        store.backup(target)
    assert target.stat().st_mode & 0o077 == 0
    url = postgresql.create("pulk_restored")
    restore = [postgresql.programs / "pg_restore", "--no-owner", "--dbname", url, target]
    subprocess.run(restore, check=True, timeout=60)
    copy = PostgresqlStore(Address(url))
    assert list(copy.tasks.every_block(1)) == list(store.tasks.every_block(1))
    with copy.transaction():
        # numbers go on where they were
        copy.people.add_token(TokenRow(0, b"another", "name", 1, ""))
    assert [one.no for one in copy.people.tokens()] == [1, 2]
    copy.close()
    postgresql.drop("pulk_restored")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupRefused, match="pg_dump"):
        store.backup(tmp_path / "second.dump")
    assert not (tmp_path / "second.dump").exists()


def test_a_dump_that_fails_leaves_no_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(server)
    monkeypatch.setenv("PATH", f"{server.programs}:/usr/bin:/bin")
    server.stop("immediate")
    with pytest.raises(BackupRefused):
        store.backup(tmp_path / "copy.dump")
    assert list(tmp_path.iterdir()) == []
    store.close()


def test_a_password_is_shown_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("postgresql://pulk:secret@host:5433/pulk\n")
    path.chmod(0o600)
    address = of_file(path)
    assert address.shown == "postgresql://host:5433/pulk"
    assert "secret" not in repr(address)
    assert address.environment()["PGPASSWORD"] == "secret"
    path.chmod(0o640)
    with pytest.raises(StoreRefused) as caught:
        of_file(path)
    assert "640" in caught.value.text()
    with pytest.raises(StoreRefused) as caught:
        of_url("postgresql://pulk:secret@host/pulk", "central.toml")
    assert "secret" not in caught.value.text()
    assert of_url("postgresql://pulk@host/pulk", "central.toml").shown == "postgresql://host/pulk"


def test_a_server_that_is_not_there_is_trouble_that_names_no_password(tmp_path: Path) -> None:
    with pytest.raises(DatabaseTrouble) as caught:
        PostgresqlStore(Address(f"postgresql://pulk:secret@/pulk?host={tmp_path}"))
    assert "secret" not in f"{caught.value} {caught.value.text()} {caught.value.fields}"


def eventually_reads(store: PostgresqlStore, value: bytes) -> None:
    """Ask while the server recovers, and once it has."""
    for _ in range(100):
        try:
            assert store.people.meta("name") == value
            return
        except DatabaseTrouble:
            time.sleep(0.1)
    raise AssertionError("the server did not come back")


def wait_for(condition: object) -> None:
    for _ in range(100):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")
