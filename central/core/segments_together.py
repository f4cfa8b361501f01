"""Many short segments read at once: numpy's price, and Python's, is paid once for all of them.

Only what is evidently sound, in the very form in which this version writes it, is read here. The
rest is `segment_decode`'s, which has the last word: it says why something is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from bundle import canonical, shape
from bundle.fates import FATES
from bundle.limits import PLACES_PER_SEGMENT_MAX
from bundle.records import columns
from bundle.records.attempts import DIFFERENCES, DIGEST_BYTES, LISTS, PLACES, SIGNED
from bundle.records.host import Host
from bundle.records.host import from_wire as host_from_wire
from bundle.records.segment import COLUMNS, SegmentHeader
from central.core import planes
from central.core.segment_columns import (
    Lists,
    Numbers,
    SegmentColumns,
    Whole,
    firsts,
    summaries,
)
from central.core.segment_decode import NUMBERS, decode

BYTES_MAX = 64 << 10  # beyond it, or beyond ROWS_MAX, one at a time is as fast
ROWS_MAX = 1024
ROWS_AT_ONCE = 16 << 10  # whose columns take 4 MiB
STEP_BYTES_MAX = 5  # of a difference: no sum of ROWS_MAX of them leaves 63 bits

_TOP = ("attempts", "columns", "complete", "digests", "header", "salvaged_at", "texts")
_NAMES = tuple(sorted(COLUMNS))
_LENGTHS = {"dataset_digest": 32, "lease": 16, "pilot_run": 8}
_COUNTS = frozenset({"shard", "turn"})
_HEADER = tuple(sorted(SegmentHeader.__slots__))
_HEADER_TYPES = tuple(
    {"host": dict}.get(name) or (bytes if name in _LENGTHS else int if name in _COUNTS else str)
    for name in _HEADER
)
_MOST = planes.BASE_MAX - 1
_LOWS = dict.fromkeys(SIGNED, -_MOST)
_HIGHS = {"wall_ms": _MOST // 1000, "fate": len(FATES) - 1}
_HIGHS |= dict.fromkeys(LISTS, PLACES_PER_SEGMENT_MAX)
_ROWS = (*NUMBERS, *LISTS)
_WIDTHS = [STEP_BYTES_MAX if name in DIFFERENCES else columns.WIDTH_MAX - 1 for name in _ROWS]


@dataclass(frozen=True, slots=True)
class _Short:
    """A short segment in its usual form; nothing of its columns was looked at."""

    header: SegmentHeader
    complete: bool
    salvaged: bool
    count: int
    digests: bytes
    texts: tuple[str, ...]
    columns: dict[str, Any]


def decode_all(raws: Sequence[bytes]) -> list[SegmentColumns]:
    """Read segments. Raises NotCanonical or WrongShape by the first that is refused."""
    found = evident(raws)
    return [one or decode(raw) for one, raw in zip(found, raws, strict=True)]


def evident(raws: Sequence[bytes | None]) -> list[SegmentColumns | None]:
    """Return what is evidently sound of segments' bytes, in their order; None for the rest."""
    found: list[SegmentColumns | None] = [None] * len(raws)
    hosts: dict[bytes, Host] = {}
    some: list[tuple[int, _Short]] = []
    rows = 0
    for place, raw in enumerate(raws):
        short = _short(raw, hosts) if raw is not None and len(raw) <= BYTES_MAX else None
        if short is None:
            continue
        if rows + short.count > ROWS_AT_ONCE:
            _take(found, some)
            some, rows = [], 0
        some.append((place, short))
        rows += short.count
    _take(found, some)
    return found


def _take(found: list[SegmentColumns | None], some: list[tuple[int, _Short]]) -> None:
    """Put the columns of segments in their places, or of none of them where one is odd."""
    if some:
        several = [short for _, short in some]
        for (place, _), columns_ in zip(some, _together(several), strict=False):
            found[place] = columns_


def _short(raw: bytes, hosts: dict[bytes, Host]) -> _Short | None:
    """Return a segment whose maps have the usual keys and are canonical; lists are not looked at.

    What is encoded again to the very same bytes has minimal forms and no key twice, and the keys
    are compared with those in canonical order. What else is in it are lists of two or three, and
    texts: never so many elements, or so deep, as a segment may have.
    """
    try:
        value = msgpack.unpackb(raw, raw=False, strict_map_key=True, use_list=True)
        if type(value) is not dict or tuple(value) != _TOP:
            return None
        count, of, complete, digests, head, salvaged_at, texts = value.values()
        if type(count) is not int or not 0 < count <= ROWS_MAX or type(complete) is not bool:
            return None
        if type(of) is not dict or tuple(of) != _NAMES or type(digests) is not bytes:
            return None
        if salvaged_at is not None and (type(salvaged_at) is not int or salvaged_at < 0):
            return None
        if type(texts) is not list or set(map(type, texts)) - {str}:
            return None
        header = _header(head, hosts)
        if header is None or msgpack.packb(value, use_bin_type=True, strict_types=True) != raw:
            return None
    except Exception:  # of whatever kind: the strict reader finds it again, and says what it is
        return None
    salvaged = salvaged_at is not None
    return _Short(header, complete, salvaged, count, digests, tuple(texts), of)


