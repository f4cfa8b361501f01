"""`pulk tell TASK`: a task's story, gathered from store and archive. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bundle.errors import PulkError
from bundle.ids import AttemptKey, BundleId, Epoch, LeaseId, PilotRun
from bundle.ids import Task as TaskId
from bundle.records.foreign import read_by
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central import claims, histories, sidecars, users
from central.attempts import Found, attempts_of
from central.core import telling
from central.core.changes import implied_row
from central.core.dag import Dag
from central.core.facts import Place
from central.core.telling import Lease, Order, Result, Tried
from central.provenance import iso
from central.state.reading import Reading
from central.store.rows import BundleRow, DatasetRow, LeaseRow
from central.workings import Workings

ATTEMPTS_MAX = 1000
LEASES_LOOKED_AT, LEASES_MAX = 100_000, 1000  # for those that ended without an answer


def tell(workings: Workings, task: TaskId) -> dict[str, Any]:
    """Return a task's story as plain values. Raises UnknownDataset, UnknownTask."""
    row, dag, place = workings.task(task)
    events = telling.tell(_Gathered(workings, row, dag, place).task())
    return {
        "task": str(task),
        "step": dag.dataset.steps[task.step].name,
        "verdict": events[-1].facts["verdict"],
        "story": [one.plain() | {"at": iso(one.at_us)} for one in events],
    }


class _Gathered:
    """One task and where its facts lie."""

    def __init__(self, workings: Workings, row: DatasetRow, dag: Dag, place: Place) -> None:
        self._w, self._row, self._dag, self._place = workings, row, dag, place
        self._store = workings.store
        self._trust = workings.archive_trust()
        self._bundles: dict[BundleId, BundleRow | None] = {}

    def task(self) -> telling.Task:
        """Return all of it."""
        w, row, (step, job) = self._w, self._row, self._place
        name = TaskId(row.id, job, step)
        found = attempts_of(w, row, self._place, ATTEMPTS_MAX)
        known = Reading(w, row).rows([self._place], outcomes=True)
        controls = w.controls(row)
        state = known[0] if known else implied_row(self._dag, controls, self._place)
        histories_ = histories.tried(w, row, self._dag, [self._place])
        due = histories.due(row.id, self._dag, histories_, w.clock_us())
        submitter = self._store.datasets.submitter(row.no)
        return telling.Task(
            name=str(name),
            place=self._place,
            step=self._dag.dataset.steps[step],
            spec_hash=self._dag.spec_hash(step),
            verdict=state.verdict,
            outcome=state.outcome,
            standing=controls.standing(self._place),
            submitted_us=row.submitted_us,
            submitter=users.name_of(w, submitter) if submitter else "",
            controls=[
                (*self._commit(one.epoch, one.commit), one)
                for one in controls.all
                if one.covers(self._place)
            ],
            leases=[self._lease(one) for one in self._leases(found)],
            results=self._results(found),
            attempts=[self._tried(one, name) for one in found],
            pins=[
                (*self._commit(one.epoch, one.commit), one)
                for one in self._store.tasks.pins(row.no, [self._place])
            ],
            parked=[one.text for one in claims.parked(w, name)],
            due_us=due.get(self._place, 0),
        )

    def _leases(self, found: Iterable[Found]) -> list[LeaseRow]:
        """Return the leases that its attempts answer, and others that cover it, by number."""
        step, job = self._place
        answered = {one.segment.lease.no for one in found}
        leases, no = self._store.datasets, self._row.no
        for lease in (
            *leases.live_on(no), *leases.unanswered_on(no, LEASES_LOOKED_AT, LEASES_MAX),
        ):  # fmt: skip
            if lease.no in answered or self._w.lease(lease).generation_of(job, step) is None:
                continue
            answered.add(lease.no)
        return self._store.datasets.leases_by_no(answered)  # as they are now

    def _lease(self, one: LeaseRow) -> Lease:
        step, job = self._place
        work = self._store.datasets.work(one.work)
        bundle = self._bundle(one.work)
        return Lease(
            id=one.id.hex(),
            site=one.site,
            work=one.work,
            state=one.state,
            generation=self._w.lease(one).generation_of(job, step) or 0,
            made_us=work.created_us if work else 0,
            deadline_us=one.deadline_us,
            number=bundle.sequence if bundle else -1,
            is_fetched=claims.has_arrived(self._w, one),
            key=self._key(bundle),
            order=bundle.no if bundle else 0,
            read=self._read(one),
        )

    def _read(self, one: LeaseRow) -> list[str]:
        step, job = self._place
        of = self._dag.dataset.steps[step]
        told = read_by(of, job, self._w.lease(one).foreign) if of.foreign else ()
        return [task.attempt.partition(":")[0] for _, _, task in told]

    def _results(self, found: Iterable[Found]) -> list[Result]:
        numbers = sorted({one.segment.row.bundle for one in found})
        rows = [self._bundle(self._store.bundles.bundle_id(no)) for no in numbers]
        return [
            Result(
                id=one.id,
                site=one.producer,
                made_us=one.created_us,
                number=one.sequence,
                safe=one.safe,
                key=self._key(one),
                order=one.no,
                carried=sidecars.of(self._w.home, one.id),
            )
            for one in rows
            if one is not None
        ]

    def _tried(self, one: Found, task: TaskId) -> Tried:
        segment = one.segment
        fact, detail = segment.fact(one.number), segment.columns.attempt(one.number)
        lease, run = LeaseId(segment.lease.id), PilotRun(segment.row.pilot_run)
        return Tried(
            fact=fact,
            name=str(AttemptKey(task, fact.generation, lease, run, fact.local)),
            site=segment.lease.site,
            host=segment.columns.header.host.name,
            batch_id=segment.row.batch_id,
            started_us=detail.started_us,
            exit_code=detail.exit_code,
            signal=detail.signal,
            evidence=detail.evidence,
            salvaged=segment.row.salvaged,
            result=segment.row.bundle,
        )

    def _commit(self, epoch: Epoch, commit: int) -> tuple[Order, int]:
        """Return number and time of one of central's own commits, zeros where it is not here."""
        for bundle in self._store.bundles.of_commit(epoch, commit):
            row = self._bundle(bundle)
            if row is not None:
                return row.no, row.created_us
        return 0, 0

    def _bundle(self, bundle: BundleId) -> BundleRow | None:
        if bundle not in self._bundles:
            self._bundles[bundle] = self._store.bundles.bundle(bundle)
        return self._bundles[bundle]

    def _key(self, row: BundleRow | None) -> str:
        """Return whose signature an archived bundle bears; nothing where that can't be told now."""
        if row is None:
            return ""
        try:
            path = self._w.archive.path(row.id)
            with open_bundle(path, self._trust, audience=None, kinds=frozenset(Kind)) as bundle:
                return bundle.signer_key.hex()
        except (PulkError, OSError):
            return ""
