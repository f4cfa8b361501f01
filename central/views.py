"""What people read: counts, attempts, provenance, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bundle.fates import Fate
from bundle.ids import DatasetId, Task
from bundle.intervals import IntervalSet
from bundle.records import report as reports
from central import disputes, epochs, histories, provenance, silence, teaching, tell, users
from central.attempts import Wanted, attempt_row, page
from central.core.changes import implied_row
from central.core.facts import Verdict
from central.errors import UnknownFile
from central.store.rows import DatasetRow, StepRow
from central.workings import Workings

PAGE_MAX = 1000


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

    def datasets(self) -> list[dict[str, Any]]:
        """Return all datasets."""
        return [self._dataset(row) for row in self._w.store.datasets.datasets()]

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
        about |= self._who(row)
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

    def attempts(
        self,
        dataset: DatasetId,
        step: int | None,
        job: int | None,
        fate: str | None,
        limit: int,
        after: int,
    ) -> dict[str, Any]:
        """Return a page of attempts and where the next one starts. Raises UnknownDataset."""
        row = self._w.dataset(dataset)
        wanted = Wanted(step, job, None if fate is None else Fate(fate))
        limit = max(1, min(limit, PAGE_MAX))
        found = page(self._w, row, wanted, after, limit)
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
            "submitted_by": users.name_of(self._w, key) if key else None,
            "cosigned_by": [users.name_of(self._w, one.key) for one in signed],
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
    untouched = tasks - sum(numbers.values())
    numbers[implied] = numbers.get(implied, 0) + untouched
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


def _gaps(numbers: IntervalSet) -> list[list[int]]:
    return numbers.gaps().to_wire()
