"""Opening the store that the configuration chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from central.config import Config
from central.errors import StoreRefused
from central.home import Home
from central.store.protocol import Store
from central.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from central.store.postgresql.address import Address


def open_store(config: Config, home: Home, *, read_only: bool = False) -> Store:
    """Open central's database: a file in its folder, or what `[store]` names.

    Raises StoreRefused, BadFilesystem, NotDurable, WrongSchema, DatabaseBusy, DatabaseTrouble.
    """
    if not is_on_server(config):
        return SqliteStore(home.database, read_only=read_only)
    address = address_of(config, home)
    from central.store.postgresql import PostgresqlStore

    return PostgresqlStore(address, read_only=read_only)


def address_of(config: Config, home: Home) -> Address:
    """Return where the server's database is that `[store]` names. Raises StoreRefused."""
    section = config.store
    if section.url and section.url_file:
        raise StoreRefused(where=str(home.config), reason="store.url and store.url_file are set")
    try:
        from central.store.postgresql.address import of_file, of_url
    except ImportError as error:
        reason = "psycopg is missing: install pulk[postgresql]"
        raise StoreRefused(where=str(home.config), reason=reason) from error
    if section.url_file:
        return of_file(home.root / Path(section.url_file))
    return of_url(section.url, f"{home.config}: store.url")


def is_made(config: Config, home: Home) -> bool:
    """Return whether there is a database to open; a server's is made by whoever opens it first."""
    return is_on_server(config) or home.database.exists()


def is_on_server(config: Config) -> bool:
    """Return whether the database is a server's, where several processes may work on it."""
    return bool(config.store.url or config.store.url_file)
