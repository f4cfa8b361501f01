"""Gives orders to `child`, a process that holds HTCondor's bindings, each with a time limit.

A call of the bindings can't be interrupted: it waits in C++ for a network, with the interpreter's
lock. A thread that waits for it would stay, and could not be ended; a process can be killed. It
costs a twentieth of a second, a few times a tick. Whom an order found silent is not asked again at
once.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from site_adapters import told_child
from site_adapters.errors import BindingsMissing, SchedulerFailed
from site_adapters.told_child import IN_DOUBT

__all__ = ["IN_DOUBT", "Bindings", "environment"]

MISSING = 3  # child.MISSING
NOT_ASKED = -2  # code of SchedulerFailed: it can't have obeyed
SILENT_S = 60.0
_CHILD = Path(__file__).with_name("child.py")
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TMPDIR")
PROGRAM = "htcondor"


class Bindings:
    """One pool and one schedd of it; empty names are what HTCondor's configuration says."""

    def __init__(self, pool: str = "", schedd: str = "", limit_s: float = 30.0) -> None:
        """`limit_s`: how long one order may take."""
        self._pool, self._schedd, self._limit_s = pool, schedd, limit_s
        self._silent_until_s = 0.0

    def of_schedd(self, order: str, *, within_s: float = 0.0, **told: Any) -> Any:
        """Give an order to the schedd; `within_s`: it may take longer than others.

        Raises SchedulerFailed, BindingsMissing, OutputRefused.
        """
        where = {"pool": self._pool, "schedd": self._schedd}
        return self._call({"order": order, **where, **told}, max(within_s, self._limit_s))

    def of_pool(self, order: str, **told: Any) -> Any:
        """Give an order to the collector. Raises as `of_schedd`."""
        return self._call({"order": order, "pool": self._pool, **told}, self._limit_s)

    def _call(self, order: dict[str, Any], limit_s: float) -> Any:
        if time.monotonic() < self._silent_until_s:  # each order of a tick would wait as long
            reason = "it did not answer a moment ago"
            raise SchedulerFailed(program=PROGRAM, reason=reason, code=NOT_ASKED)
        try:
            return told_child.give(
                *(order, [str(_CHILD)], environment(), limit_s), failed=PROGRAM, printed=PROGRAM
            )
        except SchedulerFailed as error:
            if error.fields["code"] == MISSING:
                raise BindingsMissing(python=sys.executable) from error
            if error.fields["code"] == IN_DOUBT:
                self._silent_until_s = time.monotonic() + SILENT_S
            raise


def environment() -> dict[str, str]:
    """Return what the bindings need of the relay's environment: where HTCondor's settings are."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    settings = {
        name: value
        for name, value in os.environ.items()
        if name == "CONDOR_CONFIG" or name.upper().startswith("_CONDOR_")
    }
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, **settings}
