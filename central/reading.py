"""Reads beside the merge: connections of their own that write nothing, so no read waits for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from central.store.protocol import Store
from central.store.sqlite import SqliteStore
from central.views import Views
from central.workings import Workings


class Readers:
    """Views of the last commit; each is used by one thread at a time, and they are made as needed.

    A store that is no file gives none: then reads take turns with the merge, under its lock.
    """

    def __init__(self, workings: Workings) -> None:
        """Read what these workings write."""
        self._w = workings
        self._own = Views(workings)
        self._lock = threading.Lock()
        self._idle: list[tuple[SqliteStore, Workings, Views]] = []

    @contextmanager
    def views(self, lock: threading.RLock) -> Iterator[Views]:
        """Give views of one commit. Raises DatabaseBusy."""
        with self._reader(lock) as (_, views):
            yield views

    @contextmanager
    def store(self, lock: threading.RLock) -> Iterator[Store]:
        """Give a store to read from, of one commit. Raises DatabaseBusy."""
        with self._reader(lock) as (store, _):
            yield store

    def close(self) -> None:
        """Close what is idle; nobody reads any more."""
        with self._lock:
            for store, _, _ in self._idle:
                store.close()
            self._idle.clear()

    @contextmanager
    def _reader(self, lock: threading.RLock) -> Iterator[tuple[Store, Views]]:
        if not isinstance(self._w.store, SqliteStore):
            with lock:
                yield self._w.store, self._own
            return
        store, workings, views = self._take()
        try:
            database = store.database
            database.execute("BEGIN")
            try:
                database.execute("SELECT count(*) FROM sqlite_master").fetchone()
                # What the views keep holds for as long as nobody commits.
                workings.version = database.execute("PRAGMA data_version").fetchone()[0]
                yield store, views
            finally:
                database.execute("ROLLBACK")
        finally:
            with self._lock:
                self._idle.append((store, workings, views))

    def _take(self) -> tuple[SqliteStore, Workings, Views]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        w = self._w
        store = SqliteStore(w.home.database, read_only=True)
        beside = Workings(w.home, w.config, store, w.archive, None, w.epoch, w.clock_us)
        return store, beside, Views(beside)
