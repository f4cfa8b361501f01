"""One look at a scheduler's queue for all relay processes: seldom, and more so in trouble."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import PulkError
from bundle.spool import publish

WAIT_S_MAX = 900.0
_FILE = "look"
_FACTS = ("at_us", "until_us", "failures", "trouble")


@dataclass(frozen=True, slots=True)
class Last:
    """The last look: when, until when it counts, what was printed; `trouble`: why nothing was."""

    at_us: int = 0
    until_us: int = 0
    failures: int = 0
    trouble: str = ""
    output: bytes = b""


def look(
    folder: Path, poll_s: float, ask: Callable[[], bytes], troubles: tuple[type[PulkError], ...]
) -> tuple[Last, bool]:
    """Ask at most every `poll_s` seconds, more rarely while that raises one of the troubles.

    In between the last look counts, whoever made it. Returns also whether it was made just now.
    """
    last, now_us = _read(folder), time.time_ns() // 1000
    if last is not None and last.at_us <= now_us < last.until_us:
        return last, False
    last = _ask(last or Last(), now_us, poll_s, ask, troubles)
    if poll_s:
        _write(folder, last)
    return last, True


def _ask(
    last: Last,
    now_us: int,
    poll_s: float,
    ask: Callable[[], bytes],
    troubles: tuple[type[PulkError], ...],
) -> Last:
    try:
        output, trouble, failures = ask(), "", 0
    except troubles as error:
        output, trouble, failures = b"", error.text(), last.failures + 1
    wait_s = min(WAIT_S_MAX, poll_s * 2 ** min(failures, 10))
    until_us = now_us + int(random.uniform(1, 1.2) * wait_s * 1_000_000)  # noqa: S311  a spread
    return Last(now_us, until_us, failures, trouble, output)


def _read(folder: Path) -> Last | None:
    try:
        head, _, output = (folder / _FILE).read_bytes().partition(b"\n")
        said = json.loads(head)
        at_us, until_us, failures = (int(said[name]) for name in _FACTS[:3])
        return Last(at_us, until_us, failures, str(said["trouble"]), output)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, last: Last) -> None:
    publish.make_folder(folder)
    facts = {name: getattr(last, name) for name in _FACTS}
    publish.write_file(folder, folder / _FILE, json.dumps(facts).encode() + b"\n" + last.output)
