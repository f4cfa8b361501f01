"""Transactions: all or nothing, one writer at a time, seen by others only when committed."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from bundle.errors import PulkError
from central.errors import DatabaseBusy, WrongSchema
from central.store.protocol import Store
from central.store.retrying import TIMES, in_transaction
from central.store.rows import BlockRow
from tests.central.store import made, processes
from tests.central.store.conftest import Engine

ADD_ONE = """
for _ in range(25):
    with store.transaction():
        count = int(store.people.meta("count") or b"0")
        store.people.set_meta("count", b"%d" % (count + 1))
"""


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(0, 0, b"old", 1, 0)])
    before = store.version
    with pytest.raises(PulkError), store.transaction():
        store.people.set_meta("name", b"value")
        store.tasks.save_blocks(1, [BlockRow(0, 0, b"new", 0, 0), BlockRow(0, 1, b"new", 0, 0)])
        store.segments.add([made.segment(1, 1)])
        raise PulkError
    assert store.people.meta("name") is None
    assert store.tasks.blocks(1, [(0, 0), (0, 1)]) == {(0, 0): b"old"}
    assert store.segments.known([made.sha("segment", 1)]) == set()
    assert store.version == before
    with store.transaction():
        store.people.set_meta("name", b"value")
    assert store.people.meta("name") == b"value"


def test_what_is_written_is_read_inside_the_transaction(store: Store) -> None:
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(0, 0, b"s", 1, 0)])
        assert store.tasks.blocks(1, [(0, 0)]) == {(0, 0): b"s"}
        assert [row.block for row in store.tasks.every_block(1)] == [0]


def test_nothing_is_changed_outside_a_transaction(store: Store) -> None:
    row = made.bundle(1)
    for act in (
        lambda: store.people.set_meta("name", b"value"),
        lambda: store.bundles.add_bundle(row),
        lambda: store.tasks.save_blocks(1, [BlockRow(0, 0, b"", 0, 0)]),
        lambda: store.tasks.drop_rows(1, [(0, 0)]),
    ):
        with pytest.raises(RuntimeError):
            act()
    assert store.people.meta("name") is None
    assert store.bundles.bundle(row.id) is None


def test_a_transaction_holds_no_other(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction(), store.transaction():
        raise AssertionError
    with store.transaction():
        store.people.set_meta("name", b"value")


def test_every_commit_raises_the_version_of_all_who_look(engine: Engine) -> None:
    one, other = engine.open(), engine.open()
    seen = [(one.version, other.version)]
    for writer in (one, other, one):
        with writer.transaction():
            writer.people.set_meta("name", b"%d" % len(seen))
        seen.append((one.version, other.version))
        assert one.people.meta("name") == other.people.meta("name")
    for before, after in pairwise(seen):
        assert before[0] < after[0]
        assert before[1] < after[1]
    assert (one.version, other.version) == seen[-1]


def test_others_see_a_change_only_once_it_is_committed(engine: Engine) -> None:
    writer, reader = engine.open(), engine.open()
    with writer.transaction():
        writer.people.set_meta("name", b"value")
        assert reader.people.meta("name") is None
    assert reader.people.meta("name") == b"value"


def test_a_read_only_store_reads_and_refuses_to_write(engine: Engine) -> None:
    with pytest.raises(PulkError), engine.open(read_only=True).transaction():
        raise AssertionError  # nobody made it yet, or it takes no writes
    writer = engine.open()
    with writer.transaction():
        writer.people.set_meta("name", b"value")
    reader = engine.open(read_only=True)
    assert reader.people.meta("name") == b"value"
    assert reader.tasks.blocks(1, [(0, 0)]) == {}
    with pytest.raises(PulkError), reader.transaction():
        reader.people.set_meta("name", b"other")
    assert writer.people.meta("name") == b"value"


@pytest.mark.programs
def test_counting_in_four_processes_loses_no_step(engine: Engine) -> None:
    store = engine.open()
    running = [processes.start(engine, ADD_ONE) for _ in range(4)]
    for process in running:
        _, err = process.communicate(timeout=processes.LIMIT_S)
        assert process.returncode == 0, err
    assert store.people.meta("count") == b"100"


@pytest.mark.programs
def test_a_killed_process_leaves_what_it_committed_and_nothing_else(engine: Engine) -> None:
    done = processes.run(
        engine,
        "import os\n"
        "with store.transaction():\n"
        "    store.people.set_meta('kept', b'1')\n"
        "with store.transaction():\n"
        "    store.people.set_meta('lost', b'1')\n"
        "    os.kill(os.getpid(), 9)\n",
    )
    assert done.returncode == -9, done.stderr
    store = engine.open()
    with store.transaction():
        assert (store.people.meta("kept"), store.people.meta("lost")) == (b"1", None)


@pytest.mark.programs
def test_a_writer_that_is_in_the_way_is_waited_for(engine: Engine) -> None:
    store = engine.open()
    other = processes.start(
        engine,
        "with store.transaction():\n"
        "    store.people.set_meta('name', b'first')\n"
        "    print('inside')\n"
        "    input()\n",
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "inside\n"
    timer = threading.Timer(0.5, other.communicate, ["\n"])
    timer.start()
    with store.transaction():
        assert store.people.meta("name") == b"first"
        store.people.set_meta("name", b"second")
    timer.join()
    assert other.returncode == 0
    assert store.people.meta("name") == b"second"


def test_a_snapshot_shows_one_moment_and_changes_nothing(engine: Engine) -> None:
    writer = engine.open()
    with writer.transaction():
        writer.people.set_meta("name", b"old")
        writer.tasks.save_blocks(1, [BlockRow(0, 0, b"old", 0, 0)])
    reader = engine.open(read_only=True)
    with reader.snapshot():
        assert reader.people.meta("name") == b"old"
        seen = reader.version
        if engine.name == "postgresql":  # SQLite's rollback journal lets nobody commit meanwhile
            with writer.transaction():
                writer.people.set_meta("name", b"new")
        assert reader.people.meta("name") == b"old"
        assert reader.tasks.blocks(1, [(0, 0)]) == {(0, 0): b"old"}
        assert reader.version == seen
        with pytest.raises(RuntimeError):
            reader.people.set_meta("name", b"mine")
        with pytest.raises(RuntimeError), reader.snapshot():
            raise AssertionError
    with writer.transaction():
        writer.people.set_meta("name", b"newest")
    assert reader.people.meta("name") == b"newest"
    assert reader.version > seen
    with writer.snapshot(), pytest.raises(RuntimeError), writer.transaction():
        raise AssertionError


def test_a_transaction_that_loses_is_begun_again(store: Store) -> None:
    tries: list[int] = []

    def act() -> str:
        tries.append(len(tries))
        store.people.set_meta(f"try {len(tries)}", b"")
        if len(tries) < TIMES:
            raise DatabaseBusy(reason="a deadlock")
        return "done"

    assert in_transaction(store, act) == "done"
    assert [store.people.meta(f"try {n}") for n in (1, 2, 3)] == [None, None, b""]
    tries.clear()
    with pytest.raises(DatabaseBusy):
        in_transaction(store, act, TIMES - 1)


def test_what_is_whole_is_found_whole(store: Store) -> None:
    with store.transaction():
        store.tasks.save_blocks(1, [BlockRow(0, at, b"state", 1, 0) for at in range(100)])
    assert store.check() == []


def test_a_schema_of_the_future_is_refused(engine: Engine) -> None:
    store = engine.open()
    connection = store._connection  # type: ignore[attr-defined]
    if engine.name == "sqlite":
        connection.execute("PRAGMA user_version=99")
    else:
        with connection.locked():
            connection.command("UPDATE revision SET schema = 99")
    for read_only in (False, True):
        with pytest.raises(WrongSchema):
            engine.open(read_only=read_only)
