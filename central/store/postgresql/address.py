"""Where the PostgreSQL server is: a URL whose password, if any, is shown to nobody."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from central.errors import StoreRefused

_VARIABLES = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE",
    "user": "PGUSER", "password": "PGPASSWORD", "passfile": "PGPASSFILE", "service": "PGSERVICE",
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL", "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME", "target_session_attrs": "PGTARGETSESSIONATTRS",
    "channel_binding": "PGCHANNELBINDING",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """A database on a server."""

    conninfo: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The address without password and options, for people."""
        parts = conninfo_to_dict(self.conninfo)
        host = parts.get("host") or parts.get("hostaddr") or ""
        port = f":{parts['port']}" if parts.get("port") else ""
        return f"postgresql://{host}{port}/{parts.get('dbname') or ''}"

    def options(self, session: str) -> str:
        """Return the URL's own settings of a session, and after them others, which win."""
        own = conninfo_to_dict(self.conninfo).get("options") or ""
        return f"{own} {session}".strip()

    def environment(self) -> dict[str, str]:
        """Return the variables by which a PostgreSQL program finds the database."""
        parts = conninfo_to_dict(self.conninfo)
        return {
            variable: str(parts[name])
            for name, variable in _VARIABLES.items()
            if parts.get(name) is not None
        }


def of_url(url: str, where: str) -> Address:
    """Check a URL that stands in a configuration. Raises StoreRefused."""
    parts = _parts(url, where)
    if parts.get("password"):
        raise StoreRefused(where=where, reason="a password stands in the URL")
    return Address(url)


def of_file(path: Path) -> Address:
    """Read a URL, with its password, from a file that only its owner can read.

    Raises StoreRefused.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise StoreRefused(where=str(path), reason=f"others may read it (mode {mode:03o})")
            url = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise StoreRefused(where=str(path), reason=reason) from None
    _parts(url, str(path))
    return Address(url)


def _parts(url: str, where: str) -> dict[str, object]:
    if not url.startswith(("postgresql://", "postgres://")):
        raise StoreRefused(where=where, reason="it is no postgresql:// URL")
    try:
        return dict(conninfo_to_dict(url))
    except ProgrammingError:
        raise StoreRefused(where=where, reason="it is no postgresql:// URL") from None
