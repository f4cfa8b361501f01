"""A segment's attempts as numpy columns: what merges thousands of results at once.

The strict reader of one record at a time is `bundle.records.attempts`. This one takes what is
evidently sound many at a time and leaves the last word on the rest to that one's columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bundle import canonical, shape
from bundle.digest import digest, start
from bundle.fates import FATES, Fate
from bundle.limits import (
    ATTEMPTS_PER_SEGMENT_MAX,
    PLACES_PER_SEGMENT_MAX,
    SEGMENT_LIMITS,
)
from bundle.records import columns, segment
from bundle.records.attempt import Attempt, Usage
from bundle.records.attempts import DIFFERENCES, DIGEST_BYTES, PLACES, PLAIN, SIGNED
from bundle.records.segment import SegmentHeader
from central.core import planes

Numbers = npt.NDArray[np.int64]

SUCCESS = FATES.index(Fate.SUCCESS)
NUMBERS = (*DIFFERENCES, *PLAIN, *SIGNED, *PLACES)
LISTS = {"consumed": 2, "outputs": 3}  # how many columns each is written as
_LOWS = np.array([columns.SIGNED_MIN if name in SIGNED else 0 for name in (*NUMBERS, *LISTS)])
_HIGHS = [columns.COUNT_MAX] * (len(NUMBERS) - len(PLACES))
_EVIDENT = planes.BASE_MAX


@dataclass(frozen=True, slots=True)
class Lists:
    """An array per attempt: attempt n has `flat[first[n]:first[n + 1]]`, places in a table."""

    first: Numbers  # one more than attempts
    flat: Numbers

    def counts(self) -> Numbers:
        """Return how many each attempt has."""
        return np.diff(self.first)


@dataclass(frozen=True)
class SegmentColumns:
    """One segment. All columns have `count` numbers; `digests` is the table lists refer to."""

    header: SegmentHeader
    complete: bool
    salvaged: bool
    count: int
    digests: bytes
    texts: tuple[str, ...]
    consumed: Lists
    outputs: Lists
    sizes: Numbers  # bytes, beside outputs.flat
    _columns: dict[str, Numbers] = field(repr=False)

    def __getitem__(self, name: str) -> Numbers:
        """Return a column by the name of its field."""
        return self._columns[name]

    @cached_property
    def succeeded(self) -> npt.NDArray[np.bool_]:
        """Which attempts are successes."""
        return np.asarray(self["fate"] == SUCCESS)

    def outcome(self, row: int) -> bytes:
        """Return the digest that stands for all outputs of an attempt."""
        return digest("outcome", self._joined(self.outputs, row))

    def outcomes(self, rows: Sequence[int]) -> list[bytes]:
        """Return the outcomes of many attempts."""
        first, flat, table = self.outputs.first, self.outputs.flat, self.digests
        begun, none = start("outcome"), digest("outcome", b"")
        found = []
        for row in rows:
            low, past = int(first[row]), int(first[row + 1])
            if low == past:
                found.append(none)
                continue
            running = begun.copy()
            for place in flat[low:past].tolist():
                running.update(table[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES])
            found.append(running.digest())
        return found

    def consumed_bytes(self, row: int) -> bytes:
        """Return the outcomes that an attempt consumed, one after the other."""
        return self._joined(self.consumed, row)

    def outputs_of(self, row: int) -> tuple[tuple[bytes, int], ...]:
        """Return (file digest, size in bytes) of each output of an attempt."""
        low, past = int(self.outputs.first[row]), int(self.outputs.first[row + 1])
        places = self.outputs.flat[low:past].tolist()
        sizes = self.sizes[low:past].tolist()
        return tuple((self._digest(one), size) for one, size in zip(places, sizes, strict=True))

    def attempt(self, row: int) -> Attempt:
        """Return one attempt as a record."""
        low, past = int(self.consumed.first[row]), int(self.consumed.first[row + 1])
        of = {name: int(values[row]) for name, values in self._columns.items()}
        return Attempt(
            **{name: of[name] for name in segment.ATTEMPT_NUMBERS},
            fate=FATES[of["fate"]],
            usage=Usage(**{name: of[name] for name in Usage.__slots__}),
            consumed=tuple(self._digest(one) for one in self.consumed.flat[low:past].tolist()),
            outputs=self.outputs_of(row),
            software=self.texts[of["software"]],
            evidence=self.texts[of["evidence"]],
        )

    def _joined(self, lists: Lists, row: int) -> bytes:
        low, past = int(lists.first[row]), int(lists.first[row + 1])
        return b"".join(map(self._digest, lists.flat[low:past].tolist()))

    def _digest(self, place: int) -> bytes:
        return self.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]


def distinct(values: Numbers) -> list[int]:
    """Return the numbers that occur, ascending, each once."""
    if not len(values):
        return []
    low, high = int(values.min()), int(values.max())
    return [low] if low == high else np.unique(values).tolist()


def decode(raw: bytes) -> SegmentColumns:
    """Read a segment's bytes. Raises NotCanonical or WrongShape, as `segment.decode` does."""
    value = shape.Reader.of(canonical.decode(raw, SEGMENT_LIMITS, where="segment"), "segment")
    salvaged = value.has("salvaged_at") and value.count("salvaged_at") >= 0
    header = segment.header_from_wire(value.reader("header"))
    count = value.count("attempts")
    if count > ATTEMPTS_PER_SEGMENT_MAX:
        expected = f"at most {ATTEMPTS_PER_SEGMENT_MAX} attempts"
        raise shape.WrongShape(where="segment.attempts", expected=expected, found=str(count))
    packed = value.reader("columns")
    texts = tuple(value.texts("texts"))
    found = _together(packed, count, len(texts)) or _in_turn(packed, count, len(texts))
    counts = {name: found.pop(name) for name in LISTS}
    _restore(found, packed)
    table = value.bytes("digests")
    consumed, outputs, sizes = _lists(packed, table, counts)
    complete = value.flag("complete")
    return SegmentColumns(
        header, complete, salvaged, count, table, texts, consumed, outputs, sizes, found
    )


