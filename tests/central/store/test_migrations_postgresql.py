"""An old PostgreSQL database becomes what a new one is, and keeps what was in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bundle.ids import LeaseId
from central.store.postgresql import PostgresqlStore
from central.store.postgresql.address import Address
from central.store.rows import PersonRow, TokenRow
from tests.central.store import made
from tests.testbed.postgresql import Server

SCHEMA_4 = Path(__file__).parent / "schemas" / "postgresql-4.sql"
SCHEMA_3 = Path(__file__).parent / "schemas" / "postgresql-3.sql"
WORKS = [(f"{n}" * 64, "north", 9 - n, 6, b"c" * 32) for n in range(3)]
LEASES = [
    (5 + n, b"%d" % n * 16, 1, b"d" * 32, WORKS[n % 3][0], "north", 7, "live", b"raw", 8, n)
    for n in range(4)
]
COLUMNS = """SELECT table_name, column_name, ordinal_position, data_type, collation_name,
    is_nullable, column_default, is_identity FROM information_schema.columns
WHERE table_schema = current_schema()"""
INDEXES = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = current_schema()"


def schema(url: str) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """Return what columns and indexes there are."""
    with psycopg.connect(url) as database:
        columns = set(database.execute(COLUMNS).fetchall())
        return columns, set(database.execute(INDEXES).fetchall())


@pytest.fixture
def old(postgresql: Server) -> Iterator[str]:
    url = postgresql.create("pulk_schema_3")
    with psycopg.connect(url) as database:
        database.execute(SCHEMA_3.read_bytes())
        database.execute("UPDATE revision SET schema = 3")
        into = database.cursor()
        into.executemany("INSERT INTO work VALUES (%s, %s, %s, %s, %s)", WORKS)
        marks = ", ".join(["%s"] * 11)
        into.executemany(f"INSERT INTO lease VALUES ({marks})", LEASES)  # noqa: S608
    yield url
    postgresql.drop("pulk_schema_3")


@pytest.mark.programs
def test_tokens_of_before_there_were_people_are_the_administrators(
    postgresql: Server, template: str
) -> None:
    url = postgresql.create("pulk_schema_4")
    with psycopg.connect(url) as database:
        database.execute(SCHEMA_4.read_bytes())
        database.execute("UPDATE revision SET schema = 4")
        database.execute("INSERT INTO token (digest, name) VALUES ('one', 'admin')")
        database.execute("INSERT INTO \"user\" VALUES ('key', 'anna', 5, 0), ('old', 'bela', 5, 6)")
    store = PostgresqlStore(Address(url))
    every = "admin control read submit"
    assert store.people.tokens() == [TokenRow(1, b"one", "admin", 1, every)]
    people = [(one.no, one.name, one.role) for one in store.people.persons()]
    assert people == [(1, "admin", "admin"), (2, "anna", "user")]
    with store.transaction():
        assert store.people.add_token(TokenRow(0, b"two", "two", 2, "read")) == 2
        assert store.people.add_person(PersonRow(0, "bela", "user")) == 3
    store.close()
    assert schema(url) == schema(postgresql.url(template))
    postgresql.drop("pulk_schema_4")


@pytest.mark.programs
def test_an_old_database_becomes_what_a_new_one_is(
    postgresql: Server, template: str, old: str
) -> None:
    store = PostgresqlStore(Address(old))
    assert [tuple(row) for row in store.datasets.live_on(1)] == [(*row, 0, b"") for row in LEASES]
    assert store.datasets.leases([LeaseId(b"2" * 16)])[0].no == 7
    with store.transaction():
        assert made.known_lease(store, 9).no == 9
    assert store.check() == []
    store.close()
    assert schema(old) == schema(postgresql.url(template))
