"""Numbers in memory that processes share: what changed at central, and whether it lives.

One process writes each number, another reads it; a change is seen at once, so that an answer kept
elsewhere is never given after the change was acknowledged. All are 64-bit words, only ever raised.
"""

from __future__ import annotations

import mmap
import time
import zlib
from dataclasses import dataclass
from enum import IntEnum

from bundle.ids import SiteName

SITES = 4096  # places for sites; two sites may share one, which only forgets answers sooner


class Word(IntEnum):
    """Which word holds what."""

    GENERAL = 0  # changes that may give any site something to fetch
    VERSION = 1  # every change
    COMPLETIONS_ENDED = 2  # connections with completions that the server closed
    OTHERS_ENDED = 3  # and all other connections
    SERVER_BEAT_MS = 4  # when the server's event loop last turned, monotonic milliseconds
    DOOR_BEAT_MS = 5  # and when the door's did
    READS_ENDED = 6  # connections that the reader closed


@dataclass(frozen=True, slots=True)
class Seen:
    """The marks of one site at one moment."""

    general: int
    site: int
    version: int


class Marks:
    """See the module. Made before the processes part."""

    def __init__(self) -> None:
        """Map the memory."""
        self._words = memoryview(mmap.mmap(-1, 8 * (len(Word) + SITES))).cast("Q")
        self.beat(Word.SERVER_BEAT_MS)
        self.beat(Word.DOOR_BEAT_MS)

    def raise_one(self, word: Word) -> None:
        """Raise a word by one."""
        self._words[word] += 1

    def value(self, word: Word) -> int:
        """Return a word."""
        return int(self._words[word])

    def changed(self, site: SiteName | None = None) -> None:
        """Note a change that concerns one site, or any of them; after its commit."""
        self._words[Word.VERSION] += 1
        self._words[Word.GENERAL if site is None else _place(site)] += 1

    def seen(self, site: SiteName) -> Seen:
        """Return a site's marks now."""
        words = self._words
        return Seen(words[Word.GENERAL], words[_place(site)], words[Word.VERSION])

    def beat(self, word: Word) -> None:
        """Note that a loop turned."""
        self._words[word] = _now_ms()

    def silent_s(self, word: Word) -> float:
        """Return for how long a loop did not turn."""
        return max(0, _now_ms() - int(self._words[word])) / 1000


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _place(site: SiteName) -> int:
    return len(Word) + zlib.crc32(site.encode()) % SITES
