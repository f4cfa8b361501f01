"""How far a long piece of work is: a bar on a terminal, plain lines otherwise, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeVar

QUIET_S = 1.0  # what ends sooner says nothing
BAR_EVERY_S = 0.1
LINE_EVERY_S = 5.0
BAR_WIDTH = 30

Advance = Callable[[int], None]
_T = TypeVar("_T")


@contextmanager
def progress(doing: str, total: int, out: TextIO | None = None) -> Iterator[Advance]:
    """Yield what is called with each amount done, out of `total` (bytes, files, ...)."""
    meter = _Meter(doing, total, sys.stderr if out is None else out)
    is_done = False
    try:
        yield meter.advance
        is_done = True
    finally:
        meter.end(is_done=is_done)


def each(several: Sequence[_T], doing: str) -> Iterator[_T]:
    """Yield one after the other, and show how many are done."""
    with progress(doing, len(several)) as advance:
        for one in several:
            yield one
            advance(1)


class _Meter:
    def __init__(self, doing: str, total: int, out: TextIO) -> None:
        self._doing, self._total, self._out = doing, max(1, total), out
        self._is_terminal = out.isatty()
        self._every_s = BAR_EVERY_S if self._is_terminal else LINE_EVERY_S
        self._done = 0
        self._say_at = time.monotonic() + QUIET_S
        self._has_said = False

    def advance(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if now >= self._say_at:
            self._say_at = now + self._every_s
            self._say()

    def end(self, *, is_done: bool) -> None:
        """End the bar: full where the work is done, whatever was passed over, else as it is."""
        if is_done:
            self._done = self._total
        if self._has_said and self._is_terminal:
            self._say()
            self._out.write("\n")
            self._out.flush()

    def _say(self) -> None:
        self._has_said = True
        share = min(1.0, self._done / self._total)
        text = f"{self._doing} {100 * share:3.0f} %"
        if self._is_terminal:
            bar = "#" * int(share * BAR_WIDTH)
            self._out.write(f"\r{text} [{bar:-<{BAR_WIDTH}}]")
        else:
            self._out.write(text + "\n")
        self._out.flush()
