"""The attempts of a segment as typed columns, and back.

Three fields are written as what they differ by from others: usually that is little, and alike for
all rows. docs/bundle-format.md, "Segment", is the specification.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import add, attrgetter, sub
from typing import Any, TypeVar

from bundle import shape
from bundle.canonical import NotEncodable
from bundle.fates import FATES, Fate
from bundle.limits import ATTEMPTS_PER_SEGMENT_MAX, PLACES_PER_SEGMENT_MAX
from bundle.records import columns
from bundle.records.attempt import Attempt, Usage

_T = TypeVar("_T")

DIGEST_BYTES = 32
DIFFERENCES = ("job", "local", "ended_mono_us")  # these grow along the rows
PLAIN = (
    "step",
    "generation",
    "signal",
    "slot",
    "wall_ms",
    "memory_peak_mib",
    "disk_peak_bytes",
    "read_bytes",
    "written_bytes",
)
SIGNED = ("exit_code", "clock_offset_us", "overhead_us", "idle_ms")
REPLACED = ("started_us", "started_mono_us", "cpu_ms")  # by the last three of these
PLACES = ("fate", "software", "evidence")
LISTS = {"consumed": 2, "outputs": 3}  # how many columns each is written as
COLUMNS = (*DIFFERENCES, *PLAIN, *SIGNED, *PLACES, *LISTS)

_PLACE_OF = {fate: place for place, fate in enumerate(FATES)}

Fields = dict[str, Sequence[Any]]


def to_wire(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return how many attempts there are, their columns, and the tables these refer to.

    Raises NotEncodable where a number is no count or there is more than a reader takes.
    """
    _require(len(attempts) <= ATTEMPTS_PER_SEGMENT_MAX, f"{len(attempts)} attempts are too many")
    fields: Fields = {name: _values(attempts, name) for name in Attempt.__slots__}
    fields |= {name: _values(fields["usage"], name) for name in Usage.__slots__}
    consumed = list(chain.from_iterable(fields["consumed"]))
    files = list(chain.from_iterable(fields["outputs"]))
    total = len(consumed) + len(files)
    _require(total <= PLACES_PER_SEGMENT_MAX, f"{total} consumed and outputs are too many")
    digests = _table(chain(consumed, (file for file, _ in files)))
    _require({DIGEST_BYTES}.issuperset(map(len, digests)), "a digest is not of 32 bytes")
    texts = _table(chain(fields["software"], fields["evidence"]))
    packed = {name: columns.pack_differences(fields[name], name) for name in DIFFERENCES}
    packed |= {name: columns.pack(fields[name], name) for name in PLAIN}
    for name, values in (("exit_code", fields["exit_code"]), *_derived(fields)):
        packed[name] = columns.pack(values, name, low=columns.SIGNED_MIN)
    places = [0 if fate is Fate.SUCCESS else _PLACE_OF[fate] for fate in fields["fate"]]
    packed["fate"] = columns.pack(places, "fate")
    for name in ("software", "evidence"):
        packed[name] = columns.pack(list(map(texts.__getitem__, fields[name])), name)
    packed["consumed"] = _lists(fields, "consumed", list(map(digests.__getitem__, consumed)))
    packed["outputs"] = [
        *_lists(fields, "outputs", [digests[file] for file, _ in files]),
        columns.pack([size for _, size in files], "outputs"),
    ]
    return {
        "attempts": len(attempts),
        "columns": packed,
        "digests": b"".join(digests),
        "texts": list(texts),
    }


def from_wire(value: shape.Reader) -> tuple[Attempt, ...]:
    """Read what `to_wire` returns out of a segment's map. Raises WrongShape."""
    packed, count = value.reader("columns"), value.count("attempts")
    if count > ATTEMPTS_PER_SEGMENT_MAX:
        expected = f"at most {ATTEMPTS_PER_SEGMENT_MAX} attempts"
        raise shape.WrongShape(where=f"{value.where}.attempts", expected=expected, found=str(count))
    fields: Fields = {name: columns.differences(packed, name, count) for name in DIFFERENCES}
    fields |= {name: columns.numbers(packed, name, count) for name in PLAIN}
    for name in SIGNED:
        fields[name] = columns.numbers(packed, name, count, low=columns.SIGNED_MIN)
    _restore(fields, packed)
    texts = value.texts("texts")
    for name, table in (("fate", FATES), ("software", texts), ("evidence", texts)):
        places = columns.numbers(packed, name, count, high=len(table) - 1)
        fields[name] = list(map(table.__getitem__, places))
    fields["consumed"], fields["outputs"] = _files(value, count)
    fields["usage"] = _made(Usage, count, fields)
    return tuple(_made(Attempt, count, fields))


