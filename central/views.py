"""What people read: counts, attempts, provenance, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from bundle.intervals import IntervalSet
from bundle.records import report as reports
from central import (
    access,
    aggregates,
    auditing,
    disputes,
    epochs,
    heard,
    histories,
    persons,
    provenance,
    selecting,
    silence,
    task_logs,
    teaching,
    tell,
)
from central import document as documents
from central import users as keys
from central.attempts import Wanted, attempt_row, page
from central.core.authorise import Action, Decision, Principal, Resource, decide
from central.core.changes import implied_row
from central.core.facts import Verdict
from central.errors import UnknownFile
from central.listed import Lister
from central.persons import OPERATOR
from central.store.rows import BundleRow, DatasetRow, StepRow
from central.workings import Workings

PAGE_MAX = 1000
DESCRIPTION_CHARS = 2000  # that are searched


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file lies: a chunk of an archived bundle."""

    bundle_path: Path
    place: int


class Views:
    """Reads only; used under the authority's lock."""

    def __init__(self, workings: Workings) -> None:
        """Read from these workings."""
        self._w = workings
        self._counts: dict[DatasetId, tuple[int, dict[str, Any]]] = {}
        self._descriptions: dict[bytes, str] = {}  # by the document's digest

    @property
    def workings(self) -> Workings:
        """What it reads from."""
        return self._w

    def datasets(self, principal: Principal = OPERATOR, q: str = "") -> list[dict[str, Any]]:
        """Return the datasets that a principal may read, and that have all words of `q`."""
        accesses, words = access.Accesses(self._w.store), q.lower().split()
        found = []
        for row in self._w.store.datasets.datasets():
            its = accesses.of(row)
            if decide(principal, Action.DATASET_READ, access.resource(its)) is Decision.ALLOWED:
                about = self._dataset(row) | access.shown(its)
                if not words or self._says(row, about, words):
                    found.append(about)
        return found

    def _says(self, row: DatasetRow, about: dict[str, Any], words: list[str]) -> bool:
        if row.digest not in self._descriptions:
            described = self._w.dag(row.digest).dataset.description
            self._descriptions[row.digest] = described[:DESCRIPTION_CHARS]
        texts = (about["name"], about["owner"] or "", self._descriptions[row.digest])
        said = "\n".join(texts).lower()
        return all(word in said for word in words)

    def document(self, dataset: DatasetId) -> tuple[bytes, dict[str, Any]]:
        """Return a document's canonical bytes, and what people write. Raises UnknownDataset."""
        row = self._w.dataset(dataset)
        raw = self._w.store.datasets.document(row.digest)
        assert raw is not None  # noqa: S101  a dataset is learned with its document
        return raw, documents.render(self._w.dag(row.digest).dataset)

    def lister(self, dataset: DatasetId) -> Lister:
        """Return what lists the tasks of a dataset. Raises UnknownDataset."""
        return Lister(self._w, self._w.dataset(dataset))

    def newest(self) -> int:
        """Return a number that every merge, commit and audited change raises."""
        bundles = self._w.store.bundles.page(auditing.NEWEST, 1, "", "", "")
        changes = self._w.store.people.audit(auditing.NEWEST, 1)
        return sum(one.no for one in bundles) + sum(one.no for one in changes)

    def aggregate(self, about: dict[str, dict[str, Any]], by: list[str]) -> list[dict[str, Any]]:
        """Return sums over datasets, each said something of by its id, in groups."""
        rows = [one for one in self._w.store.datasets.datasets() if one.id in about]
        steps = self._w.store.tasks.steps_of([one.no for one in rows])
        told = [(one, steps.get(one.no, []), about[one.id]) for one in rows]
        return aggregates.of_datasets(told, by)

    def aggregate_attempts(
        self, dataset: DatasetId, by: list[str], percentiles: list[int]
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return sums and percentiles of attempts in groups; whether all were looked at."""
        return aggregates.of_attempts(self._w, self._w.dataset(dataset), by, percentiles)

    def bundles(
        self, before: int | None, limit: int, *, producer: str, kind: str, outcome: str
    ) -> list[dict[str, Any]]:
        """Return bundles below a number, the newest first; an empty text asks for all."""
        at = auditing.NEWEST if before is None else before
        rows = self._w.store.bundles.page(at, limit, producer, kind, outcome)
        return [_bundle(row) for row in rows]

    def resource(self, dataset: DatasetId) -> Resource:
        """Return what authorisation must know of a dataset. Raises UnknownDataset."""
        return access.resource(access.of(self._w.store, self._w.dataset(dataset)))

    def person(self, name: str) -> dict[str, Any]:
        """Return a person and what their datasets have in use. Raises UserRefused."""
        row = persons.require(self._w.store, name)
        return persons.shown(row) | {"used": asdict(access.used_by(self._w, name))}

    def dataset(self, dataset: DatasetId) -> dict[str, Any]:
        """Return one dataset. Raises UnknownDataset."""
        row = self._w.dataset(dataset)
        of = self._w.dag(row.digest).dataset
        standing = self._w.controls(row).whole
        steps = [
            {
                "step": number,
                "name": step.name,
                "per": step.per.value,
                "needs": list(step.needs),
                "outputs": [one.name for one in step.outputs],
            }
            for number, step in enumerate(of.steps)
        ]
        about = {"description": of.description, "seed": of.seed, "control": standing.word()}
        about |= {"open": of.open, "edited": heard.of_dataset(self._w, row)}
        about |= self._who(row) | access.shown(access.of(self._w.store, row))
        return self._dataset(row) | about | {"steps": steps}

    def counts(self, dataset: DatasetId) -> dict[str, Any]:
        """Return per step the tasks by verdict and the usage; not to be changed by the reader."""
        known = self._counts.get(dataset)
        if known is not None and known[0] == self._w.version:
            return known[1]
        version = self._w.version
        row = self._w.dataset(dataset)
        dag, controls = self._w.dag(row.digest), self._w.controls(row)
        stored = {one.step: one for one in self._w.store.tasks.steps(row.no)}
        steps = []
        for number, step in enumerate(dag.dataset.steps):
            tasks = dag.dataset.tasks_of(number)
            implied = implied_row(dag, controls, (number, 0)).verdict
            about = {"step": number, "name": step.name, "tasks": tasks}
            steps.append(about | _step(stored.get(number), tasks, implied))
        found = {"dataset": dataset, "jobs": row.jobs, "tasks": row.tasks, "steps": steps}
        self._counts[dataset] = (version, found)
        return found

    def preview(self, dataset: DatasetId, *asked: Any) -> dict[str, Any]:
        """Return how many tasks a control would be about: see `selecting.preview`."""
        return selecting.preview(self._w, dataset, *asked)

    def attempts(
        self,
        dataset: DatasetId,
        step: int | None,
        job: int | None,
        fate: str | None,
        limit: int,
        after: int,
        detail: bool = False,
    ) -> dict[str, Any]:
        """Return a page of attempts and where the next one starts. Raises UnknownDataset."""
        row = self._w.dataset(dataset)
        wanted = Wanted(step, job, None if fate is None else Fate(fate))
        limit = max(1, min(limit, PAGE_MAX))
        found = page(self._w, row, wanted, after, limit)
        if detail:
            rows = provenance.detailed(self._w, row, found)
        else:
            rows = [attempt_row(row, one) for one in found]
        return {"attempts": rows, "next": found[-1].no if len(found) == limit else None}

    def learned(self, dataset: DatasetId) -> dict[str, Any]:
        """Return what attempts taught about requests. Raises UnknownDataset."""
        return teaching.shown(self._w, self._w.dataset(dataset))

    def disputes(self, dataset: DatasetId) -> dict[str, Any]:
        """Return deterministic tasks whose successes differ. Raises UnknownDataset."""
        return disputes.shown(self._w, dataset)

    def task(self, task: Task) -> dict[str, Any]:
        """Return one task's verdict, attempts, provenance and retry. Raises UnknownTask."""
        story = provenance.story(self._w, task)
        row = self._w.dataset(task.dataset)
        return story | {"retry": histories.shown(self._w, row, (task.step, task.job))}

    def logs(self, task: Task) -> dict[str, Any]:
        """Return what a task's newest attempts wrote. Raises UnknownTask."""
        return task_logs.logs(self._w, task)

    def tell(self, task: Task) -> dict[str, Any]:
        """Return what happened to a task, in order. Raises UnknownTask."""
        return tell.tell(self._w, task)

    def file(self, sha256: bytes) -> FilePlace:
        """Return where a file lies. Raises UnknownFile."""
        found = self._w.store.tasks.files([sha256]).get(sha256)
        if found is None:
            raise UnknownFile(sha256=sha256.hex())
        bundle = self._w.store.bundles.bundle_id(found.bundle)
        return FilePlace(self._w.archive.path(bundle), found.place)

    def health(self) -> dict[str, Any]:
        """Return how central is."""
        w = self._w
        return {
            "epoch": w.epoch.counter,
            "commit": w.store.bundles.head(w.epoch),
            "datasets": len(w.store.datasets.datasets()),
            "trust_version": w.trust.version,
            "copies": w.config.archive.copies,
            "parked": len(w.store.bundles.parked()),
            **epochs.told(w),
        }

    def sites(self) -> list[dict[str, Any]]:
        """Return all sites."""
        rows = []
        for one in self._w.store.bundles.sites():
            report = asdict(reports.decode(one.report)) if one.report else None
            held = report.pop("held") if report else None
            if report:
                report["has"] = len(report["has"])
                del report["head"]
            receipts = self._w.store.bundles.receipts(one.name)
            heard_s = silence.heard_s(self._w.store.people, one.name, self._w.clock_us())
            rows.append(
                {
                    "site": one.name,
                    "key": one.key.hex(),
                    "enrolled_us": one.enrolled_us,
                    "heard_s": heard_s,
                    "silent": silence.is_silent(heard_s),
                    "tasks_leased": self._w.store.datasets.leased_by(one.name),
                    "report": report,
                    "held": held,
                    "gaps": {r.stream.hex(): _gaps(r.arrived()) for r in receipts},
                }
            )
        return rows

    def _who(self, row: DatasetRow) -> dict[str, Any]:
        """Return which user's bundle submitted a dataset, and which keys co-signed it."""
        key = self._w.store.datasets.submitter(row.no)
        signed = self._w.store.datasets.cosignatures(row.digest)
        return {
            "submitted_by": keys.name_of(self._w, key) if key else None,
            "cosigned_by": [keys.name_of(self._w, one.key) for one in signed],
        }

    def _dataset(self, row: DatasetRow) -> dict[str, Any]:
        return {
            "id": row.id,
            "name": row.name,
            "digest": row.digest.hex(),
            "jobs": row.jobs,
            "steps": row.steps,
            "tasks": row.tasks,
            "submitted": provenance.iso(row.submitted_us),
        }


def _step(row: StepRow | None, tasks: int, implied: Verdict) -> dict[str, Any]:
    numbers = dict(zip(Verdict, row.verdicts, strict=True)) if row else {}
    numbers[Verdict.REMOVED] = 0  # of more jobs than there are, or all that there are
    numbers[implied] = numbers.get(implied, 0) + tasks - sum(numbers.values())
    used = row.usage if row else None
    return {
        "counts": {word.value: count for word, count in numbers.items() if count},
        "attempts": used.attempts if used else 0,
        "wall_ms": used.wall_ms if used else 0,
        "cpu_ms": used.cpu_ms if used else 0,
        "read_bytes": used.read_bytes if used else 0,
        "written_bytes": used.written_bytes if used else 0,
        "memory_peak_mib": used.memory_peak_mib if used else 0,
    }


def _bundle(row: BundleRow) -> dict[str, Any]:
    return {
        "no": row.no,
        "id": row.id,
        "kind": row.kind,
        "producer": row.producer,
        "audience": row.audience or None,
        "stream": row.stream.hex(),
        "sequence": row.sequence,
        "created": provenance.iso(row.created_us),
        "size_bytes": row.size_bytes,
        "outcome": row.outcome,
        "code": row.code,
        "text": row.text,
        "missing": row.missing,
        "safe": row.safe,
    }


def _gaps(numbers: IntervalSet) -> list[list[int]]:
    return numbers.gaps().to_wire()
