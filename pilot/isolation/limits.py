"""What the kernel itself takes care of: processes, open files, cpu time, file sizes, no cores.

There is no limit on address space: it says nothing about memory where a program reserves much and
touches little, as Java, Go, ROOT and CUDA do. Memory is watched instead.
"""

from __future__ import annotations

import math
import os
import resource
from typing import Any

from pilot.core.holding import Holding
from pilot.isolation import kernel
from pilot.watching.files import file_bytes_max

CPU_SLACK_S = 60

_COUNTS_BY_NAMESPACE = (5, 14)  # since then processes are counted for each user namespace
_CORES = os.cpu_count() or 1


def settle(holding: Holding, *, own_namespace: bool) -> None:
    """Bound, for this process and all it starts, what is the same for every task."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, holding.files_max)
    if own_namespace and kernel.version() >= _COUNTS_BY_NAMESPACE:
        _lower(resource.RLIMIT_NPROC, holding.processes_max)
    else:  # all processes of the account on this node count together
        _lower(resource.RLIMIT_NPROC, holding.processes_max * _CORES)


def put(pid: int, request: dict[str, Any]) -> None:
    """Bound a task's first process, and what that will start.

    A process may use the cpu time that all cores give within the walltime, and some more: this
    ends it even where nobody looks any longer.
    """
    size = file_bytes_max(request["disk_bytes"])
    cpu_s = math.ceil(request["walltime_ms"] / 1000) * _CORES + CPU_SLACK_S
    try:
        _bound(pid, resource.RLIMIT_FSIZE, size, size)
        _bound(pid, resource.RLIMIT_CPU, cpu_s, cpu_s + CPU_SLACK_S)
    except (ProcessLookupError, PermissionError):
        return  # it has ended already


def _bound(pid: int, which: int, soft: int, hard: int) -> None:
    """Bound a process that runs already: a lower limit that it has put on itself stays."""
    own_soft, own_hard = resource.prlimit(pid, which, (soft, hard))
    lower = (_least(own_soft, soft), _least(own_hard, hard))
    if lower != (soft, hard):
        resource.prlimit(pid, which, lower)


def _least(own: int, ours: int) -> int:
    return ours if own == resource.RLIM_INFINITY else min(own, ours)


def _lower(which: int, wanted: int) -> None:
    _, hard = resource.getrlimit(which)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (limit, limit))
