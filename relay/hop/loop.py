"""A hop that walks once, or on and on until SIGTERM."""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay.carrier.http import HttpCarrier
from relay.core import backoff
from relay.core.backoff import Pace, Trouble
from relay.home import now_us
from relay.hop.opening import open_hop
from relay.hop.walk import Hop, Walked, walk

EXIT_TRY_AGAIN = 75
PACE = Pace(10.0, 900.0)  # as a relay's, where relay.toml says nothing else
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
    away: Trouble | None = None
    while not stop.is_set():
        is_tried = not backoff.waits_s(away, now_us())
        try:
            walked = walk(hop, to_central=is_tried)
        except OSError as error:  # a disk that is full or away: nothing is given up
            _LOG.error("the hop's disk failed", extra={"reason": str(error)})
        else:
            if is_tried:
                away = _after(away, walked, hop)
            elif away is not None:
                walked.trouble["central"] = away.text
            for end, text in walked.trouble.items():
                if before.get(end, "").split(":")[0] != text.split(":")[0]:
                    _LOG.warning("end not reached", extra={"end": end, "reason": text})
            before = walked.trouble
        stop.wait(interval_s)
    return 0


def _after(old: Trouble | None, walked: Walked, hop: Hop) -> Trouble | None:
    """Return the trouble with central's end; a folder's may be tried with every round."""
    text = walked.trouble.get("central")
    if text is None:
        return None
    chance, is_folder = random.random(), not isinstance(hop.central, HttpCarrier)  # noqa: S311
    return backoff.after_failure(old, now_us(), chance, PACE, "", text, at_once=is_folder)


def _words(walked: Walked) -> str:
    lines = [f"{side}: took {walked.took[side]}, gave {walked.gave[side]}" for side in walked.took]
    if walked.refused:
        lines.append(f"{walked.refused} files are no whole bundles and were not carried")
    return "\n".join(lines + [f"! {end}: {text}" for end, text in walked.trouble.items()])