def _together(packed: shape.Reader, count: int, texts: int) -> dict[str, Numbers] | None:
    """Return the columns of few attempts; None leaves them to the stricter way."""
    of = packed.value
    if not 0 < count <= planes.ROWS_MAX or type(of) is not dict:
        return None
    if any(type(of.get(name)) is not list or not of[name] for name in LISTS):
        return None
    several = [*map(of.get, NUMBERS), *(of[name][0] for name in LISTS)]
    places = [PLACES_PER_SEGMENT_MAX] * len(LISTS)
    highs = np.array([*_HIGHS, len(FATES) - 1, texts - 1, texts - 1, *places])
    found = planes.together(several, count, _LOWS, highs, len(DIFFERENCES))
    return None if found is None else dict(zip((*NUMBERS, *LISTS), found, strict=True))


def _in_turn(packed: shape.Reader, count: int, texts: int) -> dict[str, Numbers]:
    """Read the columns one after the other. Raises WrongShape."""
    found = {name: _differences(packed, name, count) for name in DIFFERENCES}
    found |= {name: _numbers(packed, name, count) for name in PLAIN}
    found |= {name: _numbers(packed, name, count, low=columns.SIGNED_MIN) for name in SIGNED}
    for name, length in zip(PLACES, (len(FATES), texts, texts), strict=True):
        found[name] = _numbers(packed, name, count, high=length - 1)
    for name, length in LISTS.items():
        row = _row(packed, name, length)
        found[name] = _numbers(row, 0, count, high=PLACES_PER_SEGMENT_MAX)
    return found


def _restore(found: dict[str, Numbers], packed: shape.Reader) -> None:
    """Put back the fields that derived columns stand for. Raises WrongShape."""
    offset, overhead, idle = (found.pop(name) for name in SIGNED[1:])
    ended, wall = found["ended_mono_us"], found["wall_ms"]
    if _are_evident((offset, overhead, idle, ended)) and _top(wall) < _EVIDENT // 1000:
        began = ended - (overhead + 1000 * wall)
        found["started_mono_us"], found["started_us"] = began, offset + began
        found["cpu_ms"] = wall - idle
    else:
        lists = [one.tolist() for one in (offset, overhead, idle, ended, wall)]
        rows = list(zip(*lists, strict=True))
        start_us = columns.wrapped([end - (over + 1000 * ms) for _, over, _, end, ms in rows])
        found["started_mono_us"] = _checked(packed, "started_mono_us", start_us)
        wall_clock = [row[0] + one for row, one in zip(rows, start_us, strict=True)]
        found["started_us"] = _checked(packed, "started_us", wall_clock)
        found["cpu_ms"] = _checked(packed, "cpu_ms", [row[4] - row[2] for row in rows])
    for name in ("started_mono_us", "started_us", "cpu_ms"):
        if len(found[name]) and int(found[name].min()) < 0:
            _checked(packed, name, found[name].tolist())


def _checked(packed: shape.Reader, name: str, values: list[int]) -> Numbers:
    columns.require_counts(values, f"{packed.where}: {name}")
    return np.array(values, dtype=np.int64)


