"""Both engines behind one fixture: what is asked of one store is asked of the other."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from central.store.postgresql import PostgresqlStore
from central.store.postgresql.address import Address
from central.store.protocol import Store
from central.store.sqlite import SqliteStore
from tests.central.store.cutting import Door
from tests.testbed.postgresql import Server

TEMPLATE = "pulk_template"


@dataclass(slots=True)
class Engine:
    """An empty database of one engine, and the stores that a test opened on it."""

    name: str
    place: str  # a path or a URL
    opened: list[Store] = field(default_factory=list)

    def open(self, *, read_only: bool = False) -> Store:
        made: Store
        if self.name == "sqlite":
            made = SqliteStore(Path(self.place), read_only=read_only)
        else:
            made = PostgresqlStore(Address(self.place), read_only=read_only)
        self.opened.append(made)
        return made

    @property
    def code(self) -> str:
        """Python that opens `store`, for another process."""
        if self.name == "sqlite":
            return (
                "from pathlib import Path\n"
                "from central.store.sqlite import SqliteStore\n"
                f"store = SqliteStore(Path({self.place!r}))\n"
            )
        return (
            "from central.store.postgresql import PostgresqlStore\n"
            "from central.store.postgresql.address import Address\n"
            f"store = PostgresqlStore(Address({self.place!r}))\n"
        )


@pytest.fixture(scope="session")
def template(postgresql: Server) -> str:
    """The name of a database with all tables and no rows."""
    url = postgresql.create(TEMPLATE)
    PostgresqlStore(Address(url)).close()
    return TEMPLATE


@pytest.fixture
def postgresql_engine(postgresql: Server, template: str) -> Iterator[Engine]:
    name = f"pulk_{secrets.token_hex(4)}"
    engine = Engine("postgresql", postgresql.create(name, template))
    yield engine
    for one in engine.opened:
        one.close()
    postgresql.drop(name)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine("sqlite", str(tmp_path / "pulk.sqlite"))
    yield engine
    for one in engine.opened:
        one.close()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.programs)], name="engine"
)
def either_engine(request: pytest.FixtureRequest) -> Engine:
    """One engine after the other."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    return engine


@pytest.fixture
def store(engine: Engine) -> Store:
    return engine.open()


@pytest.fixture
def door(postgresql: Server) -> Iterator[Door]:
    with tempfile.TemporaryDirectory(prefix="pulk-door-", dir="/tmp") as folder:
        made = Door(Path(folder), postgresql.folder)
        yield made
        made.close()
