"""Joining verified facts to the store inside one transaction: one merge per dataset touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bundle.dataset import spec
from bundle.ids import BundleId, DatasetId, Epoch
from bundle.records.attempt import outcome_digest
from bundle.records.lease import Lease
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource
from central.core import commit as commits
from central.core.commit import Commit, Submission
from central.core.facts import AttemptFact, Control, Pin
from central.core.merge import Merge
from central.errors import MissingDataset
from central.store.protocol import Store
from central.store.rows import DatasetRow, LeaseRow, WorkRow
from central.workings import Workings

COMPLETE, EXPIRED, GONE = "complete", "expired", "gone"


@dataclass(frozen=True, slots=True)
class NewPins:
    """Pins that a merge made, and the commit that is to state them."""

    pins: tuple[tuple[DatasetId, Pin], ...] = ()
    commit: int = 0


@dataclass(slots=True)
class Merged:
    """A bundle that is being merged: its number, and pins to be published after it."""

    no: int
    pins: NewPins = field(default_factory=NewPins)


class Joining:
    """One transaction's facts. `live`: central may make pins of its own."""

    def __init__(self, workings: Workings, *, live: bool, commits_used: int = 0) -> None:
        """Start; inside the store's transaction.

        Args:
            workings: the central.
            live: False while it replays what it knew before.
            commits_used: commit numbers beyond the head that this transaction uses up itself.
        """
        self._w, self._store = workings, workings.store
        self._live = live and workings.signer is not None
        self._commit = self._store.bundles.head(workings.epoch) + 1 + commits_used
        self._merges: dict[int, Merge] = {}
        self._rows: dict[int, DatasetRow] = {}

    @property
    def store(self) -> Store:
        """The store that it joins to."""
        return self._store

    def learn_dataset(self, dataset: DatasetId, digest: bytes, raw: bytes | None) -> DatasetRow:
        """Return the row of a dataset, made where it is new. Raises MissingDataset."""
        row = self._store.datasets.dataset(dataset)
        if row is not None:
            return row
        try:
            document = self._w.dag(digest, raw).dataset
        except MissingDataset:
            raise MissingDataset(dataset=dataset) from None
        known = self._store.datasets.document(digest)
        if known is None:
            self._store.datasets.add_document(digest, raw or spec.encode(document))
        steps, tasks = len(document.steps), document.tasks()
        fresh = DatasetRow(0, dataset, digest, document.name, document.jobs, steps, tasks, 0)
        return fresh._replace(no=self._store.datasets.add_dataset(fresh))

    def learn_submission(self, one: Submission, raw: bytes | None) -> None:
        """Join a submission: its dataset, when it came, and which user signed it.

        Raises MissingDataset.
        """
        row = self.learn_dataset(one.dataset, one.digest, raw)
        self._store.datasets.set_submitted(row.no, one.at_us)
        if one.user:
            self._store.datasets.set_submitter(row.no, one.user)

    def learn_lease(self, lease: Lease, raw: bytes, digest: bytes, work: WorkRow) -> LeaseRow:
        """Add a lease and mark its tasks as leased; a known one changes nothing."""
        row = self._store.datasets.lease(lease.lease)
        if row is not None:
            return row
        dataset = self._store.datasets.dataset(lease.dataset)
        if dataset is None:
            raise MissingDataset(dataset=lease.dataset)
        self._store.datasets.add_work(work)
        limits = [ms for ms in (lease.duration_ms, work.lifetime_ms) if ms]
        deadline_us = work.created_us + 1000 * min(limits) if limits else 2**62
        row = LeaseRow(
            0, lease.lease, dataset.no, digest, work.id, work.site, deadline_us, "live", raw
        )
        row = row._replace(no=self._store.datasets.add_lease(row))
        dag = self.merge(dataset).dag
        self.merge(dataset).set_leases(
            {
                (task.step, task.job): (row.no, generation)
                for task, generation in lease.tasks()
                if dag.holds((task.step, task.job))
            }
        )
        return row

    def add_lease_pins(self, lease: Lease, epoch: Epoch, number: int) -> None:
        """Join the pins that a lease of work bundle (epoch, number) states."""
        dataset = self._store.datasets.dataset(lease.dataset)
        if dataset is None or not lease.pins:
            return
        outputs = {outcome_digest(one.outputs): one.outputs for one in lease.pins}
        self._store.tasks.add_outcomes(outputs)
        self.merge(dataset).add_pins(
            Pin(
                one.step,
                one.job,
                one.generation,
                one.attempt,
                outcome_digest(one.outputs),
                epoch,
                number,
            )
            for one in lease.pins
        )

    def end_leases(self, numbers: Iterable[int], state: str) -> None:
        """End live leases: what they still cover is ready or held again."""
        ended = list(numbers)
        if not ended:
            return
        self._store.datasets.end_leases(ended, state)
        covered = self._store.tasks.rows_of_leases(ended)
        for no in covered.keys() | self._merges.keys():
            merge = self.merge(self._store.datasets.dataset_by_no(no))
            merge.end_leases(covered.get(no, ()), frozenset(ended))

    def add_attempts(self, dataset: DatasetRow, facts: Iterable[AttemptFact]) -> None:
        """Join attempts of one dataset."""
        self.merge(dataset).add_attempts(facts)

    def add_pins(self, dataset: DatasetRow, pins: Iterable[Pin]) -> None:
        """Join pins of one dataset."""
        self.merge(dataset).add_pins(pins)

    def add_control(self, dataset: DatasetRow, control: Control) -> int:
        """Join a control, before other facts of its dataset; return how many tasks it covers."""
        assert dataset.no not in self._merges  # noqa: S101  else the merge would not know of it
        self._store.datasets.add_control(dataset.no, control)
        merge = self.merge(dataset)
        if control.regions is None:
            rows = self._store.tasks.every_row(dataset.no)
            merge.touch([(row.step, row.job) for row in rows])
            return dataset.tasks
        merge.touch((step, job) for step, jobs in control.regions for job in jobs)
        return sum(len(jobs) for _, jobs in control.regions)

    def merge(self, dataset: DatasetRow) -> Merge:
        """Return the merge of a dataset in this transaction."""
        found = self._merges.get(dataset.no)
        if found is None:
            found = self._merges[dataset.no] = Merge(
                dataset.id,
                self._w.dag(dataset.digest),
                self._w.controls(dataset),
                self._store.tasks.source(dataset.no),
                (self._w.epoch, self._commit) if self._live else None,
                dataset.touched,
            )
            self._rows[dataset.no] = dataset
        return found

    def finish(self, bundle: int, segments: dict[bytes, int]) -> None:
        """Judge what was touched and write all that changed; pins become a commit of their own."""
        publish_pins(self._w, self.settle(bundle, segments))

    def settle(self, bundle: int, segments: dict[bytes, int]) -> NewPins:
        """Judge what was touched and write all that changed; return the pins to be published.

        Args:
            bundle: number of the bundle that brought the facts.
            segments: number of the segment by attempt's content.
        """
        pins: list[tuple[DatasetId, Pin]] = []
        for no, merge in self._merges.items():
            changes = merge.settle()
            pins += [(self._rows[no].id, pin) for pin in changes.made_pins]
            self._store.tasks.save(self._rows[no], changes, segments, bundle)
        self._w.version += 1
        return NewPins(tuple(pins), self._commit)


def publish_pins(workings: Workings, made: NewPins) -> None:
    """Publish the pins that a merge made; inside its transaction."""
    if made.pins:
        publish_commit(workings, Commit(pins=made.pins), made.commit)


def publish_commit(
    workings: Workings,
    commit: Commit,
    number: int,
    attached: Iterable[ChunkSource] = (),
    join: Callable[[BundleId, int], None] | None = None,
) -> BundleId:
    """Write a commit bundle, with what its facts rest on, and archive it; in a transaction."""
    chunks = [ChunkSource(commits.CHUNK, commits.CHUNK, commit.count(), commits.encode(commit))]
    chunks += attached
    draft = workings.draft(Kind.COMMIT, workings.commits, number)
    return workings.publish(draft, chunks, join=join)
