"""A task's time series: a few points in few bytes. Lossy by contract, like all telemetry.

Each point tells the highest value of every column since the point before.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle import shape

SERIES_BYTES_MAX = 512  # of one task
POINTS_MAX = 4096  # a reader refuses more
_NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Point:
    """The highest values between the point before and `at_ms` after the task's start.

    `cpu_milli` is 1000 for one core in use; GPU figures are of all the task's devices together.
    """

    at_ms: int
    memory_mib: int = 0
    cpu_milli: int = 0
    read_kib_s: int = 0
    written_kib_s: int = 0
    disk_mib: int = 0
    processes: int = 0
    gpu_milli: int = 0
    gpu_memory_mib: int = 0


COLUMNS = Point.__slots__


def encode(points: tuple[Point, ...]) -> bytes:
    """Return the bytes: count, mask of the columns with a number other than 0, their columns.

    All numbers are base 128, the lowest seven bits first. A column holds differences, each
    zig-zag (0, -1, 1, -2 as 0, 1, 2, 3); the first is to 0.
    """
    columns = [[getattr(point, name) for point in points] for name in COLUMNS]
    mask = sum(1 << place for place, column in enumerate(columns) if any(column))
    raw = bytearray()
    _put(raw, len(points))
    _put(raw, mask)
    for column in filter(any, columns):
        before = 0
        for number in column:
            step, before = number - before, number
            _put(raw, 2 * step if step >= 0 else -2 * step - 1)
    return bytes(raw)


def decode(raw: bytes) -> tuple[Point, ...]:
    """Read a series; columns of a later version are passed over. Raises WrongShape."""
    count, at = _taken(raw, 0)
    mask, at = _taken(raw, at)
    if count > POINTS_MAX or mask >= 1 << 16:
        raise _wrong(f"{count} points, mask {mask:#x}")
    found = {name: [0] * count for name in COLUMNS}
    for place in range(mask.bit_length()):
        if mask >> place & 1:
            column = []
            number = 0
            for _ in range(count):
                step, at = _taken(raw, at)
                number += step // 2 if step % 2 == 0 else -(step + 1) // 2
                if not 0 <= number <= _NUMBER_MAX:
                    raise _wrong(f"the number {number}")
                column.append(number)
            if place < len(COLUMNS):
                found[COLUMNS[place]] = column
    if at != len(raw):
        raise _wrong(f"{len(raw) - at} bytes behind it")
    return tuple(Point(*row) for row in zip(*found.values(), strict=True))


def _put(raw: bytearray, number: int) -> None:
    while number >= 128:
        raw.append(number & 127 | 128)
        number >>= 7
    raw.append(number)


def _taken(raw: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(10):
        if at >= len(raw):
            raise _wrong("its end inside a number")
        number |= (raw[at] & 127) << 7 * place
        at += 1
        if raw[at - 1] < 128:
            return number, at
    raise _wrong("a number of more than ten bytes")


def _wrong(found: str) -> shape.WrongShape:
    return shape.WrongShape(where="series", expected="a task's series", found=found)
