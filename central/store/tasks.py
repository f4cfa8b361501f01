"""Rows of touched tasks, attempts, pins, outcomes and files, in SQLite."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlite_utils import Database

from bundle import canonical
from bundle.fates import FATES
from bundle.ids import AttemptKey, Epoch, LeaseId, PilotRun, SiteName, Task
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from central.core.changes import Changes, UsageSum
from central.core.facts import AttemptFact, Pin, Place, TaskRow, Verdict
from central.core.source import StepCounts
from central.store import wanted
from central.store.queries import queries
from central.store.rows import DatasetRow, FileRow, Outputs, StepRow

_SQL = queries("tasks")
VERDICTS = tuple(Verdict)
_NUMBER = {word: number for number, word in enumerate(VERDICTS)}
_FATE_NUMBER = {fate: number for number, fate in enumerate(FATES)}


class SqliteSource:
    """See `central.core.merge.Source`: the facts of one dataset."""

    def __init__(self, database: Database, dataset: int) -> None:
        """Look at the dataset of a number."""
        self._db, self._dataset = database, dataset

    def load_rows(self, places: Collection[Place]) -> Iterable[TaskRow]:
        """See `merge.Source`."""
        with wanted.places(self._db, places):
            return [_row(row) for row in self._ask("rows")]

    def load_attempts(self, places: Collection[Place]) -> Iterable[AttemptFact]:
        """See `merge.Source`."""
        with wanted.places(self._db, places):
            return [_attempt(row) for row in self._ask("attempts")]

    def load_pins(self, places: Collection[Place]) -> Iterable[Pin]:
        """See `merge.Source`."""
        with wanted.places(self._db, places):
            return [_pin(row) for row in self._ask("pins")]

    def load_outcomes(self, step: int) -> Iterable[tuple[int, bytes]]:
        """See `merge.Source`."""
        return self._db.execute(_SQL["outcomes_of_step"], (self._dataset, step)).fetchall()

    def load_counts(self, steps: Collection[int]) -> Mapping[int, StepCounts]:
        """See `merge.Source`."""
        with wanted.places(self._db, ((step, 0) for step in steps)):
            return {
                row[0]: StepCounts(dict(zip(VERDICTS, row[1:8], strict=True)), row[8])
                for row in self._ask("step_counts")
            }

    def _ask(self, name: str) -> list[tuple[Any, ...]]:
        return self._db.execute(_SQL[name], (self._dataset,)).fetchall()


class SqliteTasks:
    """See `protocol.Tasks`."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._db = database

    def source(self, dataset: int) -> SqliteSource:
        """See `protocol.Tasks`."""
        return SqliteSource(self._db, dataset)

    def save(
        self, dataset: DatasetRow, changes: Changes, segments: Mapping[bytes, int], bundle: int
    ) -> None:
        """See `protocol.Tasks`."""
        many = self._db.conn.executemany
        no = dataset.no
        many(
            _SQL["save_row"],
            [(no, r[0], r[1], r[2], _NUMBER[r[3]], *r[4:]) for r in changes.rows.values()],
        )
        many(_SQL["save_step"], _step_rows(no, changes))
        if changes.touched_jobs:
            touched = dataset.touched | IntervalSet.of(changes.touched_jobs)
            sql = "UPDATE dataset SET touched = ? WHERE no = ?"
            self._db.execute(sql, (canonical.encode(touched.to_wire()), no))
        leases = self._leases_of(changes.attempts)
        specs = self._specs_of(changes.attempts)
        many(
            _SQL["add_attempt"],
            [
                (
                    no, a.step, a.job, a.generation, leases[a.lease], a.pilot_run, a.local,
                    _FATE_NUMBER[a.fate], specs[a.spec_hash], *a[8:], segments[a.content],
                )
                for a in changes.attempts
            ],
        )  # fmt: skip
        many(
            _SQL["add_pin"],
            [
                (no, p.step, p.job, p.generation, p.attempt, p.outcome, *p.epoch, p.commit)
                for p in changes.pins
            ],
        )
        contradicted = [
            (no, a.step, a.job, a.name(dataset.id), bundle) for a in changes.contradicted
        ]
        many(_SQL["add_contradiction"], contradicted)

    def every_row(self, dataset: int) -> Iterator[TaskRow]:
        """See `protocol.Tasks`."""
        return (_row(row) for row in self._db.execute(_SQL["every_row"], (dataset,)))

    def every_attempt(self, dataset: int) -> Iterator[AttemptFact]:
        """See `protocol.Tasks`."""
        return (_attempt(row) for row in self._db.execute(_SQL["every_attempt"], (dataset,)))

    def every_pin(self, dataset: int) -> Iterator[Pin]:
        """See `protocol.Tasks`."""
        return (_pin(row) for row in self._db.execute(_SQL["every_pin"], (dataset,)))

    def steps(self, dataset: int) -> list[StepRow]:
        """See `protocol.Tasks`."""
        found = self._db.execute(_SQL["steps"], (dataset,)).fetchall()
        return [StepRow(row[0], row[1:8], row[8], UsageSum(*row[9:])) for row in found]

    def rows_of_leases(self, leases: Iterable[int]) -> dict[int, list[Place]]:
        """See `protocol.Tasks`."""
        found: dict[int, list[Place]] = {}
        for lease in leases:
            for dataset, step, job, _ in self._db.execute(_SQL["rows_of_lease"], (lease,)):
                found.setdefault(dataset, []).append((step, job))
        return found

    def leased_by(self, site: SiteName) -> int:
        """See `protocol.Tasks`."""
        return int(self._db.execute(_SQL["leased_by_site"], (site,)).fetchone()[0])

    def ready(self, dataset: int, limit: int) -> list[Place]:
        """See `protocol.Tasks`."""
        return self._db.execute(_SQL["ready_jobs"], (dataset, limit)).fetchall()

    def leased_at(self, site: SiteName) -> list[tuple[int, int]]:
        """See `protocol.Tasks`."""
        return self._db.execute(_SQL["leased_at"], (site,)).fetchall()

    def ready_of(self, dataset: int, steps: Collection[int], limit: int) -> list[Place]:
        """See `protocol.Tasks`."""
        values = (dataset, json.dumps(sorted(steps)), limit)
        return self._db.execute(_SQL["ready_of"], values).fetchall()

    def rows(self, dataset: int, places: Collection[Place]) -> list[TaskRow]:
        """See `protocol.Tasks`."""
        return list(self.source(dataset).load_rows(places))

    def done_spans(self, dataset: int) -> list[tuple[int, int, int]]:
        """See `protocol.Tasks`."""
        return self._db.execute(_SQL["done_spans"], (dataset,)).fetchall()

    def outcomes(self, digests: Collection[bytes]) -> dict[bytes, Outputs]:
        """See `protocol.Tasks`."""
        with wanted.digests(self._db, digests):
            return {row[0]: _outputs(row[1]) for row in self._db.execute(_SQL["outcomes"])}

    def add_outcomes(self, outcomes: Mapping[bytes, Outputs]) -> None:
        """See `protocol.Tasks`."""
        rows = [(digest, canonical.encode(outputs)) for digest, outputs in outcomes.items()]
        self._db.conn.executemany(_SQL["add_outcome"], rows)

    def files(self, digests: Collection[bytes]) -> dict[bytes, FileRow]:
        """See `protocol.Tasks`."""
        with wanted.digests(self._db, digests):
            return {row[0]: FileRow(*row) for row in self._db.execute(_SQL["files"])}

    def add_files(self, rows: Iterable[FileRow]) -> None:
        """See `protocol.Tasks`."""
        self._db.conn.executemany(_SQL["add_file"], list(rows))

    def success_keys(self, dataset: DatasetRow, places: Collection[Place]) -> dict[Any, str]:
        """See `protocol.Tasks`."""
        found: dict[Any, str] = {}
        with wanted.places(self._db, places):
            rows = self._db.execute(_SQL["successes"], (dataset.no,)).fetchall()
        for step, job, generation, lease, pilot_run, local, outcome in rows:
            task = Task(dataset.id, job, step)
            key = str(AttemptKey(task, generation, LeaseId(lease), PilotRun(pilot_run), local))
            of = (step, job, generation, outcome)
            found[of] = min(found.get(of, key), key)
        return found

    def page(
        self,
        dataset: int,
        step: int | None,
        job: int | None,
        fate: int | None,
        after: int,
        limit: int,
    ) -> Sequence[Mapping[str, Any]]:
        """See `protocol.Tasks`."""
        values = {"dataset": dataset, "step": step, "job": job, "fate": fate}
        return list(self._db.query(_SQL["page"], values | {"after": after, "limit": limit}))

    def _leases_of(self, attempts: Iterable[AttemptFact]) -> dict[bytes, int]:
        wanted_ids = {one.lease for one in attempts}
        sql = "SELECT no FROM lease WHERE id = ?"
        return {one: self._db.execute(sql, (one,)).fetchone()[0] for one in wanted_ids}

    def _specs_of(self, attempts: Iterable[AttemptFact]) -> dict[bytes, int]:
        hashes = {one.spec_hash for one in attempts}
        rows = [(one,) for one in hashes]
        add = "INSERT INTO spec (hash) VALUES (?) ON CONFLICT DO NOTHING"
        self._db.conn.executemany(add, rows)
        with wanted.digests(self._db, hashes):
            sql = "SELECT s.hash, s.no FROM wanted_digest AS w JOIN spec AS s ON s.hash = w.digest"
            return dict(self._db.execute(sql).fetchall())


