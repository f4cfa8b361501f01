"""A hop that walks once, or on and on until SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay.hop.opening import open_hop
from relay.hop.walk import Walked, walk

EXIT_TRY_AGAIN = 75
_LOG = logging.getLogger(__name__)


def run(folder: Path, interval_s: float, say: Callable[[dict[str, Any], str], None]) -> int:
    """Walk; say what one round did, or log what is news of many. Return the exit code."""
    hop = open_hop(folder)
    if interval_s <= 0:
        walked = walk(hop)
        say(walked.document(), _words(walked))
        return EXIT_TRY_AGAIN if walked.trouble else 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    before: dict[str, str] = {}
    while not stop.is_set():
        try:
            walked = walk(hop)
        except OSError as error:  # a disk that is full or away: nothing is given up
            _LOG.error("the hop's disk failed", extra={"reason": str(error)})
        else:
            for end, text in walked.trouble.items():
                if before.get(end, "").split(":")[0] != text.split(":")[0]:
                    _LOG.warning("end not reached", extra={"end": end, "reason": text})
            before = walked.trouble
        stop.wait(interval_s)
    return 0


def _words(walked: Walked) -> str:
    lines = [f"{side}: took {walked.took[side]}, gave {walked.gave[side]}" for side in walked.took]
    if walked.refused:
        lines.append(f"{walked.refused} files are no whole bundles and were not carried")
    return "\n".join(lines + [f"! {end}: {text}" for end, text in walked.trouble.items()])
