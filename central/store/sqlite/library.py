"""The SQLite library: the newer one that `pulk[sqlite]` brings, else the one of this Python.

sqlite-utils chooses. Whoever opens the database in this process uses the same one: two libraries
in one process undo each other's locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    from sqlite_utils.utils import sqlite3

__all__ = ["sqlite3"]
