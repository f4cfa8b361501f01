"""Numbers, times and sets in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt

RUNS_SHOWN = 12


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `1 file`, `1,200 files`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(words: Iterable[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def size(size_bytes: int) -> str:
    """Return `17 B`, `1.5 KiB`, `20.0 GiB`."""
    amount, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{size_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def time(us: int) -> str:
    """Return UTC microseconds as a date, or as they are where they are none."""
    try:
        return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{us} us"


def runs(numbers: IntervalSet) -> str:
    """Return `0-16, 18`; the rest of many runs is counted."""
    shown = [
        str(first) if past == first + 1 else f"{first}-{past - 1}"
        for first, past in numbers.spans[:RUNS_SHOWN]
    ]
    more = len(numbers.spans) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more runs" if more > 0 else "")


def numbered(noun: str, numbers: IntervalSet) -> str:
    """Return `bundle 3`, `bundles 0-16, 18`."""
    is_one = [past - first for first, past in numbers.spans] == [1]
    return f"{noun if is_one else noun + 's'} {runs(numbers)}"


def receipt(one: StreamReceipt) -> str:
    """Return what a receipt says of one stream's bundles."""
    parts = [
        f"{word} {runs(numbers)}"
        for word, numbers in (("merged", one.merged), ("safe", one.safe), ("parked", one.parked))
        if numbers.spans
    ]
    refused = [f"{sequence} ({code})" for sequence, code in one.refused[:RUNS_SHOWN]]
    if refused:
        more = len(one.refused) - len(refused)
        parts.append("refused " + ", ".join(refused) + (f" and {more:,} more" if more else ""))
    return "; ".join(parts) or "nothing arrived"
