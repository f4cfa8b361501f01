"""Gives orders to `child`, a process that holds PSI/J, each with a time limit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from site_adapters import told_child
from site_adapters.errors import ExtraMissing, SchedulerFailed
from site_adapters.psij.child import MISSING
from site_adapters.told_child import IN_DOUBT

__all__ = ["IN_DOUBT", "Orders", "environment"]

_CHILD = Path(__file__).with_name("child.py")
_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SLURM_CONF",
    "PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT", "PBS_EXEC", "PBS_HOME", "LSF_ENVDIR",
    "LSF_SERVERDIR", "LSF_LIBDIR", "LSF_BINDIR",
)  # fmt: skip


class Orders:
    """One scheduler, by the name of its executor in PSI/J."""

    def __init__(self, scheduler: str, folder: Path, limit_s: float = 30.0) -> None:
        """`folder`: where the executor may write. `limit_s`: how long one order may take."""
        self.scheduler, self._folder, self._limit_s = scheduler, folder, limit_s

    def give(self, order: str, **told: Any) -> Any:
        """Give an order. Raises SchedulerFailed, ExtraMissing, OutputRefused."""
        where = {"order": order, "scheduler": self.scheduler, "folder": str(self._folder)}
        arguments = ["-c", _MAIN, str(_CHILD.parents[2])]
        try:
            return told_child.give(
                *(where | told, arguments, environment(), self._limit_s),
                failed=self.scheduler,
                printed="psij",
                lines_max=3,
            )
        except SchedulerFailed as error:
            if error.fields["code"] == MISSING:
                package = "PSI/J (psij-python)"
                raise ExtraMissing(python=sys.executable, package=package, extra="psij") from error
            raise


# The parent's own packages come last, wherever they lie; nothing else is on the path.
_MAIN = (
    "import sys; sys.path.append(sys.argv[1])\n"
    "from site_adapters.psij import child\n"
    "sys.exit(child.main())"
)


def environment() -> dict[str, str]:
    """Return what a scheduler's programs and pilots need of the relay's; secrets stay behind."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept}
