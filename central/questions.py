"""What people ask, answered beside the merge: out of the database and archive alone."""

from __future__ import annotations

import hmac
from typing import Any

from bundle.ids import BundleId, DatasetId, Task
from central.core.receipts import Outcome
from central.errors import Unauthorised
from central.parking import Disposition
from central.reading import Readers
from central.tokens import token_digest
from central.views import FilePlace
from central.workings import Workings

TOKENS_KEPT_US = 1_000_000  # a token that is taken away works for so long still


class Questions:
    """The reading half of the authority. Every method may be called from any thread.

    Nothing here needs what the merging process alone has in memory, so that a process of its own
    can answer (`central.http.reader`).
    """

    def __init__(self, workings: Workings) -> None:
        """Read what these workings write, here or in another process."""
        self._w = workings
        self._readers = Readers(workings)
        self._tokens: tuple[int, list[tuple[int, bytes]]] = (-TOKENS_KEPT_US, [])

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
        with self._readers.views() as views:
            return views.learned(dataset)

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

    def tell(self, task: Task) -> dict[str, Any]:
        """Return what happened to a task, in order. Raises UnknownTask."""
        with self._readers.views() as views:
            return views.tell(task)

    def file(self, sha256: bytes) -> FilePlace:
        """Return where an output lies that travelled home. Raises UnknownFile."""
        with self._readers.views() as views:
            return views.file(sha256)

    def known(self, bundle: BundleId) -> Disposition | None:
        """Return what became of a bundle that came before; None where it is new or parked."""
        with self._readers.store() as store:
            row = store.bundles.bundle(bundle)
        if row is None or row.outcome == Outcome.PARKED:
            return None
        return Disposition.of(row)

    def health(self) -> dict[str, Any]:
        """Return how central is."""
        with self._readers.views() as views:
            return views.health()

    def sites(self) -> list[dict[str, Any]]:
        """Return all sites as plain values."""
        with self._readers.views() as views:
            return views.sites()

    def token(self, bearer: str) -> int:
        """Return the number of a token, compared in constant time. Raises Unauthorised."""
        given = token_digest(bearer)
        read_us, known = self._tokens
        if not 0 <= self._w.clock_us() - read_us < TOKENS_KEPT_US:
            with self._readers.store() as store:
                known = store.people.tokens()
            self._tokens = (self._w.clock_us(), known)
        found = [no for no, digest in known if hmac.compare_digest(digest, given)]
        if not found:
            raise Unauthorised()
        return found[0]
