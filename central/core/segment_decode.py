"""A segment's bytes read as columns, one column after the other.

The strict reader of one record at a time is `bundle.records.attempts`. This one takes a column that
is evidently sound as a whole and leaves the last word on others to `bundle.records.columns`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bundle import canonical, shape
from bundle.fates import FATES
from bundle.limits import ATTEMPTS_PER_SEGMENT_MAX, PLACES_PER_SEGMENT_MAX, SEGMENT_LIMITS
from bundle.records import columns, segment
from bundle.records.attempts import DIFFERENCES, DIGEST_BYTES, LISTS, PLACES, PLAIN, SIGNED
from central.core import planes
from central.core.segment_columns import (
    EMPTY,
    Lists,
    Numbers,
    SegmentColumns,
    firsts,
    summaries,
)

NUMBERS = (*DIFFERENCES, *PLAIN, *SIGNED, *PLACES)
_EVIDENT = planes.BASE_MAX


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
    found = _columns(packed, count, len(texts))
    _restore(found, packed)
    table = value.bytes("digests")
    consumed, outputs, sizes = _lists(packed, table, {name: found[name] for name in LISTS})
    complete = value.flag("complete")
    summary = summaries(found, firsts([count]))[0] if count else EMPTY
    return SegmentColumns(
        header, complete, salvaged, count, table, texts, consumed, outputs, sizes, summary, found
    )


def _columns(packed: shape.Reader, count: int, texts: int) -> dict[str, Numbers]:
    """Read the columns one after the other. Raises WrongShape."""
    found = {name: _differences(packed, name, count) for name in DIFFERENCES}
    found |= {name: _numbers(packed, name, count) for name in PLAIN}
    found |= {name: _numbers(packed, name, count, low=columns.SIGNED_MIN) for name in SIGNED}
    for name, length in zip(PLACES, (len(FATES), texts, texts), strict=True):
        found[name] = _numbers(packed, name, count, high=length - 1)
    for name, length in LISTS.items():
        row = columns.several(packed, name, length)
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
    rows = {name: columns.several(packed, name, length) for name, length in LISTS.items()}
    first = {name: firsts(many) for name, many in counts.items()}
    totals = {name: int(one[-1]) for name, one in first.items()}
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
    consumed = Lists(first["consumed"], found["consumed"])
    return consumed, Lists(first["outputs"], found["outputs"]), sizes


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
