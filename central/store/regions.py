"""What controls are about, as a store keeps it: jobs by step, or nothing for a whole dataset.

A control may name hundreds of thousands of jobs apart from each other, and every transaction asks
for it: what was read is kept as long as there is room.
"""

from __future__ import annotations

from collections import OrderedDict

from bundle import canonical
from bundle.intervals import IntervalSet
from bundle.limits import STATE_LIMITS

KEPT_BYTES_MAX = 8 << 20  # of encoded regions; in memory they take some fifteen times as much

Regions = tuple[tuple[int, IntervalSet], ...] | None


class KeptRegions:
    """See the module."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: OrderedDict[bytes, Regions] = OrderedDict()
        self._bytes = 0

    def encode(self, regions: Regions) -> bytes:
        """Return how regions are stored."""
        rows = None if regions is None else [[step, jobs.to_wire()] for step, jobs in regions]
        raw = canonical.encode(rows)
        self._keep(raw, regions)
        return raw

    def decode(self, raw: bytes) -> Regions:
        """Return stored regions: the same value for the same bytes, while it is kept."""
        if raw in self._kept:
            self._kept.move_to_end(raw)
            return self._kept[raw]
        rows = canonical.decode(raw, STATE_LIMITS, where="control")
        found: Regions = None
        if rows is not None:
            found = tuple((step, IntervalSet.from_wire(runs)) for step, runs in rows)
        self._keep(raw, found)
        return found

    def _keep(self, raw: bytes, regions: Regions) -> None:
        if raw in self._kept:
            return
        self._kept[raw] = regions
        self._bytes += len(raw)
        while self._bytes > KEPT_BYTES_MAX and len(self._kept) > 1:
            gone, _ = self._kept.popitem(last=False)
            self._bytes -= len(gone)
