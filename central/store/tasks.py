"""Rows of tasks, attempts, pins, outcomes and files: see `protocol.Tasks`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from bundle import canonical
from bundle.fates import FATES
from bundle.ids import Epoch
from bundle.limits import STATE_LIMITS
from central.core.facts import AttemptFact, Pin, Place, TaskRow, Verdict
from central.store.blocks import StoredBlocks
from central.store.connection import Found
from central.store.rows import FileRow, Outputs
from central.store.statements import statements

_SQL = statements("tasks")
PAGE = 1000  # rows that are held at once while all are gone through
VERDICTS = tuple(Verdict)
_NUMBER = {word: number for number, word in enumerate(VERDICTS)}
_FATE_NUMBER = {fate: number for number, fate in enumerate(FATES)}


class StoredTasks(StoredBlocks):
    """See `protocol.Tasks`."""

    def rows(self, dataset: int, places: Collection[Place]) -> list[TaskRow]:
        """See `protocol.Tasks`."""
        return [_row(row) for row in self._db.ask(_SQL["rows"], places, (dataset,))]

    def every_row(self, dataset: int) -> Iterator[TaskRow]:
        """See `protocol.Tasks`."""
        last: Found = (-1, -1)
        while page := self._db.all(_SQL["every_row"], (dataset, *last, PAGE)):
            yield from map(_row, page)
            last = page[-1][:2]

    def save_rows(self, dataset: int, rows: Iterable[TaskRow]) -> None:
        """See `protocol.Tasks`."""
        flat = [(dataset, r[0], r[1], r[2], _NUMBER[r[3]], *r[4:]) for r in rows]
        flat.sort(key=lambda one: one[1:3])
        self._db.many(_SQL["save_rows"], flat)

    def drop_rows(self, dataset: int, places: Collection[Place]) -> None:
        """See `protocol.Tasks`."""
        self._db.change(_SQL["drop_rows"], places, (dataset,))

    def attempts(self, dataset: int, places: Collection[Place]) -> list[AttemptFact]:
        """See `protocol.Tasks`."""
        return [_attempt(row) for row in self._db.ask(_SQL["attempts"], places, (dataset,))]

    def every_attempt(self, dataset: int) -> Iterator[AttemptFact]:
        """See `protocol.Tasks`."""
        last: Found = (-1, -1, b"")
        while page := self._db.all(_SQL["every_attempt"], (dataset, *last, PAGE)):
            yield from map(_attempt, page)
            last = (*page[-1][:2], page[-1][10])

    def add_attempts(self, dataset: int, rows: Sequence[tuple[AttemptFact, int]]) -> None:
        """See `protocol.Tasks`."""
        leases: dict[bytes, int] = dict(
            self._db.ask(_SQL["leases"], {one.lease for one, _ in rows})
        )
        hashes = {one.spec_hash for one, _ in rows}
        specs: dict[bytes, int] = dict(self._db.ask(_SQL["specs"], hashes))
        if missing := sorted(hashes - specs.keys()):
            self._db.many(_SQL["add_specs"], [(one,) for one in missing])
            specs |= dict(self._db.ask(_SQL["specs"], missing))
        flat = [
            (
                dataset, a.step, a.job, a.generation, leases[a.lease], a.pilot_run, a.local,
                _FATE_NUMBER[a.fate], specs[a.spec_hash], *a[8:], segment,
            )
            for a, segment in rows
        ]  # fmt: skip
        self._db.many(_SQL["add_attempts"], flat)

    def pins(self, dataset: int, places: Collection[Place]) -> list[Pin]:
        """See `protocol.Tasks`."""
        return [_pin(row) for row in self._db.ask(_SQL["pins"], places, (dataset,))]

    def every_pin(self, dataset: int) -> Iterator[Pin]:
        """See `protocol.Tasks`."""
        return (_pin(row) for row in self._db.all(_SQL["every_pin"], (dataset,)))

    def add_pins(self, dataset: int, pins: Iterable[Pin]) -> None:
        """See `protocol.Tasks`."""
        flat = [
            (dataset, p.step, p.job, p.generation, p.attempt, p.outcome, *p.epoch, p.commit)
            for p in pins
        ]
        self._db.many(_SQL["add_pins"], flat)

    def add_contradictions(
        self, dataset: int, bundle: int, rows: Sequence[tuple[int, int, str]]
    ) -> None:
        """See `protocol.Tasks`."""
        self._db.many(_SQL["add_contradictions"], [(dataset, *row, bundle) for row in rows])

    def outcomes(self, digests: Collection[bytes]) -> dict[bytes, Outputs]:
        """See `protocol.Tasks`."""
        return {row[0]: _outputs(row[1]) for row in self._db.ask(_SQL["outcomes"], digests)}

    def add_outcomes(self, outcomes: Mapping[bytes, Outputs]) -> None:
        """See `protocol.Tasks`."""
        rows = [(digest, canonical.encode(outputs)) for digest, outputs in outcomes.items()]
        self._db.many(_SQL["add_outcomes"], rows)

    def files(self, digests: Collection[bytes]) -> dict[bytes, FileRow]:
        """See `protocol.Tasks`."""
        return {row[0]: FileRow(*row) for row in self._db.ask(_SQL["files"], digests)}

    def add_files(self, rows: Iterable[FileRow]) -> None:
        """See `protocol.Tasks`."""
        self._db.many(_SQL["add_files"], list(rows))


def _row(row: Found) -> TaskRow:
    return TaskRow(row[0], row[1], row[2], VERDICTS[row[3]], row[4], row[5], row[6])


def _attempt(row: Found) -> AttemptFact:
    return AttemptFact._make((*row[:6], FATES[row[6]], *row[7:]))


def _pin(row: Found) -> Pin:
    step, job, generation, attempt, outcome, counter, nonce, commit = row
    return Pin(step, job, generation, attempt, outcome, Epoch(counter, nonce), commit)


def _outputs(raw: bytes) -> Outputs:
    rows = canonical.decode(raw, STATE_LIMITS, where="outcome")
    return tuple((file, size) for file, size in rows)
