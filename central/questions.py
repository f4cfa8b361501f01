"""What people ask, answered beside the merge: out of the database and archive alone."""

from __future__ import annotations

from typing import Any

from bundle.ids import BundleId, DatasetId, Task
from central import needed, others
from central.core.authorise import Principal
from central.core.facts import Place
from central.core.receipts import Outcome
from central.document import Other
from central.identity import Identity
from central.listed import Chosen
from central.parking import Disposition
from central.persons import OPERATOR
from central.views import FilePlace


class Questions(Identity):
    """The reading half of the authority. Every method may be called from any thread.

    Nothing here needs what the merging process alone has in memory, so that a process of its own
    can answer (`central.http.reader`).
    """

    def datasets(self, principal: Principal = OPERATOR, q: str = "") -> list[dict[str, Any]]:
        """Return the datasets that a principal may read, and that have all words of `q`."""
        with self._readers.views() as views:
            return views.datasets(principal, q)

    def dataset(self, dataset: DatasetId) -> dict[str, Any]:
        """Return one dataset as plain values. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.dataset(dataset)

    def counts(self, dataset: DatasetId) -> dict[str, Any]:
        """Return per step the tasks by verdict and the usage. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.counts(dataset)

    def preview(self, dataset: DatasetId, *asked: Any) -> dict[str, Any]:
        """Return how many tasks a control would be about, by verdict; changes nothing.

        `asked`: word, steps, jobs and what else is said of them: see `selecting.preview`. Raises
        UnknownDataset, BadControl, SelectionTooLarge.
        """
        with self._readers.views() as views:
            return views.preview(dataset, *asked)

    def find(self, given: str, by: Principal) -> list[Other]:
        """Return the datasets that somebody may read and that have an id or a name."""
        with self._readers.workings() as (_, workings):
            return others.find(workings, given, by)

    def needs(self, dataset: DatasetId, by: Principal = OPERATOR) -> dict[str, Any]:
        """Return what a dataset needs of others, as far as somebody may know. UnknownDataset."""
        with self._readers.workings() as (_, workings):
            return needed.shown(workings, dataset, by)

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
        detail: bool = False,
    ) -> dict[str, Any]:
        """Return a page of attempts and where the next one starts. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.attempts(dataset, step, job, fate, limit, int(after or 0), detail)

    def document(self, dataset: DatasetId) -> tuple[bytes, dict[str, Any]]:
        """Return a document's canonical bytes, and what people write. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.document(dataset)

    def task_page(
        self, dataset: DatasetId, chosen: Chosen, after: Place, limit: int
    ) -> tuple[list[dict[str, Any]], Place | None]:
        """Return tasks after a place, and where to go on after. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.lister(dataset).page(chosen, after, limit)

    def task_lines(
        self, dataset: DatasetId, chosen: Chosen, after: Place, rows_max: int
    ) -> tuple[bytes, Place | None]:
        """Return tasks after a place as lines, and the last one's place. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.lister(dataset).lines(chosen, after, rows_max)

    def jobs(
        self, dataset: DatasetId, state: str | None, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return jobs after one, and which to go on after. Raises UnknownDataset."""
        with self._readers.views() as views:
            return views.lister(dataset).jobs(state, after, limit)

    def aggregate(self, about: dict[str, dict[str, Any]], by: list[str]) -> list[dict[str, Any]]:
        """Return sums over datasets, each said something of by its id, in groups."""
        with self._readers.views() as views:
            return views.aggregate(about, by)

    def changes(self, principal: Principal, version: int) -> tuple[int, list[dict[str, Any]]]:
        """Return a number that changes raise, and sums of each dataset that a principal may read.

        No sums where the number is the one given: nothing changed.
        """
        with self._readers.views() as views:
            now = views.newest()
            if now == version:
                return version, []
            about = {row["id"]: {"dataset": row["id"]} for row in views.datasets(principal)}
            return now, views.aggregate(about, ["dataset"])

    def aggregate_attempts(
        self, dataset: DatasetId, by: list[str], percentiles: list[int]
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return sums and percentiles of attempts in groups; whether all were looked at."""
        with self._readers.views() as views:
            return views.aggregate_attempts(dataset, by, percentiles)

    def bundles(
        self, before: int | None, limit: int, *, producer: str, kind: str, outcome: str
    ) -> list[dict[str, Any]]:
        """Return bundles below a number, the newest first; an empty text asks for all."""
        with self._readers.views() as views:
            return views.bundles(before, limit, producer=producer, kind=kind, outcome=outcome)

    def task(self, task: Task) -> dict[str, Any]:
        """Return one task's verdict, attempts and provenance. Raises UnknownTask."""
        with self._readers.views() as views:
            return views.task(task)

    def logs(self, task: Task) -> dict[str, Any]:
        """Return what a task's newest attempts wrote. Raises UnknownTask."""
        with self._readers.views() as views:
            return views.logs(task)

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
