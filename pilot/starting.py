"""Starting a task: a program, or the built-in payload in a fork of the slot."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

from pilot import containers, stage, synthetic
from pilot.isolation import kernel, limits
from pilot.isolation.hold import Hold
from pilot.messages import Channel
from pilot.pinning import Pinning
from pilot.search import Commands

# Python ignores some; what it ignores its children would ignore. All of them, as plain numbers:
# for each that is not named the kernel is asked first, which costs a short task two in a hundred.
_DEFAULTS = tuple(
    int(number)
    for number in signal.valid_signals()
    if number not in (signal.SIGKILL, signal.SIGSTOP)
)


class Starter:
    """Starts the tasks of one slot."""

    def __init__(self, hold: Hold, folder: Path, channel: Channel) -> None:
        """Start tasks in `folder`; a fork of the slot closes the channel."""
        self._hold = hold
        self._here = str(folder)
        self._channel = channel
        self._commands = Commands()
        self._pinning, self._pinned_outside = Pinning(), Pinning()

    def start(self, request: dict[str, Any]) -> int:
        """Start a task and return its first process. Raises OSError where it can't be started."""
        self._pinning.to(request.get("cpus", ()))
        environment = request["env"]
        environment["HOME"] = environment["TMPDIR"] = self._here
        environment["PULK_SOFTWARE"] = f"{self._here}/{stage.SOFTWARE_FILE}"
        if "synthetic" in request:
            pid = self._fork(request, environment)
        else:
            argv = request["argv"]
            if "container" in request:
                isolated = self._hold.ram >= 0
                program, argv, environment = containers.entered(
                    request, self._here, isolated=isolated
                )
            else:
                program = self._commands.find(argv[0], environment["PATH"])
            if self._hold.outside is not None and request.get("network", "none") != "none":
                outside = partial(self._outside, program, argv, environment, request)
                pid = self._hold.outside.call(outside)
            else:
                pid = _spawn(program, argv, environment)
        limits.put(pid, request)
        return pid

    def _outside(
        self, program: str, argv: list[str], environment: dict[str, str], request: dict[str, Any]
    ) -> int:
        """Start a program from the thread that stays in the node's network."""
        self._pinned_outside.to(request.get("cpus", ()))
        return _spawn(program, argv, environment)

    def _fork(self, request: dict[str, Any], environment: dict[str, str]) -> int:
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            return pid
        status = 1
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            for number in _DEFAULTS:
                signal.signal(number, signal.SIG_DFL)
            self._channel.socket.close()
            kernel.show_memory()
            inputs = [row[0] for row in request.get("inputs", ())]
            inputs += [row[0] for row in request.get("generated", ())]
            inputs += [row[0] for row in request.get("files", ())]
            synthetic.run(request["synthetic"], inputs, request["outputs"], environment)
            status = 0
        except BaseException as error:  # a fork of the slot must never return into its loop
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            with contextlib.suppress(OSError):
                synthetic.tell_ledger(environment, status)
            os._exit(status)


def _spawn(program: str, argv: list[str], environment: dict[str, str]) -> int:
    return os.posix_spawn(
        program, argv, environment, setpgroup=0, setsigmask=(), setsigdef=_DEFAULTS
    )
