"""The lock that keeps two ticks from doing the same work twice. Correctness never depends on it.

A file made by exclusive creation with host, boot id, pid and start time: flock on a shared
filesystem may lock one node only. A dead holder on this host is cleared at once, and so is a lock
of this process that it could not remove; one on another host when the lock is old.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bundle.spool import publish
from relay.errors import OtherTick
from relay.home import Home, now_us
from site_adapters import process

NAME = "tick.lock"
_MINE: set[Path] = set()  # locks that this process holds now
STALE_S = 1800  # of another host's lock; a tick takes seconds, a large bundle minutes


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Hold the lock for one tick. Raises OtherTick."""
    path = home.spool.root / NAME
    own = _own()
    for _ in range(3):
        try:
            publish.write_new_file(home.tmp, path, own)
            break
        except publish.AlreadyThere:
            _clear_or_raise(home, path)
    else:
        raise OtherTick(where=str(path), pid="?", host="?", age_s=0)
    _MINE.add(path)
    try:
        yield
    finally:
        _MINE.discard(path)
        with contextlib.suppress(OSError):
            if path.read_bytes() == own:
                path.unlink()


def _own() -> bytes:
    me = process.look(os.getpid())
    about = {
        "host": platform.node(),
        "boot_id": process.boot_id(),
        "pid": os.getpid(),
        "start_ticks": me.start_ticks if me else 0,
        "at_us": now_us(),
    }
    return json.dumps(about).encode()


def _clear_or_raise(home: Home, path: Path) -> None:
    """Set a dead holder's lock aside; raise OtherTick for a living one."""
    try:
        about: dict[str, Any] = json.loads(path.read_bytes())
        age_s = max(0, now_us() - int(about["at_us"])) // 1_000_000
        is_here = about["host"] == platform.node()
        same_boot = about["boot_id"] == process.boot_id()
        alive = process.is_alive(int(about["pid"]), int(about["start_ticks"]))
        holds = (same_boot and alive) if is_here else age_s < STALE_S
        if is_here and same_boot and int(about["pid"]) == os.getpid():
            holds = path in _MINE  # else one of ours that a failing disk did not let us remove
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        about, holds, age_s = {}, False, 0  # not a lock that a tick wrote
    if holds:
        raise OtherTick(where=str(path), pid=about["pid"], host=about["host"], age_s=age_s)
    aside = home.tmp / f"lock-{os.urandom(6).hex()}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        aside.unlink()
