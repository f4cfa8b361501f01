"""A segment's attempts as numpy columns: what merges thousands of results at once.

Columns of many short segments lie one after the other in one array, so that what is done to all of
them is done once: `Laid` finds them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bundle.digest import digest, start
from bundle.fates import FATES, Fate
from bundle.records import segment
from bundle.records.attempt import Attempt, Usage
from bundle.records.attempts import DIGEST_BYTES
from bundle.records.segment import SegmentHeader

Numbers = npt.NDArray[np.int64]
Whole = dict[str, Numbers]

SUCCESS = FATES.index(Fate.SUCCESS)


@dataclass(frozen=True, slots=True)
class Lists:
    """An array per attempt: attempt n has `flat[first[n]:first[n + 1]]`, places in a table."""

    first: Numbers  # one more than attempts
    flat: Numbers

    def alone(self) -> Lists:
        """Return the same in arrays of its own."""
        low, past = self.first[0], self.first[-1]
        return Lists(self.first - low, self.flat[low:past].copy())


class Summary(NamedTuple):
    """What a segment's columns go from and to; all 0 where it has no attempts."""

    step_min: int
    step_max: int
    job_min: int
    job_max: int
    generation_min: int
    generation_max: int
    local_min: int
    local_max: int
    outputs_min: int  # of its successes; above outputs_max where it has none
    outputs_max: int
    successes: int
    rises: bool  # every `local` is above the one before


BOUNDED = ("step", "job", "generation", "local")


@dataclass(frozen=True)
class SegmentColumns:
    """One segment. All columns have `count` numbers; `digests` is the table lists refer to.

    The columns `consumed` and `outputs` say how many of them each attempt has.
    """

    header: SegmentHeader
    complete: bool
    salvaged: bool
    count: int
    digests: bytes
    texts: tuple[str, ...]
    consumed: Lists
    outputs: Lists
    sizes: Numbers  # bytes, beside outputs.flat
    summary: Summary
    whole: Whole = field(repr=False)  # columns that these are a stretch of
    low: int = 0  # where the stretch starts

    def __getitem__(self, name: str) -> Numbers:
        """Return a column by the name of its field."""
        return self.whole[name][self.low : self.low + self.count]

    @cached_property
    def succeeded(self) -> npt.NDArray[np.bool_]:
        """Which attempts are successes."""
        return np.asarray(self["fate"] == SUCCESS)

    def steps(self) -> list[int]:
        """Return the steps of its attempts, ascending, each once."""
        if not self.count:
            return []
        if self.summary.step_min == self.summary.step_max:
            return [self.summary.step_min]
        found: list[int] = np.unique(self["step"]).tolist()
        return found

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
        of = {name: int(values[self.low + row]) for name, values in self.whole.items()}
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

    def alone(self) -> SegmentColumns:
        """Return the same in arrays of its own: nothing of its neighbours is kept with it."""
        if len(self.whole["job"]) == self.count:
            return self
        whole = {name: self[name].copy() for name in self.whole}
        consumed, outputs = self.consumed.alone(), self.outputs.alone()
        sizes = self.sizes[self.outputs.first[0] : self.outputs.first[-1]].copy()
        return replace(self, consumed=consumed, outputs=outputs, sizes=sizes, whole=whole, low=0)


class Laid:
    """Columns of segments one after the other; what lies so already is not copied."""

    def __init__(self, several: Iterable[SegmentColumns]) -> None:
        """Find the stretches that they make together."""
        self._stretches: list[tuple[Whole, int, int]] = []
        whole: Whole | None = None
        low = past = 0
        for one in several:
            if one.whole is not whole or one.low != past:
                if whole is not None:
                    self._stretches.append((whole, low, past))
                whole, low = one.whole, one.low
            past = one.low + one.count
        if whole is not None:
            self._stretches.append((whole, low, past))

    def __getitem__(self, name: str) -> Numbers:
        """Return a column by the name of its field."""
        found = [whole[name][low:past] for whole, low, past in self._stretches]
        return found[0] if len(found) == 1 else np.concatenate(found)


def firsts(counts: Sequence[int] | Numbers) -> Numbers:
    """Return where each of several stretches starts, and where the last one ends."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def summaries(whole: Whole, first: Numbers) -> list[Summary]:
    """Return a summary of each stretch; `first` says where they start. None is empty."""
    its = first[:-1]
    bounds = [edge.reduceat(whole[name], its) for name in BOUNDED for edge in _EDGES]
    succeeded, outputs = whole["fate"] == SUCCESS, whole["outputs"]
    bounds.append(np.minimum.reduceat(np.where(succeeded, outputs, _MANY), its))
    bounds.append(np.maximum.reduceat(np.where(succeeded, outputs, -1), its))
    bounds.append(np.add.reduceat(succeeded.astype(np.int64), its))
    local = whole["local"]
    rises = np.ones(len(local), np.bool_)
    np.greater(local[1:], local[:-1], out=rises[1:])
    rises[its] = True
    columns = [*(one.tolist() for one in bounds), np.logical_and.reduceat(rises, its).tolist()]
    return list(map(Summary._make, zip(*columns, strict=True)))


_EDGES = (np.minimum, np.maximum)
_MANY = np.iinfo(np.int64).max
EMPTY = Summary(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, successes=0, rises=True)
