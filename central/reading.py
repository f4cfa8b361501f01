"""Reads beside the merge: connections of their own that write nothing, so no read waits for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from central.store.opening import open_store
from central.store.protocol import Store
from central.views import Views
from central.workings import Workings


class Readers:
    """Views of the last commit, each used by one thread at a time; made as needed."""

    def __init__(self, workings: Workings) -> None:
        """Read what these workings write."""
        self._w = workings
        self._lock = threading.Lock()
        self._idle: list[tuple[Store, Workings, Views]] = []

    @contextmanager
    def views(self) -> Iterator[Views]:
        """Give views of one commit. Raises DatabaseBusy."""
        with self._reader() as (_, views):
            yield views

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Give a store to read from, of one commit. Raises DatabaseBusy."""
        with self._reader() as (store, _):
            yield store

    @contextmanager
    def workings(self) -> Iterator[tuple[Views, Workings]]:
        """Give views, and the workings they read from, of one commit. Raises DatabaseBusy."""
        with self._reader() as (_, views):
            yield views, views.workings

    def close(self) -> None:
        """Close what is idle; nobody reads any more."""
        with self._lock:
            for store, _, _ in self._idle:
                store.close()
            self._idle.clear()

    @contextmanager
    def _reader(self) -> Iterator[tuple[Store, Views]]:
        store, workings, views = self._take()
        try:
            with store.snapshot():
                workings.notice()
                workings.version = store.version  # what the views keep holds until somebody commits
                yield store, views
        finally:
            with self._lock:
                self._idle.append((store, workings, views))

    def _take(self) -> tuple[Store, Workings, Views]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        w = self._w
        store = open_store(w.config, w.home, read_only=True)
        beside = Workings(w.home, w.config, store, w.archive, None, w.epoch, w.clock_us)
        return store, beside, Views(beside)
