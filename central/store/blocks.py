"""States of blocks, and counters of steps: see `protocol.Tasks`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from central.core.changes import UsageSum
from central.core.facts import Verdict
from central.store.connection import Connection, Found
from central.store.rows import BlockKey, BlockRow, StepRow
from central.store.statements import statements

_SQL = statements("blocks")
PAGE = 64  # blocks that are held at once while all are gone through: 4 MiB at most


class StoredBlocks:
    """The first half of `protocol.Tasks`."""

    def __init__(self, connection: Connection) -> None:
        """Work on an open connection."""
        self._db = connection

    def blocks(self, dataset: int, keys: Collection[BlockKey]) -> dict[BlockKey, bytes]:
        """See `protocol.Tasks`."""
        found = self._db.ask(_SQL["blocks"], keys, (dataset,))
        return {(step, block): state for step, block, state in found}

    def every_block(self, dataset: int) -> Iterator[BlockRow]:
        """See `protocol.Tasks`."""
        last: tuple[int, int] = (-1, -1)
        while page := self._db.all(_SQL["every_block"], (dataset, *last, PAGE)):
            yield from (BlockRow(*row) for row in page)
            last = page[-1][:2]

    def blocks_with(
        self, dataset: int, word: Verdict, limit: int, after: BlockKey = (-1, -1)
    ) -> list[BlockKey]:
        """See `protocol.Tasks`."""
        if word not in (Verdict.READY, Verdict.FAILED):
            raise ValueError(word)
        step, block = after
        found = self._db.all(_SQL[f"blocks_{word.value}"], (dataset, block, step, limit))
        return [(step, block) for step, block in found]

    def save_blocks(self, dataset: int, rows: Sequence[BlockRow]) -> None:
        """See `protocol.Tasks`."""
        self._db.many(_SQL["save_blocks"], [(dataset, *row) for row in sorted(rows)])

    def steps(self, dataset: int) -> list[StepRow]:
        """See `protocol.Tasks`."""
        return self.steps_of([dataset]).get(dataset, [])

    def steps_of(self, numbers: Collection[int]) -> dict[int, list[StepRow]]:
        """See `protocol.Tasks`."""
        found: dict[int, list[StepRow]] = {}
        for row in self._db.ask(_SQL["steps_of"], numbers):
            found.setdefault(row[0], []).append(_step(row))
        return found

    def add_to_steps(self, dataset: int, rows: Sequence[StepRow]) -> None:
        """See `protocol.Tasks`."""
        flat = []
        for row in sorted(rows, key=lambda one: one.step):
            u = row.usage
            used = (u.attempts, u.wall_ms, u.cpu_ms, u.read_bytes, u.written_bytes)
            values = (dataset, row.step, *row.verdicts, row.known, *used, u.memory_peak_mib)
            flat.append(values)
        self._db.many(_SQL["add_to_steps"], flat)

    def set_steps(self, dataset: int, rows: Sequence[StepRow]) -> None:
        """See `protocol.Tasks`."""
        ordered = sorted(rows, key=lambda one: one.step)
        flat = [(dataset, row.step, *row.verdicts, row.known) for row in ordered]
        self._db.many(_SQL["set_steps"], flat)


def _step(row: Found) -> StepRow:
    return StepRow(row[1], tuple(row[2:9]), row[9], UsageSum(*row[10:]))
