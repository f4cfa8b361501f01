"""The first process of a slot's process namespace: adopts, reaps and kills what tasks leave.

Tasks are children of the slot, which stands outside and can't be seen, signalled or traced from
inside. What they leave behind falls to this process, which the kernel protects from them: only
a signal from outside ends it, and with it everything inside.
"""

# Descriptors and plain names here, not Path: this runs for every task.

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
from typing import NoReturn

from pilot import linux
from pilot.isolation import kernel, view
from pilot.reap import Ended

_READY, _SWEEP = b"r", b"s"
_REPORT = struct.Struct("!dQI")  # cpu in s, largest resident bytes, processes reaped
ANSWER_S_MAX = 10.0
_WORD_BYTES_MAX = 200


class Inner:
    """The slot's side of its process namespace."""

    def __init__(self, pid: int, ask: int, answer: int) -> None:
        """Take over a namespace whose first process is ready."""
        self.pid = pid
        self._ask = ask
        self._answer = answer
        self._children = os.open(
            f"{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=linux.PROC
        )

    def is_empty(self) -> bool:
        """Whether nothing runs inside, once the slot has reaped its own child.

        Whatever lost its parent is a child of the first process. Raises OSError where the first
        process is gone, and with it the namespace.
        """
        return not os.pread(self._children, 16, 0)

    def is_gone(self) -> bool:
        """Whether the first process ended: nothing can be started inside any more."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def sweep(self) -> Ended:
        """Kill and reap all inside; return what they used, and their number as left behind.

        A process whose parent is the slot is killed too, but the slot must reap it. Raises OSError
        where something can't be killed in time.
        """
        os.write(self._ask, _SWEEP)
        ready, _, _ = select.select([self._answer], [], [], ANSWER_S_MAX)
        report = os.read(self._answer, _REPORT.size) if ready else b""
        if len(report) != _REPORT.size:
            raise OSError("a process of the task cannot be killed")
        cpu_s, maxrss_bytes, left_behind = _REPORT.unpack(report)
        return Ended(0, cpu_s, maxrss_bytes, left_behind=left_behind)

    def end(self) -> None:
        """Kill everything inside, at once and for ever; reap every child of this process.

        The first process is not gone before all others are reaped, this process's own child too.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()


def start(pids_max: int) -> Inner:
    """Make the process namespace for all that this process starts from now on.

    No thread can be started by this process afterwards. Raises OSError.
    """
    ask_in, ask_out = os.pipe()
    answer_in, answer_out = os.pipe()
    linux.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if not pid:
        _be_first(ask_in, answer_out, pids_max)
    os.close(ask_in)
    os.close(answer_out)
    word = os.read(answer_in, _WORD_BYTES_MAX)
    if word != _READY:
        raise OSError(f"no process namespace: {word.decode(errors='replace') or 'it ended'}")
    linux.spared.add(pid)
    return Inner(pid, ask_out, answer_in)


def _mount_proc() -> None:
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", flags)


def _be_first(ask: int, answer: int, pids_max: int) -> NoReturn:
    """Serve as process 1 until the slot is gone."""
    try:
        kernel.hide_memory()
        linux.die_with_parent(signal.SIGKILL)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)  # which for process 1 means: ignore
        _mount_proc()
        if os.getuid() == 0:
            _bound_processes(pids_max)
            view.lock_knobs()
        _close_all_but(ask, answer)
        kernel.drop_capabilities()
        os.write(answer, _READY)
        _serve(ask, answer)
    except BaseException as error:  # a fork must never return into the slot's code
        with contextlib.suppress(OSError):
            os.write(answer, str(error).encode()[:_WORD_BYTES_MAX])
    finally:
        os._exit(0)


def _serve(ask: int, answer: int) -> None:
    bell, rope = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(rope, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    poll = select.poll()
    poll.register(ask, select.POLLIN)
    poll.register(bell, select.POLLIN)
    left = Ended(0)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == bell:
                with contextlib.suppress(BlockingIOError):
                    os.read(bell, 4096)
                _reap_dead(left)
            else:
                if not os.read(ask, 1):
                    return
                _kill_all(left)
                os.write(answer, _REPORT.pack(left.cpu_s, left.maxrss_bytes, left.left_behind))
                left = Ended(0)


def _reap_dead(left: Ended) -> bool:
    """Reap what is dead; False where no child is left at all."""
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
        left.add_left(usage)


def _kill_all(left: Ended) -> None:
    """Kill all but this process, until none is left. The kernel does each round at once."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        if not _reap_dead(left):
            return
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # until the next one is dead


def _bound_processes(pids_max: int) -> None:
    """Bound the processes inside, for user 0 has no such limit of its own.

    Since Linux 6.14 the number belongs to the namespace; before, it would be the node's.
    """
    if kernel.version() >= (6, 14):
        with contextlib.suppress(OSError), open("/proc/sys/kernel/pid_max", "w") as file:  # noqa: PTH123
            file.write(str(max(pids_max, 400)))


def _close_all_but(*kept: int) -> None:
    first = 3
    for descriptor in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, descriptor)
        first = descriptor + 1
