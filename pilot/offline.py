"""A slot's network namespace: nothing but loopback, and a count of what tried to leave."""

from __future__ import annotations

import os

from pilot import linux

NAMESPACE = "namespace"


def enter() -> str:
    """Leave the node's network. Returns `namespace`, or `none: <reason>` where that fails."""
    try:
        try:
            linux.unshare(linux.CLONE_NEWNET)
        except PermissionError:
            uid, gid = os.getuid(), os.getgid()
            linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
            linux.keep_own_ids(uid, gid)
        linux.bring_loopback_up()
    except OSError as error:
        return f"none: {error.strerror or error}"
    return NAMESPACE


class NoRoutes:
    """Counts packets that found no route out of the namespace this process is in."""

    def __init__(self) -> None:
        """Open the kernel's counters; where they are missing the count stays 0."""
        self._ipv4 = _opened("self/net/snmp")
        self._ipv6 = _opened("self/net/snmp6")
        self._column = _column(self._ipv4)

    def count(self) -> int:
        """Return the count so far, of IPv4 and IPv6 together."""
        found = 0
        if self._ipv4 is not None and self._column:
            lines = os.pread(self._ipv4, 1 << 16, 0).split(b"\n", 2)
            found += int(lines[1].split(None, self._column + 1)[self._column])
        if self._ipv6 is not None:
            _, _, rest = os.pread(self._ipv6, 1 << 16, 0).partition(b"Ip6OutNoRoutes")
            found += int(rest.split(None, 1)[0]) if rest else 0
        return found


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=linux.PROC)
    except OSError:
        return None


def _column(descriptor: int | None) -> int:
    if descriptor is None:
        return 0
    names = os.pread(descriptor, 1 << 16, 0).split(b"\n", 1)[0].split()
    return names.index(b"OutNoRoutes") if b"OutNoRoutes" in names else 0
