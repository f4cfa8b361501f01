"""Settling a slot in: namespaces as far as they work here, then no rights and no way back.

What works is tried in a fork first, so that a slot is never left half settled in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pilot import emptying, linux, offline, reap
from pilot.core.holding import ISOLATED, Holding, Isolation
from pilot.isolation import inner, kernel, limits, view
from pilot.isolation.node_network import NodeNetwork

_WORD_BYTES_MAX = 1000
_NONE, _VIEW, _ALL = range(3)  # what works here


@dataclass(slots=True)
class Hold:
    """What holds the tasks of a slot.

    `offline` is `namespace` or `none: <reason>`, `isolation` is `isolated` or `plain: <reason>`.
    """

    offline: str
    isolation: str
    inner: inner.Inner | None = None
    outside: NodeNetwork | None = None
    ram: int = -1  # the memory disk that tasks have for /tmp and /dev/shm
    ram_start: tuple[int, int] = (0, 0)
    ram_kept: frozenset[int] = frozenset()  # inodes of its folders that show something
    is_damaged: bool = False  # a task broke the view of those to come: the slot must be replaced

    def sweep(self, ended: reap.Ended) -> None:
        """Kill and reap what a task left, once its first process is reaped; add what it used."""
        if self.inner is None:
            reap.sweep(ended)
        elif not self.inner.is_empty():
            ended.add_all(self.inner.sweep())
        if self.ram >= 0 and _used(self.ram) != self.ram_start:
            emptying.empty(self.ram, self.ram_kept)
            self.is_damaged = _used(self.ram) != self.ram_start

    def is_gone(self) -> bool:
        """Whether nothing can be started here any more: the slot must be replaced."""
        return self.inner is not None and self.inner.is_gone()

    def kill_all(self) -> None:
        """Kill everything of the running task; its first process is left to be reaped."""
        if self.inner is None:
            reap.kill_all()
        else:
            self.inner.sweep()

    def ram_bytes(self) -> int:
        """Return the memory that the task's files in /tmp and /dev/shm take."""
        if self.ram < 0:
            return 0
        disk = os.fstatvfs(self.ram)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize

    def end(self) -> None:
        """Kill everything, for the slot ends."""
        if self.inner is None:
            reap.sweep()
        else:
            self.inner.end()


def settle(folder: str, holding: Holding) -> Hold:
    """Settle this process in; its current directory is the slot's directory afterwards.

    Descriptors opened before still reach what is hidden. Raises OSError only where something fails
    that worked when it was tried.
    """
    if holding.isolation is Isolation.PLAIN:
        return _plain(holding, "the site's configuration says so")
    works, reason = _try(folder, holding)
    if works == _NONE:
        return _plain(holding, reason)
    spaces = _leave_node(holding)
    view.build(folder, holding)
    os.chdir(folder)
    outside = None
    if holding.opens_network:
        outside = NodeNetwork()
        linux.unshare(linux.CLONE_NEWNET)
    linux.bring_loopback_up()
    hold = Hold(offline.NAMESPACE, ISOLATED, outside=outside, ram=view.ram_disk())
    kernel.hide_memory()
    limits.settle(holding, own_namespace=spaces)
    if works == _ALL:
        hold.inner = inner.start(holding.processes_max)
    else:
        hold.isolation = f"plain: tasks see the account's other processes ({reason})"
    if outside is not None:
        outside.settle(inside=hold.inner is not None)
    kernel.gain_nothing_more()
    kernel.drop_capabilities()
    hold.ram_start, hold.ram_kept = _used(hold.ram), emptying.inodes(hold.ram)
    return hold


def _plain(holding: Holding, reason: str) -> Hold:
    """Hold by what needs no mount namespace: own network where that works, limits."""
    word = offline.enter() if not holding.opens_network else _WITH_NETWORK
    kernel.hide_memory()
    limits.settle(holding, own_namespace=False)
    return Hold(word, f"plain: {reason}")


_WITH_NETWORK = "none: the site lets tasks reach its network, and nothing isolates them"


def _leave_node(holding: Holding) -> bool:
    """Leave the node's mounts and network; return whether users are counted apart as well."""
    flags = kernel.CLONE_NEWNS
    if not holding.opens_network:
        flags |= linux.CLONE_NEWNET
    uid, gid = os.getuid(), os.getgid()
    try:
        linux.unshare(linux.CLONE_NEWUSER | flags)
    except OSError:
        linux.unshare(flags)  # as root where the node has no user namespaces
        return False
    linux.keep_own_ids(uid, gid)
    return True


def _try(folder: str, holding: Holding) -> tuple[int, str]:
    """Settle in within a fork; return what works, and why the rest does not."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        words: list[Any] = [_NONE, ""]
        try:
            _leave_node(holding)
            view.build(folder, holding)
            words[0] = _VIEW
            inner.start(holding.processes_max).end()
            words[0] = _ALL
        except BaseException as error:  # a fork must not return into the slot
            words[1] = getattr(error, "strerror", "") or str(error)
        finally:
            os.write(tell, f"{words[0]} {words[1]}".encode()[:_WORD_BYTES_MAX])
            os._exit(0)
    os.close(tell)
    said = os.read(told, _WORD_BYTES_MAX).decode(errors="replace")
    os.close(told)
    os.waitpid(pid, 0)
    number, _, reason = said.partition(" ")
    return (int(number), reason) if number else (_NONE, "the try ended without a word")


def _used(descriptor: int) -> tuple[int, int]:
    """Return free blocks and free files of a memory disk."""
    disk = os.fstatvfs(descriptor)
    return disk.f_bfree, disk.f_ffree
