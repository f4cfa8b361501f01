"""What central needs of a PostgreSQL server and of its own session there."""

from __future__ import annotations

import logging
from typing import Any

import psycopg

from central.errors import NotDurable, StoreRefused

SERVER_MIN = 130_000
BUSY_TIMEOUT_S = 30
STALLED_S = 600  # a writer that does nothing for so long inside a transaction is given up
SESSION = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "synchronous_commit": "on",
        "lock_timeout": f"{BUSY_TIMEOUT_S}s",
        "statement_timeout": "0",
        "idle_in_transaction_session_timeout": f"{STALLED_S}s",
        "tcp_keepalives_idle": "30",  # so that a writer whose machine died lets the lock go
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        "jit": "off",  # statements are short
    }.items()
)
READ_ONLY = f"{SESSION} -c default_transaction_read_only=on"
CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "pulk",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "client_encoding": "utf8",
}
_SHOW = (
    "SELECT current_setting('fsync', true), current_setting('full_page_writes', true),"
    " current_setting('synchronous_commit', true), current_setting('server_encoding'),"
    " current_setting('server_version_num'), pg_is_in_recovery()"
)
_LOG = logging.getLogger(__name__)


def check_server(raw: psycopg.Connection, where: str, *, read_only: bool) -> None:
    """Look whether what a server calls committed is on its disk. Raises NotDurable, StoreRefused.

    full_page_writes may be off on a filesystem that never tears a page, which nobody can see from
    here: that is logged, not refused.
    """
    row = raw.execute(_SHOW).fetchone()
    assert row is not None  # noqa: S101  a SELECT of values
    fsync, whole_pages, waits, encoding, version, standby = row
    if int(version) < SERVER_MIN:
        raise StoreRefused(where=where, reason=f"the server is older than {SERVER_MIN // 10_000}")
    if encoding != "UTF8":
        raise StoreRefused(where=where, reason=f"the database's encoding is {encoding}, not UTF8")
    if read_only:
        return
    if standby:
        raise StoreRefused(where=where, reason="the server is a standby: it takes no writes")
    for name, found in (("fsync", fsync), ("synchronous_commit", waits)):
        if found is not None and found not in ("on", "remote_apply"):
            raise NotDurable(where=where, setting=name, found=found)
    for name, found in (("fsync", fsync), ("full_page_writes", whole_pages)):
        if found != "on":
            facts = {"setting": name, "found": found, "server": where}
            _LOG.warning("the server may lose what it committed", extra=facts)
