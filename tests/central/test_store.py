"""The store and the archive: a crash between them loses nothing and doubles nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.dataset import spec
from bundle.errors import PulkError
from central.core.facts import ControlWord
from central.errors import IdempotencyConflict, WrongSchema
from central.store.sqlite.filesystem import filesystem_kind
from central.store.statements import statements
from central.store.sqlite import SqliteStore, wal_is_safe
from tests.central.conftest import Central, chain


def forget(central: Central, act: Callable[[], object]) -> object:
    """Act, then lose what the database kept of it but not the archive, as a crash would."""
    saved = central.folder / "saved.sqlite"
    central.authority.close()
    shutil.copy(central.home.database, saved)
    central.reopen()
    answer = act()
    central.authority.close()
    shutil.copy(saved, central.home.database)
    central.reopen()
    return answer


def test_a_crash_between_archive_and_commit_loses_no_submission(central: Central) -> None:
    raw = spec.encode(chain(jobs=2))

    def submit() -> object:
        return central.authority.submit(raw, idempotency_key="once", token_id=1)

    made = forget(central, submit)
    assert len(central.authority.datasets()) == 1
    assert submit() == made  # the client got no answer and asks again
    assert len(central.authority.datasets()) == 1
    with pytest.raises(IdempotencyConflict):
        central.authority.submit(spec.encode(chain(jobs=3)), idempotency_key="once", token_id=1)


def test_a_crash_between_archive_and_commit_loses_no_lease(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=2))
    central.authority.absorb(site.report(100))
    forget(central, lambda: central.authority.outbox(site.name))
    assert central.counts(dataset) == [{"leased": 2}, {"leased": 2}, {"leased": 1}]
    (out,) = central.authority.outbox(site.name)
    assert site.take(central.authority.outgoing(site.name, out.id)).leases
    central.fsck()


def test_a_crash_between_archive_and_commit_loses_no_result(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=2))
    central.authority.absorb(site.report(100))
    (held,) = site.fetch(central.authority)
    path = site.result([site.play(held, lease) for lease in held.leases])
    forget(central, lambda: central.authority.absorb(path))
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}, {"done": 1}]
    assert central.authority.absorb(path).outcome == "merged"
    assert central.fsck()["attempts"] == 5


def test_a_crash_between_archive_and_commit_loses_no_control(central: Central) -> None:
    dataset = central.submit(chain(jobs=2))

    def cancel() -> int:
        word = ControlWord.CANCEL
        return central.authority.control(
            dataset, word, None, None, idempotency_key="cancel", token_id=1
        )

    assert forget(central, cancel) == 5
    assert central.counts(dataset)[0] == {"cancelled": 2}
    assert cancel() == 5
    central.fsck()


def test_a_refused_transaction_leaves_nothing(central: Central) -> None:
    store = central.authority._w.store
    with pytest.raises(PulkError), store.transaction():
        store.people.set_meta("name", b"value")
        raise PulkError
    assert store.people.meta("name") is None


def test_a_killed_process_leaves_a_database_that_opens(central: Central, tmp_path: Path) -> None:
    path = tmp_path / "killed.sqlite"
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from central.store.sqlite import SqliteStore\n"
        f"store = SqliteStore(Path({str(path)!r}))\n"
        "with store.transaction():\n"
        "    store.people.set_meta('kept', b'1')\n"
        "with store.transaction():\n"
        "    store.people.set_meta('lost', b'1')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=30)
    assert done.returncode == -9
    store = SqliteStore(path)
    assert (store.people.meta("kept"), store.people.meta("lost")) == (b"1", None)
    store.close()


def test_wal_is_used_only_where_it_keeps_what_was_committed() -> None:
    safe = {(3, 51, 3), (3, 52, 0), (3, 44, 6), (3, 50, 7)}
    unsafe = {(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2)}
    assert all(wal_is_safe(version) for version in safe)
    assert not any(wal_is_safe(version) for version in unsafe)


def test_a_commit_is_on_the_disk_before_it_returns(central: Central) -> None:
    database = central.authority._w.store.database  # type: ignore[attr-defined]
    assert database.execute("PRAGMA synchronous").fetchone()[0] == 2
    if not wal_is_safe(sqlite3.sqlite_version_info):
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_a_database_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WrongSchema):
        SqliteStore(path)


def test_network_filesystems_are_known_by_the_kernels_list_of_mounts() -> None:
    mounts = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 21 0:50 / /home rw - nfs4 server:/home rw\n"
        "31 30 0:51 / /home/with\\040space rw - tmpfs tmpfs rw\n"
    )
    assert filesystem_kind(Path("/var/lib/central"), mounts) == "ext4"
    assert filesystem_kind(Path("/home/me/central"), mounts) == "nfs4"
    assert filesystem_kind(Path("/home/with space/central"), mounts) == "tmpfs"


def test_every_statement_by_name_is_one_that_sqlite_can_prepare(central: Central) -> None:
    database = central.authority._w.store.database  # type: ignore[attr-defined]
    for file in ("bundles", "datasets", "tasks"):
        for name, statement in queries(file).items():
            marks = statement.count("?")
            values = dict.fromkeys(("dataset", "step", "job", "fate", "after", "limit"))
            given = [None] * marks if marks or ":dataset" not in statement else values
            assert database.execute(f"EXPLAIN {statement}", given).fetchall(), name


def test_no_query_is_made_per_task(central: Central) -> None:
    site = central.site()
    counted: list[int] = []
    for jobs in (10, 200):
        central.submit(chain(jobs=jobs, fan_in=False))
        central.authority.absorb(site.report(10_000))
        (held,) = [one for one in site.fetch(central.authority) if one.leases]
        path = site.result([site.play(held, lease) for lease in held.leases])
        del site.works[held.id]
        statements: list[str] = []
        connection = central.authority._w.store.database.conn  # type: ignore[attr-defined]
        connection.set_trace_callback(statements.append)
        central.authority.absorb(path)
        connection.set_trace_callback(None)
        reads = [one for one in statements if one.lstrip().startswith("SELECT")]
        counted.append(len(reads))
    assert counted[1] <= counted[0] + 15  # some per segment, none per task


def test_the_token_is_known_by_its_digest_alone(central: Central) -> None:
    token = central.home.token.read_text().strip()
    assert central.authority.token(token) == 1
    assert token.encode() not in central.home.database.read_bytes()
    assert central.home.database.stat().st_mode & 0o077 == 0
