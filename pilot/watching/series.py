"""A task's time series while it runs: few points, whatever the length, and no peak is lost. Pure.

Time is cut into intervals of one length; a point holds the highest values of its interval. Where
there are too many points, or too many bytes, the intervals become twice as long.
"""

from __future__ import annotations

from bundle.records import series
from bundle.records.series import COLUMNS, SERIES_BYTES_MAX, Point

POINTS_HELD_MAX = 128
INTERVAL_MS = 20


class Series:
    """The points of one task so far."""

    def __init__(self) -> None:
        """Start without points."""
        self._interval_ms = INTERVAL_MS
        self._points: list[Point] = []

    def __len__(self) -> int:
        """Return how many points there are."""
        return len(self._points)

    def add(self, point: Point) -> None:
        """Add a look; times do not go back."""
        if self._points and self._same(self._points[-1], point):
            self._points[-1] = _highest(self._points[-1], point)
        else:
            self._points.append(point)
        while len(self._points) > POINTS_HELD_MAX:
            self._halve()

    def encoded(self, bytes_max: int = SERIES_BYTES_MAX) -> bytes:
        """Return the series in at most `bytes_max` bytes, which one point always fits into."""
        while True:
            raw = series.encode(tuple(self._points))
            if len(raw) <= bytes_max or len(self._points) <= 1:
                return raw
            self._halve()

    def _halve(self) -> None:
        """Make the intervals twice as long."""
        self._interval_ms *= 2
        kept: list[Point] = []
        for point in self._points:
            if kept and self._same(kept[-1], point):
                kept[-1] = _highest(kept[-1], point)
            else:
                kept.append(point)
        self._points = kept

    def _same(self, one: Point, other: Point) -> bool:
        return one.at_ms // self._interval_ms == other.at_ms // self._interval_ms


def _highest(one: Point, other: Point) -> Point:
    return Point(*(max(getattr(one, name), getattr(other, name)) for name in COLUMNS))
