"""What people change of datasets: submit, control, resize, edit; the middle of the authority."""

from __future__ import annotations

from typing import Any

from bundle.dataset import spec
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from central import access, editing, others, requests
from central.core import edit as edits
from central.core.authorise import Action, Principal
from central.core.edit import Size
from central.core.facts import ControlWord
from central.core.selection import ALL, Only
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
    ) -> Submitted:
        """Take a dataset's canonical document, and who co-signed it.

        `token_id` is the number of the person whose idempotency key it is; `by` owns the dataset,
        `asked` says who sees it. `suspended`: nothing of it is leased before it is resumed.

        Raises DatasetRefused, CosignatureRefused, WeakKey, IdempotencyConflict, AccessRefused,
        QuotaExceeded.
        """
        with self._acting(by, Action.DATASET_SUBMIT) as act:
            by = act.by
            if self._w.store.people.remembered(token_id, idempotency_key) is None:
                dataset = self._w.dag(spec.dataset_digest(raw), raw).dataset
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
        with self._acting(by, Action.DATASET_EDIT, dataset) as act:
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
    ) -> editing.Edited:
        """Put a canonical document in place of a dataset's.

        Raises UnknownDataset, DatasetRefused, EditRefused, CosignatureRefused, IdempotencyConflict,
        AccessRefused, ChangedMeanwhile.
        """
        key = (token_id, idempotency_key)
        with self._acting(by, Action.DATASET_EDIT, dataset) as act:
            if self._w.store.people.remembered(*key) is None:
                now = self._w.dag(spec.dataset_digest(raw), raw).dataset
                before = self._w.dag(self._w.dataset(dataset).digest).dataset
                access.check_account(act.by, now)
                others.check(self._w, now, act.by, own=dataset, before=before)
            self._require(dataset, if_match, key)
            made = editing.edit(self._w, dataset, Given(raw, cosignature), key)
            act.on(dataset, digest=made.digest.hex(), tasks=made.tasks)
            return made
