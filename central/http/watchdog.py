"""A watch over the server's event loop and over the door: who is silent is told about, in a log."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback

from central.marks import Marks, Word

BEAT_S = 0.25
SILENT_S_MAX = 2.0  # of the loop: then the log says what it is doing
_LOG = logging.getLogger(__name__)


async def beat(marks: Marks) -> None:
    """Mark that the loop turns, for ever."""
    while True:
        marks.beat(Word.SERVER_BEAT_MS)
        await asyncio.sleep(BEAT_S)


class Watchdog:
    """A thread that logs the stack of the thread that made it when its loop stops turning."""

    def __init__(self, marks: Marks, silent_s_max: float = SILENT_S_MAX) -> None:
        """Watch the calling thread's loop."""
        self._marks, self._silent_s_max = marks, silent_s_max
        self._watched = threading.get_ident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        told = False
        while not self._end.wait(BEAT_S):
            silent_s = self._marks.silent_s(Word.SERVER_BEAT_MS)
            if silent_s <= self._silent_s_max:
                told = False
            elif not told:
                told = True
                frame = sys._current_frames().get(self._watched)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                facts = {"silent_s": round(silent_s, 1), "stack": stack}
                _LOG.error("the event loop is blocked", extra=facts)
