"""Joining verified facts to the store inside one transaction: one join per dataset touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bundle.dataset import spec
from bundle.ids import BundleId, DatasetId, Epoch
from bundle.intervals import IntervalSet
from bundle.records.attempt import outcome_digest
from bundle.records.lease import Lease
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource
from central import teaching
from central.core import commit as commits
from central.core import state_byte
from central.core.commit import Commit, Submission
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import Control, ControlWord, Pin
from central.errors import MissingDataset
from central.found import FoundLease
from central.state import controlling, leased
from central.state.blocks import Blocks
from central.state.dataset_join import DatasetJoin
from central.state.judge import Judge
from central.state.leased import AddedLeases
from central.state.recall import Recalled
from central.store.protocol import Store
from central.store.rows import DatasetRow, LeaseRow
from central.workings import Workings

LIVE = "live"
COMPLETE, EXPIRED, GONE = "complete", "expired", "gone"

UNMARKING = frozenset({ControlWord.RESET, ControlWord.EDIT})  # that end marks of leases

Covered = dict[int, list[IntervalSet]]  # jobs by step


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
        self._joins: dict[int, DatasetJoin] = {}
        self._leased: dict[int, Covered] = {}
        self._adding = AddedLeases(self._store.datasets)

    @property
    def store(self) -> Store:
        """The store that it joins to."""
        return self._store

    def learn_dataset(self, dataset: DatasetId, digest: bytes, raw: bytes | None) -> DatasetRow:
        """Return the row of a dataset, made where it is new. Raises MissingDataset."""
        row = self._store.datasets.dataset(dataset)
        if row is not None:
            if raw is not None:
                self.learn_document(digest, raw)
            return row
        try:
            document = self._w.dag(digest, raw).dataset
        except MissingDataset:
            raise MissingDataset(dataset=dataset) from None
        self.learn_document(digest, raw or spec.encode(document))
        steps, tasks = len(document.steps), document.tasks()
        fresh = DatasetRow(0, dataset, digest, document.name, document.jobs, steps, tasks, 0)
        made = fresh._replace(no=self._store.datasets.add_dataset(fresh))
        self._w.stir(made.no)
        return made

    def hear_of_dataset(self, lease: Lease, raw: bytes | None, told: bytes) -> None:
        """Learn of a dataset by a lease of it, before any lease is learned.

        As long as nobody else tells of it, the document that was leased from last is in force.

        Args:
            lease: the lease.
            raw: its document, where that came with it.
            told: when which document was leased from.

        Raises MissingDataset.
        """
        row = self.learn_dataset(lease.dataset, lease.dataset_digest, raw)
        name = f"told/{lease.dataset}"
        if not row.submitted_us and told > (self._store.people.meta(name) or b""):
            self._store.people.set_meta(name, told)
            self._take_document(row, lease.dataset_digest)

    def learn_document(self, digest: bytes, raw: bytes) -> None:
        """Keep a document; a known one changes nothing."""
        if not self._store.datasets.has_document(digest):
            self._store.datasets.add_document(digest, raw)

    def learn_submission(self, one: Submission, raw: bytes | None) -> None:
        """Join a submission: its dataset, when it came, and which user signed it.

        A lease of an edited dataset may have told of it before, by a later document.

        Raises MissingDataset.
        """
        row = self.learn_dataset(one.dataset, one.digest, raw)
        self._take_document(row, one.digest)
        self._store.datasets.set_submitted(row.no, one.at_us)
        self._w.stir(row.no)
        if one.user:
            self._store.datasets.set_submitter(row.no, one.user)

    def learn_leases(self, several: Sequence[FoundLease]) -> None:
        """Add leases and mark their tasks as leased; a known one changes nothing.

        Raises MissingDataset.
        """
        store = self._store.datasets
        known = {row.id for row in store.leases({one.lease.lease for one in several})}
        fresh = [one for one in several if one.lease.lease not in known]
        datasets = {of: self._dataset_of(of) for of in {one.lease.dataset for one in fresh}}
        rows = [_lease_row(one, datasets[one.lease.dataset].no) for one in fresh]
        self._adding.add(rows, {one.work.id: one.work for one in fresh}.values())
        for one in fresh:
            dataset = datasets[one.lease.dataset]
            self._w.keep_lease(one.digest, one.lease, len(one.raw))
            covered = self._leased.setdefault(dataset.no, {})
            for step, jobs in self._standing(dataset, one.lease).items():
                covered.setdefault(step, []).append(jobs)

    def _dataset_of(self, name: DatasetId) -> DatasetRow:
        dataset = self._store.datasets.dataset(name)
        if dataset is None:
            raise MissingDataset(dataset=name)
        return dataset

    def _standing(self, dataset: DatasetRow, lease: Lease) -> dict[int, IntervalSet]:
        """Return the tasks that a lease covers as things stand, by step."""
        return leased.standing(self.join(dataset).judge, lease)

    def add_lease_pins(self, lease: Lease, epoch: Epoch, number: int) -> None:
        """Join the pins that a lease of work bundle (epoch, number) states."""
        dataset = self._store.datasets.dataset(lease.dataset)
        if dataset is None or not lease.pins:
            return
        outputs = {outcome_digest(one.outputs): one.outputs for one in lease.pins}
        self._store.tasks.add_outcomes(outputs)
        self.add_pins(
            dataset,
            [
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
            ],
        )

    def end_leases(self, numbers: Iterable[int], state: str) -> None:
        """End live leases: what they still cover is ready or held again."""
        ended = list(dict.fromkeys(numbers))
        if not ended:
            return
        self._lease_learned()
        known = self._store.datasets.leases_by_no(ended)
        self._store.datasets.end_leases(ended, state)
        freed: dict[int, Covered] = {}
        for row in known:
            if row.state != LIVE:
                continue  # it ended before, and what it covered may be leased again since
            dataset = self._dataset(row.dataset)
            covered = freed.setdefault(dataset.no, {})
            for step, jobs in self._standing(dataset, self._w.lease(row)).items():
                covered.setdefault(step, []).append(jobs)
        for no, covered in freed.items():
            join = self._joins[no]
            others = self._others(no, join) if join.row.crossed else {}
            for step, several in covered.items():
                jobs = _union(several) - others.get(step, IntervalSet())
                if jobs.spans:
                    join.set_leased(step, state_byte.jobs_of(jobs.spans), leased=False)

    def _others(self, no: int, join: DatasetJoin) -> dict[int, IntervalSet]:
        """Return the tasks that live leases of a dataset cover, by step."""
        found: dict[int, IntervalSet] = {}
        for row in self._store.datasets.live_on(no):
            for step, jobs in self._standing(join.row, self._w.lease(row)).items():
                found[step] = found.get(step, IntervalSet()) | jobs
        return found

    def _lease_learned(self) -> None:
        """Mark the tasks of leases that were learned; note where two leases cover one task."""
        learned, self._leased = self._leased, {}
        for no, covered in learned.items():
            join = self._joins[no]
            crossed = False
            for step, several in covered.items():
                jobs = _union(several)
                crossed |= len(jobs) < sum(map(len, several))
                if jobs.spans:
                    crossed |= join.set_leased(step, state_byte.jobs_of(jobs.spans), leased=True)
            if crossed and not join.row.crossed:
                self._store.datasets.set_crossed(no)
                join.row = join.row._replace(crossed=True)

    def add_segments(
        self, dataset: DatasetRow, segments: Sequence[Recalled], contested: Sequence[bool]
    ) -> None:
        """Join the attempts of segments that were added to the store just now."""
        join = self.join(dataset)
        self._lease_learned()
        for one in segments:
            self._w.recall.keep(one)
        mask = np.array(contested) if any(contested) else None
        join.add_segments(segments, contested=mask)
        teaching.note(self._w, join.row, segments)

    def add_pins(self, dataset: DatasetRow, pins: Iterable[Pin]) -> None:
        """Join pins of one dataset."""
        self.join(dataset).add_pins(pins)

    def add_control(self, dataset: DatasetRow, control: Control) -> int:
        """Join a control, before other facts of its dataset; return how many tasks it covers."""
        assert dataset.no not in self._joins  # noqa: S101  else the join would not know of it
        join = self.join(dataset)
        self._store.datasets.add_control(dataset.no, control)
        dag, said = join.judge.dag, self._w.controls(dataset)
        if control.word is ControlWord.EDIT and said.document:
            dag = self._put_in_force(join, said.document)
        self._apply(join, control, (dag, self._w.controls(join.row)))
        if control.regions is None:
            return dataset.tasks
        return sum(len(jobs) for _, jobs in control.regions)

    def _put_in_force(self, join: DatasetJoin, document: bytes) -> Dag:
        """Note which document of a dataset is in force. Raises MissingDataset."""
        dag = self._w.dag(document)
        of = dag.dataset
        join.row = join.row._replace(digest=document, name=of.name, jobs=of.jobs, tasks=of.tasks())
        self._store.datasets.set_document(join.row)
        return dag

    def _take_document(self, dataset: DatasetRow, document: bytes) -> None:
        """Put another document in force by what is known now, where no edit says which."""
        controls = self._w.controls(dataset)
        if document == dataset.digest or controls.document:
            return
        assert dataset.no not in self._joins  # noqa: S101  else the join would not know of it
        join = self.join(dataset)
        dag = self._put_in_force(join, document)
        edit = Control(ControlWord.EDIT, None, self._w.epoch, 0, document)
        self._apply(join, edit, (dag, self._w.controls(join.row)))

    def _apply(self, join: DatasetJoin, control: Control, now: tuple[Dag, Controls]) -> None:
        """Let a control act; after a reset or an edit, leases of what is in force mark their tasks.

        Those of the generation that a reset begins are here before it where a restore or a rebuild
        reads the archive in another order.
        """
        emptied = controlling.apply(self._store, join, self._w.recall, control, now)
        if control.word not in UNMARKING or not emptied:
            return
        named = None if control.regions is None else dict(control.regions)
        covered = self._leased.setdefault(join.row.no, {})
        for row in self._store.datasets.live_on(join.row.no):
            for step, jobs in self._standing(join.row, self._w.lease(row)).items():
                its = jobs if named is None else jobs & named.get(step, IntervalSet())
                if step in emptied and its.spans:
                    covered.setdefault(step, []).append(its)

    def join(self, dataset: DatasetRow) -> DatasetJoin:
        """Return the join of a dataset in this transaction."""
        found = self._joins.get(dataset.no)
        if found is None:
            dag, controls = self._w.dag(dataset.digest), self._w.controls(dataset)
            blocks = Blocks(self._store.tasks, dataset.no)
            found = self._joins[dataset.no] = DatasetJoin(
                self._store,
                dataset,
                (Judge(dag, controls, blocks), blocks),
                self._w.recall,
                (self._w.epoch, self._commit) if self._live else None,
            )
        return found

    def _dataset(self, no: int) -> DatasetRow:
        join = self._joins.get(no)
        return join.row if join else self._store.datasets.dataset_by_no(no)

    def finish(self, bundle: int) -> None:
        """Judge what was touched and write all that changed; pins become a commit of their own."""
        publish_pins(self._w, self.settle(bundle))

    def settle(self, bundle: int) -> NewPins:
        """Judge what was touched and write all that changed; return the pins to be published.

        Args:
            bundle: number of the bundle that brought the facts.
        """
        self._lease_learned()
        pins: list[tuple[DatasetId, Pin]] = []
        for no, join in self._joins.items():
            join.save()
            pins += [(join.row.id, pin) for pin in join.made_pins]
            contradicted = [(one.step, one.job, one.name(join.row.id)) for one in join.contradicted]
            self._store.tasks.add_contradictions(no, bundle, contradicted)
        self._w.recall.trim()
        self._w.version += 1
        self._w.stir(*self._joins)
        return NewPins(tuple(pins), self._commit)


def _lease_row(one: FoundLease, dataset: int) -> LeaseRow:
    lease, work = one.lease, one.work
    limits = [ms for ms in (lease.duration_ms, work.lifetime_ms) if ms]
    deadline_us = work.created_us + 1000 * min(limits) if limits else 2**62
    about = (dataset, one.digest, work.id, work.site, deadline_us, LIVE, one.raw)
    return LeaseRow(0, lease.lease, *about, tasks=lease.count())


def _union(several: Sequence[IntervalSet]) -> IntervalSet:
    if len(several) == 1:
        return several[0]
    return IntervalSet.spanning(span for one in several for span in one.spans)


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