def _lists(
    packed: shape.Reader, table: bytes, counts: dict[str, Numbers]
) -> tuple[Lists, Lists, Numbers]:
    """Return consumed and outputs, and the sizes of outputs. Raises WrongShape."""
    rows = {name: _row(packed, name, length) for name, length in LISTS.items()}
    firsts: dict[str, Numbers] = {}
    for name, many in counts.items():
        firsts[name] = np.zeros(len(many) + 1, np.int64)
        np.cumsum(many, out=firsts[name][1:])
    totals = {name: int(first[-1]) for name, first in firsts.items()}
    if (total := sum(totals.values())) > PLACES_PER_SEGMENT_MAX:
        expected = f"at most {PLACES_PER_SEGMENT_MAX} consumed and outputs"
        raise shape.WrongShape(where=packed.where, expected=expected, found=str(total))
    known, odd = divmod(len(table), DIGEST_BYTES)
    found = {
        name: _differences(row, 1, totals[name], high=known - 1, width_min=1)
        for name, row in rows.items()
    }
    used = 1 + max((_top(one) for one in found.values() if len(one)), default=-1)
    if odd or used != known:
        expected = f"{DIGEST_BYTES} bytes for each of {used}"
        where = "segment.digests"
        raise shape.WrongShape(where=where, expected=expected, found=f"{len(table)} bytes")
    sizes = _numbers(rows["outputs"], 2, totals["outputs"])
    consumed = Lists(firsts["consumed"], found["consumed"])
    return consumed, Lists(firsts["outputs"], found["outputs"]), sizes


def _row(packed: shape.Reader, name: str, length: int) -> shape.Reader:
    row = packed.reader(name)
    if type(row.value) is not list or len(row.value) != length:
        expected, found = f"an array of {length} columns", f"{len(row.value)} values"
        raise shape.WrongShape(where=row.where, expected=expected, found=found)
    return row


def _numbers(
    packed: shape.Reader,
    name: str | int,
    count: int,
    *,
    low: int = 0,
    high: int = columns.COUNT_MAX,
) -> Numbers:
    """Read a plain column. Raises WrongShape."""
    column = _planes(packed, name, count, 0)
    if column is not None:
        base, found, beyond = column
        fits = base + beyond <= high or base + _top(found) <= high
        if fits and max(low, -_EVIDENT) <= base < _EVIDENT:
            return found + base if base else found
    strict = columns.numbers(packed, name, count, low=low, high=high)
    return np.array(list(strict), dtype=np.int64)


def _differences(
    packed: shape.Reader,
    name: str | int,
    count: int,
    *,
    high: int = columns.COUNT_MAX,
    width_min: int = 0,
) -> Numbers:
    """Read a column of differences. Raises WrongShape."""
    column = _planes(packed, name, count, width_min)
    if column is None and not count and _is_nothing(packed.value, name):
        return np.zeros(0, np.int64)
    if column is not None:
        base, found, beyond = column
        if 0 <= base <= min(high, _EVIDENT) and beyond < _EVIDENT // ATTEMPTS_PER_SEGMENT_MAX:
            steps = (found >> 1) ^ -(found & 1)
            steps[0] += base
            values: Numbers = np.cumsum(steps)
            if int(values.min()) >= 0 and int(values.max()) <= high:
                return values
    strict = columns.differences(packed, name, count, high=high, width_min=width_min)
    return np.array(list(strict), dtype=np.int64)


def _planes(
    packed: shape.Reader, name: str | int, count: int, width_min: int
) -> tuple[int, Numbers, int] | None:
    """Return base, numbers, and what none of these is beyond, of an evidently sound column.

    None leaves it to the strict reader.
    """
    try:
        column: Any = packed.value[name]
    except (KeyError, IndexError, TypeError):
        return None
    return planes.single(column, count, width_min)


def _is_nothing(several: Any, name: str | int) -> bool:
    """Return whether a column of a list of columns is that of no numbers."""
    if type(several) is not list or type(name) is not int:
        return False
    column = several[name]
    return bool(column == [0, b""]) and type(column[0]) is int


def _are_evident(several: tuple[Numbers, ...]) -> bool:
    """Return whether no number of columns of one length is so large that sums may leave 63 bits."""
    if not len(several[0]):
        return True
    every = np.concatenate(several)
    return int(every.max()) < _EVIDENT and int(every.min()) > -_EVIDENT


def _top(values: Numbers) -> int:
    return int(values.max()) if len(values) else 0