def _values(records: Sequence[Any], name: str) -> list[Any]:
    return list(map(attrgetter(name), records))


def _made(record: type[_T], count: int, fields: Fields) -> list[_T]:
    """Return frozen records filled field by field: twice as fast as calling the class for each."""
    made = [record.__new__(record) for _ in range(count)]
    for name in record.__slots__:  # type: ignore[attr-defined]
        put = getattr(record, name).__set__
        deque(map(put, made, fields[name]), maxlen=0)
    return made


def _derived(fields: Fields) -> Iterator[tuple[str, list[int]]]:
    """Yield the columns that stand for started_us, started_mono_us and cpu_ms."""
    for name in REPLACED:
        columns.require_range(fields[name], name)
    wall_ms, began = fields["wall_ms"], fields["started_mono_us"]
    yield "clock_offset_us", list(map(sub, fields["started_us"], began))
    yield "idle_ms", list(map(sub, wall_ms, fields["cpu_ms"]))
    took = map(sub, fields["ended_mono_us"], began)
    beyond = [us - 1000 * ms for us, ms in zip(took, wall_ms, strict=True)]
    yield "overhead_us", columns.wrapped(beyond)


def _restore(fields: Fields, packed: shape.Reader) -> None:
    """Put back the fields that derived columns stand for. Raises WrongShape."""
    wall_ms = fields["wall_ms"]
    took = [us + 1000 * ms for us, ms in zip(fields["overhead_us"], wall_ms, strict=True)]
    began = columns.wrapped(list(map(sub, fields["ended_mono_us"], took)))
    fields["started_mono_us"] = began
    fields["started_us"] = list(map(add, fields["clock_offset_us"], began))
    fields["cpu_ms"] = list(map(sub, wall_ms, fields["idle_ms"]))
    for name in REPLACED:
        columns.require_counts(fields[name], f"{packed.where}: {name}")


def _table(things: Iterable[_T]) -> dict[_T, int]:
    """Return each thing's place in the order of first use."""
    return {one: place for place, one in enumerate(dict.fromkeys(things))}


def _lists(fields: Fields, name: str, places: list[int]) -> list[Any]:
    """Return the columns of an array per attempt: how many, and the places one after the other."""
    counts = columns.pack(list(map(len, fields[name])), name)
    return [counts, columns.pack_differences(places, name, width_min=1)]


def _files(
    value: shape.Reader, count: int
) -> tuple[list[tuple[bytes, ...]], list[tuple[tuple[bytes, int], ...]]]:
    """Return what each attempt consumed and put out. Raises WrongShape.

    A place has a byte at least, so a short segment cannot make many of them; and the table of
    digests ends with one that a place refers to.
    """
    packed, table = value.reader("columns"), value.bytes("digests")
    lists = {name: columns.several(packed, name, many) for name, many in LISTS.items()}
    counts = {name: columns.numbers(one, 0, count) for name, one in lists.items()}
    totals = {name: sum(one) for name, one in counts.items()}
    if (total := sum(totals.values())) > PLACES_PER_SEGMENT_MAX:
        expected = f"at most {PLACES_PER_SEGMENT_MAX} consumed and outputs"
        raise shape.WrongShape(where=packed.where, expected=expected, found=str(total))
    known, odd = divmod(len(table), DIGEST_BYTES)
    places = {
        name: columns.differences(one, 1, totals[name], high=known - 1, width_min=1)
        for name, one in lists.items()
    }
    used = 1 + max((max(one) for one in places.values() if one), default=-1)
    if odd or used != known:
        expected, where = f"{DIGEST_BYTES} bytes for each of {used}", f"{value.where}.digests"
        raise shape.WrongShape(where=where, expected=expected, found=f"{len(table)} bytes")
    sizes = columns.numbers(lists["outputs"], 2, totals["outputs"])
    digests = [table[at : at + DIGEST_BYTES] for at in range(0, len(table), DIGEST_BYTES)]
    flat = {name: map(digests.__getitem__, one) for name, one in places.items()}
    return (
        _grouped(counts["consumed"], flat["consumed"]),
        _grouped(counts["outputs"], zip(flat["outputs"], sizes, strict=True)),
    )


def _grouped(counts: Iterable[int], flat: Iterable[_T]) -> list[tuple[_T, ...]]:
    """Cut what stands one after the other into tuples of those lengths."""
    flow = iter(flat)
    return [tuple(islice(flow, one)) if one else () for one in counts]


def _require(fits: bool, reason: str) -> None:
    if not fits:
        raise NotEncodable(where="segment", reason=reason)
