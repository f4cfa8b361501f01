"""Which numbers of each stream have not arrived, and whether the chain fits. Pure.

Every bundle names its number in its producer's stream and the bundle before it, so a gap shows by
number, and two bundles of one number show too. Both of such two are kept: two ticks of one relay
at once are honest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bundle.ids import BundleId, StreamId
from bundle.intervals import IntervalSet
from bundle.media.facts import Facts

_NONE = IntervalSet()


@dataclass(frozen=True, slots=True)
class StreamGaps:
    """One stream as far as it was seen.

    `missing` lies between the lowest and the highest number that came, `before` below the lowest
    (earlier trips may have brought it). `rivals` are numbers with more than one bundle;
    `breaks` numbers whose bundle names another predecessor than the one that is here.
    """

    producer: str
    stream: StreamId
    came: IntervalSet
    missing: IntervalSet
    before: IntervalSet
    rivals: tuple[tuple[int, tuple[BundleId, ...]], ...] = ()
    breaks: IntervalSet = _NONE

    @property
    def is_sound(self) -> bool:
        """Whether nothing between is missing and no number has two bundles."""
        return not self.missing.spans and not self.rivals and not self.breaks.spans

    def document(self) -> dict[str, Any]:
        """Return it as plain values; sets of numbers are `[[first, count], ...]`."""
        return {
            "producer": self.producer,
            "stream": self.stream.hex(),
            "came": self.came.to_wire(),
            "missing": self.missing.to_wire(),
            "before": self.before.to_wire(),
            "rivals": [{"sequence": n, "bundles": list(ids)} for n, ids in self.rivals],
            "breaks": self.breaks.to_wire(),
        }


def find_gaps(facts: Iterable[Facts]) -> list[StreamGaps]:
    """Return the gaps per producer and stream, sorted; repeats and order change nothing."""
    streams: dict[tuple[str, StreamId], dict[int, dict[BundleId, bytes]]] = {}
    for one in facts:
        numbers = streams.setdefault((one.producer, one.stream), {})
        numbers.setdefault(one.sequence, {})[one.id] = one.previous
    return [
        _gaps(producer, stream, streams[producer, stream]) for producer, stream in sorted(streams)
    ]


def _gaps(producer: str, stream: StreamId, numbers: dict[int, dict[BundleId, bytes]]) -> StreamGaps:
    came = IntervalSet.of(numbers)
    before = IntervalSet(((0, came.spans[0][0]),)) if came.spans[0][0] else IntervalSet()
    breaks = IntervalSet.of(
        number
        for number, bundles in numbers.items()
        if any(_is_broken(previous, numbers.get(number - 1)) for previous in bundles.values())
    )
    return StreamGaps(
        producer=producer,
        stream=stream,
        came=came,
        missing=came.gaps() - before,
        before=before,
        rivals=tuple(
            (number, tuple(sorted(numbers[number])))
            for number in sorted(numbers)
            if len(numbers[number]) > 1
        ),
        breaks=breaks,
    )


def _is_broken(previous: bytes, here: dict[BundleId, bytes] | None) -> bool:
    return here is not None and previous.hex() not in here


def words(found: StreamGaps) -> str:
    """Return one line for a person."""
    name = f"{found.producer}, stream {found.stream.hex()[:8]}"
    said = [f"{numbers(found.came)} came"]
    if found.missing.spans:
        said.append(f"{numbers(found.missing)} have not arrived")
    if found.before.spans:
        said.append(f"{numbers(found.before)} are not here (an earlier trip?)")
    for sequence, ids in found.rivals:
        said.append(f"{sequence} has {len(ids)} bundles: {', '.join(one[:16] for one in ids)}")
    if found.breaks.spans:
        said.append(f"{numbers(found.breaks)} name another predecessor than the one here")
    return f"{name}: {'; '.join(said)}"


def numbers(found: IntervalSet) -> str:
    """Return a set of numbers as `3, 7-9`."""
    return ", ".join(
        str(first) if past - first == 1 else f"{first}-{past - 1}" for first, past in found.spans
    )
