"""How much memory the node has left for us: the kernel's word, and that of our control groups."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pilot.watching.lending import Free

_FLAGS = os.O_RDONLY | os.O_CLOEXEC
READ_BYTES = 16 << 10


class FreeMemory:
    """Reads files that stay open: a look costs tens of microseconds."""

    def __init__(self, groups: tuple[Path, ...] = ()) -> None:
        """Open what there is; `groups` are our memory control groups, v1 or v2, outermost last."""
        self._memory = _opened(Path("/proc/meminfo"))
        self._pressure = _opened(Path("/proc/pressure/memory"))
        self._groups = [one for one in map(_group, groups) if one is not None]

    def look(self) -> Free:
        """Return what is available: the least of the node and of every group around us."""
        available = _kib(_text(self._memory), b"MemAvailable:")
        for limit_bytes, usage, stat in self._groups:
            used = _number(_text(usage))
            text = _text(stat)
            cached = _bytes(text, b"inactive_file ") + _bytes(text, b"active_file ")
            available = min(available, limit_bytes - max(0, used - cached))
        return Free(max(0, available), _full_percent(_text(self._pressure)))


def _group(folder: Path) -> tuple[int, int, int] | None:
    """Return limit, and the open files of use and statistics; None where nothing is limited."""
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            limit_bytes = int((folder / limit).read_text())
            if limit_bytes < 1 << 60:
                files = [_opened(folder / name) for name in (usage, "memory.stat")]
                if min(files) >= 0:
                    return limit_bytes, files[0], files[1]
    return None


def _opened(path: Path) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError:
        return -1


def _text(descriptor: int) -> bytes:
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            return os.pread(descriptor, READ_BYTES, 0)
    return b""


def _number(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else 0


def _kib(text: bytes, name: bytes) -> int:
    """Return a line of /proc/meminfo in bytes; without limit where it does not tell."""
    words = text.partition(name)[2].split(None, 1)
    return int(words[0]) * 1024 if words else 1 << 62


def _bytes(text: bytes, name: bytes) -> int:
    """Return a line of a group's memory.stat; of v1 the figure that holds the groups below."""
    for prefix in (b"\ntotal_", b"\n"):
        _, found, rest = (b"\n" + text).partition(prefix + name)
        if found:
            return int(rest.split(None, 1)[0])
    return 0


def _full_percent(text: bytes) -> float:
    """Return for which percentage of the last ten seconds everything waited for memory."""
    words = text.partition(b"full avg10=")[2].split(None, 1)
    try:
        return float(words[0]) if words else 0.0
    except ValueError:
        return 0.0