def _header(value: Any, hosts: dict[bytes, Host]) -> SegmentHeader | None:
    """Return a header in its usual form. `hosts`: those that were read before, by their bytes."""
    if type(value) is not dict or tuple(value) != _HEADER:
        return None
    if tuple(map(type, value.values())) != _HEADER_TYPES:
        return None
    host = value["host"]
    key = msgpack.packb(host, use_bin_type=True)
    if value["shard"] < 0 or value["turn"] < 0:
        return None
    if any(len(value[name]) != length for name, length in _LENGTHS.items()):
        return None
    if key not in hosts:
        if canonical.encode(host) != key:
            return None
        hosts[key] = host_from_wire(shape.Reader(host, "segment.header.host"))
    return SegmentHeader(**{**value, "host": hosts[key]})


def _together(several: Sequence[_Short]) -> Iterator[SegmentColumns]:
    """Yield the columns of segments, laid one after the other; nothing where one is odd."""
    counts = np.array([one.count for one in several])
    whole = _whole(several, counts)
    if whole is None:
        return
    first = firsts(counts)
    lists = _lists(several, whole, first)
    if lists is None:
        return
    (consumed, outputs), sizes = lists
    for one, summary, low in zip(several, summaries(whole, first), first.tolist(), strict=False):
        past = low + one.count + 1
        yield SegmentColumns(
            *(one.header, one.complete, one.salvaged, one.count, one.digests, one.texts),
            Lists(consumed.first[low:past], consumed.flat),
            Lists(outputs.first[low:past], outputs.flat),
            *(sizes, summary, whole, low),
        )


def _whole(several: Sequence[_Short], counts: Numbers) -> Whole | None:
    """Return all columns but the lists' own, those that derived ones stand for put back."""
    parts = [[one.columns[name] for one in several] for name in NUMBERS]
    for name, length in LISTS.items():
        lists = [one.columns[name] for one in several]
        if set(map(type, lists)) != {list} or set(map(len, lists)) != {length}:
            return None
        parts.append([one[0] for one in lists])
    many = len(several)
    widths = np.repeat(_WIDTHS, many)
    every = [column for part in parts for column in part]
    found = planes.spread(every, np.tile(counts, len(parts)), np.zeros_like(widths), widths)
    if found is None:
        return None
    rising = len(DIFFERENCES) * many
    summed, plain = found.part(0, rising).summed(), found.part(rising, len(every)).plain()
    rows = np.concatenate([summed, plain]).reshape(len(parts), -1)
    at = firsts(counts)[:-1]
    bounds = [edge.reduceat(rows, at, axis=1) for edge in (np.minimum, np.maximum)]
    if not _allowed(several, (found.bases.reshape(len(parts), many), *bounds)):
        return None
    whole: Whole = dict(zip(_ROWS, rows, strict=True))
    return whole if _restore(whole) else None


def _allowed(several: Sequence[_Short], of: Sequence[Numbers]) -> bool:
    """Return whether bases and bounds of all columns, a row each, are what they may be."""
    lows = np.array([_LOWS.get(name, 0) for name in _ROWS])[:, None]
    highs = np.repeat([[_HIGHS.get(name, _MOST)] for name in _ROWS], len(several), axis=1)
    for name in PLACES[1:]:
        highs[_ROWS.index(name)] = [len(one.texts) - 1 for one in several]
    return not any((one < lows).any() or (one > highs).any() for one in of)


def _restore(whole: Whole) -> bool:
    """Put back the fields that derived columns stand for; return whether they are counts."""
    offset, overhead, idle = (whole.pop(name) for name in SIGNED[1:])
    wall = whole["wall_ms"]
    began = whole["ended_mono_us"] - (overhead + 1000 * wall)
    back = {"started_mono_us": began, "started_us": offset + began, "cpu_ms": wall - idle}
    whole |= back
    return all(int(one.min()) >= 0 for one in back.values())


def _lists(
    several: Sequence[_Short], whole: Whole, first: Numbers
) -> tuple[tuple[Lists, Lists], Numbers] | None:
    """Return consumed and outputs of all attempts, and the sizes of outputs."""
    starts = {name: firsts(whole[name]) for name in LISTS}
    totals = [np.diff(starts[name][first]) for name in LISTS]
    if (totals[0] + totals[1] > PLACES_PER_SEGMENT_MAX).any():
        return None
    of = [one.columns for one in several]
    every = [one["consumed"][1] for one in of]
    every += [one["outputs"][1] for one in of]
    every += [one["outputs"][2] for one in of]
    many = len(several)
    least, most = np.repeat([1, 1, 0], many), np.repeat([4, 4, columns.WIDTH_MAX - 1], many)
    found = planes.spread(every, np.concatenate([*totals, totals[1]]), least, most)
    if found is None or (found.bases < 0).any():
        return None
    known, odd = np.divmod([len(one.digests) for one in several], DIGEST_BYTES)
    flat, sizes = found.part(0, 2 * many).summed(), found.part(2 * many, 3 * many).plain()
    if odd.any() or not _fit(flat, np.concatenate(totals), known, found.bases[: 2 * many]):
        return None
    if len(sizes) and (sizes.min() < 0 or sizes.max() > _MOST):
        return None
    split = int(totals[0].sum())
    consumed = Lists(starts["consumed"], flat[:split])
    return (consumed, Lists(starts["outputs"], flat[split:])), sizes


def _fit(flat: Numbers, counts: Numbers, known: Numbers, bases: Numbers) -> bool:
    """Return whether places are inside tables of so many, and the last place of each is used."""
    some = counts > 0
    top = np.full(len(counts), -1, np.int64)
    if some.any():
        at = (np.cumsum(counts) - counts)[some]
        if int(flat.min()) < 0:
            return False
        top[some] = np.maximum.reduceat(flat, at)
    if (bases > np.maximum(np.tile(known, 2) - 1, 0)).any():
        return False
    half = len(counts) // 2
    return bool((np.maximum(top[:half], top[half:]) + 1 == known).all())
