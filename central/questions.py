"""What people ask of the authority: answered beside the merge where the store lets others read."""

from __future__ import annotations

import threading
from typing import Any

from bundle.ids import DatasetId, Task
from central import teaching, why
from central.pack import Packer
from central.reading import Readers
from central.views import FilePlace
from central.workings import Workings


class Questions:
    """The reading half of the authority. Every method may be called from any thread."""

    def __init__(self, workings: Workings, lock: threading.RLock, packer: Packer) -> None:
        """Read from workings; what can't be read beside the merge takes its turn at the lock."""
        self._w, self._lock, self._packer = workings, lock, packer
        self._readers = Readers(workings)

    def datasets(self) -> list[dict[str, Any]]:
        """Return all datasets as plain values."""
        with self._readers.views() as views:
            return views.datasets()

    def dataset(self, dataset: DatasetId) -> dict[str, Any]:
        """Return one dataset as plain values. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.dataset(dataset)

    def counts(self, dataset: DatasetId) -> dict[str, Any]:
        """Return per step the tasks by verdict and the usage. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.counts(dataset)

    def learned(self, dataset: DatasetId) -> dict[str, Any]:
        """Return what attempts taught about requests. Raises UnknownDataset."""
        with self._lock:
            return teaching.shown(self._w, self._w.dataset(dataset))

    def disputes(self, dataset: DatasetId) -> dict[str, Any]:
        """Return deterministic tasks whose successes differ. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.disputes(dataset)

    def attempts(
        self,
        dataset: DatasetId,
        *,
        step: int | None,
        job: int | None,
        fate: str | None,
        limit: int,
        after: int | str | None,
    ) -> dict[str, Any]:
        """Return a page of attempts and where the next one starts. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.attempts(dataset, step, job, fate, limit, int(after or 0))

    def task(self, task: Task) -> dict[str, Any]:
        """Return one task's verdict, attempts and provenance. Raises UnknownTask."""
        with self._readers.views() as views:
            return views.task(task)

    def why(self, task: Task) -> dict[str, Any]:
        """Return what keeps a task from running. Raises UnknownDataset, UnknownTask."""
        with self._lock:
            return why.why(self._w, self._packer.board, task)

    def file(self, sha256: bytes) -> FilePlace:
        """Return where an output lies that travelled home. Raises UnknownFile."""
        with self._readers.views() as views:
            return views.file(sha256)

    def health(self) -> dict[str, Any]:
        """Return how central is."""
        with self._readers.views() as views:
            return views.health()

    def sites(self) -> list[dict[str, Any]]:
        """Return all sites as plain values."""
        with self._readers.views() as views:
            return views.sites()
