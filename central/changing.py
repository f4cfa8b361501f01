"""What people change of datasets: submit, control, resize, edit; the middle of the authority."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from bundle.dataset import spec
from bundle.errors import PulkError
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from central import access, editing, others, requests
from central.core import edit as edits
from central.core.authorise import Action, Principal
from central.core.dag import Dag
from central.core.edit import Size
from central.core.facts import ControlWord
from central.core.selection import ALL, Only
from central.decoded import decoded
from central.people import People
from central.persons import OPERATOR
from central.requests import Submitted
from central.store.rows import AccessRow
from central.submission import Given


class Changing(People):
    """See the module. Every public method may be called from any thread."""

    def submit(
        self,
        raw: bytes,
        *,
        idempotency_key: str,
        token_id: int,
        cosignature: bytes = b"",
        by: Principal = OPERATOR,
        asked: AccessRow | None = None,
        suspended: bool = False,
        dag: Dag | None = None,
    ) -> Submitted:
        """Take a dataset's canonical document, and who co-signed it.

        `token_id` is the number of the person whose idempotency key it is; `by` owns the dataset,
        `asked` says who sees it. `suspended`: nothing of it is leased before it is resumed.
        `dag`: the document, decoded already.

        Raises DatasetRefused, CosignatureRefused, WeakKey, IdempotencyConflict, AccessRefused,
        QuotaExceeded.
        """
        dag = decoded(raw) if dag is None else dag  # a large one takes seconds: others go on
        with self._acting(by, Action.DATASET_SUBMIT) as act:
            by = act.by
            self._w.keep_dag(dag)
            if self._w.store.people.remembered(token_id, idempotency_key) is None:
                dataset = dag.dataset
                access.check_account(by, dataset)
                access.check_room(self._w, by, dataset.tasks())
                others.check(self._w, dataset, by)
                if asked is not None:
                    access.check(by, asked)
            given = Given(raw, cosignature)
            said = access.first(by, asked)
            made = requests.submit(
                self._w, given, idempotency_key, token_id, said, suspended=suspended
            )
            access.claim(self._w, made.id, said)
            about = {"suspended": True} if suspended else {}
            act.on(made.id, tasks=made.tasks, digest=made.digest.hex(), **about)
            return made

    def control(
        self,
        dataset: DatasetId,
        control: ControlWord,
        jobs: IntervalSet | None,
        steps: tuple[int, ...] | None,
        *,
        idempotency_key: str,
        token_id: int,
        by: Principal = OPERATOR,
        if_match: str = "",
        only: Only = ALL,
    ) -> int:
        """Apply a control; return how many tasks it covers.

        `if_match`: the ETag that the dataset must have; empty: any. `only`: which of the tasks.
        Raises UnknownDataset, BadControl, SelectionTooLarge, IdempotencyConflict,
        ChangedMeanwhile.
        """
        key = (token_id, idempotency_key)
        with self._acting(by, Action.DATASET_CONTROL, dataset) as act:
            self._require(dataset, if_match, key)
            covered = requests.control(self._w, dataset, control, jobs, steps, key, only)
            about: dict[str, Any] = {"control": control.value, "steps": steps, "tasks": covered}
            about |= {"jobs": None if jobs is None else jobs.to_wire()}
            act.on(dataset, **about, **({"only": only.to_wire()} if only != ALL else {}))
            return covered

    def resize(
        self,
        dataset: DatasetId,
        size: Size,
        *,
        idempotency_key: str,
        token_id: int,
        by: Principal = OPERATOR,
        if_match: str = "",
        dry_run: bool = False,
    ) -> editing.Edited:
        """Give a dataset more jobs or fewer, open or close it; `dry_run`: say what that would do.

        Raises UnknownDataset, DatasetRefused, EditRefused, IdempotencyConflict, QuotaExceeded,
        ChangedMeanwhile.
        """
        key = (token_id, idempotency_key)
        foreseen = self._foreseen(dataset, size)
        with self._acting(by, Action.DATASET_EDIT, dataset) as act:
            for one in foreseen:
                self._w.keep_dag(one)
            self._require(dataset, if_match, key)
            before = self._w.dataset(dataset)
            if self._w.store.people.remembered(*key) is None:
                of = self._w.dag(before.digest).dataset
                more = edits.resized(of, size).tasks() - before.tasks
                if more > 0:
                    access.check_room(self._w, by, more)
            made = editing.resize(self._w, dataset, size, key, dry_run=dry_run)
            about = {"jobs_before": before.jobs, "jobs": made.jobs, "open": size.open}
            act.on(dataset, digest=made.digest.hex(), tasks=made.tasks, **about)
            return made

    def _foreseen(self, dataset: DatasetId, size: Size) -> list[Dag]:
        """Return a dataset's document as it is and as it will be, decoded while others go on.

        Only so that both are known when the lock is held: what is wrong is said there.
        """
        found = []
        with suppress(PulkError):
            with self._readers.store() as store:
                row = store.datasets.dataset(dataset)
                raw = store.datasets.document(row.digest) if row is not None else None
            if raw is not None:
                found.append(decoded(raw))
                found.append(decoded(spec.encode(edits.resized(found[0].dataset, size))))
        return found

    def edit(
        self,
        dataset: DatasetId,
        raw: bytes,
        *,
        idempotency_key: str,
        token_id: int,
        cosignature: bytes = b"",
        by: Principal = OPERATOR,
        if_match: str = "",
        dag: Dag | None = None,
    ) -> editing.Edited:
        """Put a canonical document in place of a dataset's; `dag`: decoded already.

        Raises UnknownDataset, DatasetRefused, EditRefused, CosignatureRefused, IdempotencyConflict,
        AccessRefused, ChangedMeanwhile.
        """
        key = (token_id, idempotency_key)
        dag = decoded(raw) if dag is None else dag
        with self._acting(by, Action.DATASET_EDIT, dataset) as act:
            self._w.keep_dag(dag)
            if self._w.store.people.remembered(*key) is None:
                before = self._w.dag(self._w.dataset(dataset).digest).dataset
                access.check_account(act.by, dag.dataset)
                others.check(self._w, dag.dataset, act.by, own=dataset, before=before)
            self._require(dataset, if_match, key)
            made = editing.edit(self._w, dataset, Given(raw, cosignature), key)
            act.on(dataset, digest=made.digest.hex(), tasks=made.tasks)
            return made
