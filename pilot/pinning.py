"""The cores that a slot, and so whatever it starts, may run on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence


class Pinning:
    """Where this process may run; costs a system call only where that changes."""

    def __init__(self) -> None:
        """Remember what is allowed now: all of it, unless somebody says less."""
        self._every = os.sched_getaffinity(0)
        self._cpus: Sequence[int] = ()

    def to(self, cpus: Sequence[int]) -> None:
        """Stay on these cores, on all where none is named. A task begins on them: it inherits."""
        if cpus != self._cpus:
            with contextlib.suppress(OSError):  # a core that went away: then where we are
                os.sched_setaffinity(0, cpus or self._every)
            self._cpus = cpus
