"""A mergeable sketch of many amounts: how many fell into which of a fixed set of buckets.

A bucket is as wide as a 64th of its lower edge at most, so what is read off is at most 1/64 too
high. Sketches add up: any order, any split and any grouping of the same amounts gives the same
sketch and the same bytes. An upper confidence bound of a quantile is an order statistic: no shape
of the distribution is assumed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgpack

from bundle import shape

if TYPE_CHECKING:
    import numpy as np

BITS = 6  # of an amount that tell buckets apart
AMOUNT_MAX = 2**44  # what is larger counts as this
EXACT_MAX = 100_000  # amounts up to which ranks are exact; beyond, the normal tail is


@dataclass(frozen=True, slots=True)
class Sketch:
    """`buckets`: (bucket, how many amounts, at least 1), ascending."""

    buckets: tuple[tuple[int, int], ...] = ()

    @property
    def count(self) -> int:
        """How many amounts went in."""
        return sum(many for _, many in self.buckets)

    def __add__(self, other: Sketch) -> Sketch:
        """Return the sketch of all amounts of both."""
        if not (self.buckets and other.buckets):
            return self if self.buckets else other
        counts = dict(self.buckets)
        for number, many in other.buckets:
            counts[number] = counts.get(number, 0) + many
        return Sketch(tuple(sorted(counts.items())))


NOTHING = Sketch()


def of(amounts: Iterable[int]) -> Sketch:
    """Return the sketch of some amounts, counts of any unit."""
    buckets: Counter[int] = Counter()
    for amount, many in Counter(amounts).items():
        buckets[bucket(amount)] += many
    return Sketch(tuple(sorted(buckets.items())))


def of_array(amounts: np.ndarray[Any, Any]) -> Sketch:
    """Return the sketch of a numpy array of integers, as `of` would, a hundred times faster."""
    import numpy as np  # central alone has it, and only where columns are joined

    clipped = np.clip(amounts, 0, AMOUNT_MAX).astype(np.int64)
    _, bits = np.frexp(clipped.astype(np.float64))  # exact below 2^53
    shift = np.maximum(bits.astype(np.int64) - (BITS + 1), 0)
    numbers, many = np.unique((shift << BITS) + (clipped >> shift), return_counts=True)
    return Sketch(tuple(zip(numbers.tolist(), many.tolist(), strict=True)))


def bucket(amount: int) -> int:
    """Return the bucket of an amount; up to 2^7 each amount has its own."""
    held = min(max(amount, 0), AMOUNT_MAX)
    shift = max(held.bit_length() - (BITS + 1), 0)
    return (shift << BITS) + (held >> shift)


def upper_edge(number: int) -> int:
    """Return the largest amount of a bucket."""
    shift = max((number >> BITS) - 1, 0)
    return ((number - (shift << BITS) + 1) << shift) - 1


def at_rank(sketch: Sketch, rank: int) -> int:
    """Return an amount not below the rank-th smallest (from 1), at most 1/64 above it."""
    sums = accumulate(many for _, many in sketch.buckets)
    for (number, _), so_far in zip(sketch.buckets, sums, strict=True):
        if so_far >= rank:
            return upper_edge(number)
    raise ValueError(f"there is no {rank}th of {sketch.count} amounts")


def suggest(sketch: Sketch, quantile: float, confidence: float) -> int | None:
    """Return an upper bound of a quantile that holds with a confidence; None where too few went in.

    Args:
        sketch: of the amounts.
        quantile: above 0, below 1.
        confidence: above 0, below 1; of 300 amounts the largest bounds the 0.99 quantile with 0.95.
    """
    rank = rank_of_bound(sketch.count, quantile, confidence)
    return None if rank is None else at_rank(sketch, rank)


def rank_of_bound(count: int, quantile: float, confidence: float) -> int | None:
    """Return the smallest rank whose amount bounds the quantile from above, or None.

    The rank-th of `count` amounts lies below the quantile when at least that many do; how many do
    is binomial. So the rank is the smallest r with P(at least r) <= 1 - confidence.
    """
    doubt = 1 - confidence
    if count < 1 or quantile**count > doubt:
        return None
    if count > EXACT_MAX:
        return min(count, _far_rank(count, quantile, doubt))
    tail = 0.0
    for below in range(count, -1, -1):
        tail += _probability(count, below, quantile)
        if tail > doubt:
            return below + 1
    return 1


def needed(quantile: float, confidence: float) -> int:
    """Return from how many amounts on there is a bound."""
    return math.ceil(math.log(1 - confidence) / math.log(quantile))


def to_wire(sketch: Sketch) -> list[int]:
    """Return distance to the bucket before and count, in turn."""
    flat: list[int] = []
    last = 0
    for number, many in sketch.buckets:
        flat += [number - last, many]
        last = number
    return flat


def from_wire(flat: tuple[int, ...], where: str) -> Sketch:
    """Read it. Raises WrongShape."""
    steps, counts = flat[::2], flat[1::2]
    if len(flat) % 2 or 0 in counts or 0 in steps[1:]:
        raise shape.WrongShape(where=where, expected="buckets and counts", found=str(flat)[:80])
    return Sketch(tuple(zip(accumulate(steps), counts, strict=True)))


def encode(sketches: Iterable[Sketch]) -> bytes:
    """Return the bytes of several sketches, to be kept.

    They are canonical: arrays of counts have one shortest form in msgpack.
    """
    return bytes(msgpack.packb([to_wire(one) for one in sketches]))


def decode(raw: bytes, where: str) -> Iterator[Sketch]:
    """Yield the sketches of what `encode` gave. Raises WrongShape."""
    try:
        found = msgpack.unpackb(raw)
    except ValueError as error:
        raise shape.WrongShape(where=where, expected="sketches", found=str(error)) from error
    value = shape.Reader.of(found, where)
    for place in range(len(value.value)):
        yield from_wire(value.counts(place), f"{where}[{place}]")


def _probability(count: int, below: int, quantile: float) -> float:
    return math.exp(
        math.lgamma(count + 1)
        - math.lgamma(below + 1)
        - math.lgamma(count - below + 1)
        + below * math.log(quantile)
        + (count - below) * math.log1p(-quantile)
    )


def _far_rank(count: int, quantile: float, doubt: float) -> int:
    """Return the rank by the normal tail, with one to spare for what it leaves out."""
    low, high = 0.0, 40.0
    for _ in range(64):  # the z beyond which `doubt` is left
        middle = (low + high) / 2
        beyond = math.erfc(middle / math.sqrt(2)) / 2
        low, high = (middle, high) if beyond > doubt else (low, middle)
    spread = math.sqrt(count * quantile * (1 - quantile))
    return math.ceil(count * quantile + high * spread + 1.5)
