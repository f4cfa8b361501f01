"""One process writes at a time: central's folder is on a local disk, so flock holds there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bundle.errors import PulkError
from central.home import Home

SERVE = "serve"  # what the server is doing


class InUse(PulkError):
    """Another process works in this central's folder, most likely `pulk central serve`."""

    code = "in-use"
    transient = True
    what = "process {pid} ({doing}) is at work here"
    remedy = "stop it first, or wait until it has ended; nothing was changed"


@contextmanager
def held(home: Home, doing: str) -> Iterator[None]:
    """Hold the folder for one process's work. Raises InUse.

    A process that dies lets go by dying; the file itself stays and means nothing.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(home.lock, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, other = os.pread(descriptor, 200, 0).decode(errors="replace").partition(" ")
            raise InUse(where=str(home.root), pid=pid or "?", doing=other or "?") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {doing}".encode(), 0)
        yield
    finally:
        os.close(descriptor)
