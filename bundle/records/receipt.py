"""A receipt: what became of a stream's bundles, as central signs it into the next work bundle.

Interval sets only grow, so any later receipt repairs the loss of earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import shape
from bundle.ids import StreamId
from bundle.intervals import IntervalSet

NUMBER_MAX = 2**63 - 1
_NONE = IntervalSet()


@dataclass(frozen=True, slots=True)
class StreamReceipt:
    """Dispositions of one stream's bundles by sequence number.

    `safe` is what the site may delete; it is part of what arrived. `refused` names code by number.
    """

    stream: StreamId
    merged: IntervalSet = _NONE
    safe: IntervalSet = _NONE
    parked: IntervalSet = _NONE
    refused: tuple[tuple[int, str], ...] = ()

    def arrived(self) -> IntervalSet:
        """Return every number that arrived, whatever became of it."""
        refused = IntervalSet.of(sequence for sequence, _ in self.refused)
        return self.merged | self.safe | self.parked | refused


def to_wire(receipt: StreamReceipt) -> list[Any]:
    """Return `[stream, merged, safe, parked, refused]` as plain values."""
    return [
        receipt.stream,
        receipt.merged.to_wire(),
        receipt.safe.to_wire(),
        receipt.parked.to_wire(),
        [[sequence, code] for sequence, code in receipt.refused],
    ]


def from_wire(row: shape.Reader) -> StreamReceipt:
    """Read one receipt. Raises WrongShape."""
    return StreamReceipt(
        stream=StreamId(row.bytes(0, 16)),
        merged=intervals(row, 1),
        safe=intervals(row, 2),
        parked=intervals(row, 3),
        refused=tuple((_number(one), one.text(1)) for one in row.readers(4)),
    )


def _number(row: shape.Reader) -> int:
    sequence = row.count(0)
    if sequence > NUMBER_MAX:
        raise shape.WrongShape(where=row.where, expected="a number", found=str(sequence))
    return sequence


def intervals(row: shape.Reader, key: str | int) -> IntervalSet:
    """Read `[[first, count], ...]`: ascending, apart, none empty, below 2^63. Raises WrongShape."""
    spans: list[tuple[int, int]] = []
    for run in row.readers(key):
        first, count = run.count(0), run.count(1)
        apart = not spans or first > spans[-1][1]
        if (
            not 0 < count <= NUMBER_MAX
            or not apart
            or first + count > NUMBER_MAX + 1
            or len(run.value) != 2
        ):
            found = f"first {first}, count {count}"
            raise shape.WrongShape(where=run.where, expected="the next run", found=found)
        spans.append((first, first + count))
    return IntervalSet(tuple(spans))
