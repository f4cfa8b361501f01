"""What the parts of a store ask of an engine's connection. Each engine has one class for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

from central.store.statements import Statement

Values = Sequence[Any]
Found = tuple[Any, ...]


class Connection(Protocol):
    """One connection to a database. Reads work at any time, writes only in a transaction.

    All raise DatabaseBusy and DatabaseTrouble, which are transient: nothing was committed, or it is
    not known whether it was, and doing the same again is right in both cases.
    """

    def one(self, statement: Statement, values: Values = ()) -> Found | None:
        """Return the first row, or None."""

    def value(self, statement: Statement, values: Values = ()) -> Any:
        """Return the first column of the first row, which is there."""

    def all(self, statement: Statement, values: Values = ()) -> list[Found]:
        """Return all rows."""

    def ask(self, statement: Statement, keys: Collection[Any], values: Values = ()) -> list[Found]:
        """Return the rows found for many keys, in one query.

        `keys`: (a, b) pairs, numbers or digests, as the statement's braces say; repeated ones count
        once. `values` are those of the statement's other marks, in their order.
        """

    def run(self, statement: Statement, values: Values = ()) -> None:
        """Change something."""

    def change(self, statement: Statement, keys: Collection[Any], values: Values = ()) -> None:
        """Change what belongs to many keys, in one statement."""

    def insert(self, statement: Statement, values: Values) -> int:
        """Insert one row; return its number, which the statement returns."""

    def many(self, statement: Statement, rows: Iterable[Values]) -> None:
        """Insert many rows, in one statement where the engine can. Keys are unique in `rows`."""
