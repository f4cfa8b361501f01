"""What tells that it is the node that is broken, and not a task: then the pilot retires.

A *black hole* fails whatever it is given, at once, and so would empty a queue; a node whose kernel
had to kill for memory will do it again. One bad kind of task is neither.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable
from dataclasses import dataclass, field

from bundle.fates import Fate

FAST_MS = 10_000
FAILURES_IN_A_ROW = 10
KINDS_AMONG_THEM = 3
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What a filesystem says that takes no more: writing again is no use."""

_NODE_OR_TASK = frozenset({Fate.PAYLOAD_ERROR, Fate.SIGNAL, Fate.STAGE_IN, Fate.NODE_FAILURE})


@dataclass(slots=True)
class Fingerprints:
    """The failures in a row at the end of what ran here. Changes in place."""

    row: list[Hashable] = field(default_factory=list)  # their kinds

    def note(self, kind: Hashable, fate: Fate, wall_ms: int, *, kernel_oom: bool = False) -> str:
        """Take note of how an attempt ended; return why the node should retire, or nothing."""
        if kernel_oom:
            return "its kernel ran out of memory and killed a task"
        if fate is Fate.SUCCESS or (fate in _NODE_OR_TASK and wall_ms >= FAST_MS):
            self.row.clear()
            return ""
        if fate not in _NODE_OR_TASK:
            return ""
        self.row.append(kind)
        del self.row[: -2 * FAILURES_IN_A_ROW]
        kinds = len(set(self.row))
        if len(self.row) < FAILURES_IN_A_ROW or kinds < KINDS_AMONG_THEM:
            return ""
        return f"{len(self.row)} tasks of {kinds} kinds in a row failed within {FAST_MS // 1000} s"