def _step_rows(dataset: int, changes: Changes) -> list[tuple[int, ...]]:
    steps = {step for step, _ in changes.counts} | set(changes.known) | set(changes.usage)
    rows = []
    for step in sorted(steps):
        counts = (changes.counts.get((step, word), 0) for word in VERDICTS)
        used = changes.usage.get(step, UsageSum())
        rows.append(
            (
                dataset, step, *counts, changes.known.get(step, 0), used.attempts, used.wall_ms,
                used.cpu_ms, used.read_bytes, used.written_bytes, used.memory_peak_mib,
            )
        )  # fmt: skip
    return rows


def _row(row: tuple[Any, ...]) -> TaskRow:
    return TaskRow(row[0], row[1], row[2], VERDICTS[row[3]], row[4], row[5], row[6])


def _attempt(row: tuple[Any, ...]) -> AttemptFact:
    return AttemptFact._make((*row[:6], FATES[row[6]], *row[7:]))


def _pin(row: tuple[Any, ...]) -> Pin:
    step, job, generation, attempt, outcome, counter, nonce, commit = row
    return Pin(step, job, generation, attempt, outcome, Epoch(counter, nonce), commit)


def _outputs(raw: bytes) -> Outputs:
    rows = canonical.decode(raw, STATE_LIMITS, where="outcome")
    return tuple((file, size) for file, size in rows)
