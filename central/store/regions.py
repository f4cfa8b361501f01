"""What controls are about, as a store keeps it: jobs by step, or nothing for a whole dataset.

A control may name hundreds of thousands of jobs apart from each other, and every transaction asks
for it: what was read is kept as long as there is room.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bundle import canonical
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS
from central.store.kept import Kept

KEPT_BYTES_MAX = 16 << 20  # of encoded regions; in memory they take some fifteen times as much

Regions = tuple[tuple[int, IntervalSet], ...] | None


class KeptRegions:
    """See the module."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept = Kept(_read, KEPT_BYTES_MAX)

    def encode(self, regions: Regions) -> bytes:
        """Return how regions are stored."""
        rows = None if regions is None else [[step, _packed(jobs)] for step, jobs in regions]
        raw = canonical.encode(rows)
        self._kept.keep(raw, regions)
        return raw

    def decode(self, raw: bytes) -> Regions:
        """Return stored regions: the same value for the same bytes, while it is kept."""
        return self._kept.of(raw)


def _read(raw: bytes) -> Regions:
    rows = canonical.decode(raw, STATE_LIMITS, where="control")
    if rows is None:
        return None
    return tuple((step, _unpacked(runs)) for step, runs in rows)


def _packed(jobs: IntervalSet) -> bytes:
    """Return the first and the last job of each span, 4 bytes each, little-endian."""
    bounds = np.array(jobs.spans, np.int64).reshape(-1, 2)
    bounds[:, 1] -= 1
    return bounds.astype("<u4").tobytes()


def _unpacked(runs: Any) -> IntervalSet:
    """Return what `_packed` packed, or what stands as `[[first, count], ...]`."""
    if not isinstance(runs, bytes):
        return IntervalSet.from_wire(runs)
    bounds = np.frombuffer(runs, "<u4").reshape(-1, 2).astype(np.int64)
    return IntervalSet(tuple(zip(bounds[:, 0].tolist(), (bounds[:, 1] + 1).tolist(), strict=True)))
