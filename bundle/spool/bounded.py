"""Reading a record's file that somebody else may have put there: a plain file, of bounded size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bundle.canonical import NotCanonical
from bundle.limits import ParseLimits


def read_bounded(path: Path, limits: ParseLimits) -> bytes:
    """Return the bytes of a file that `canonical.decode` may then read within the same limits.

    Links are not followed and pipes not waited for. Raises NotCanonical where it is no plain file
    or too large; FileNotFoundError and other OSErrors as they are.
    """
    where = str(path)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotCanonical(where=where, reason=f"no readable plain file: {reason}") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise NotCanonical(where=where, reason="it is no plain file")
        if state.st_size > limits.bytes_max:
            reason = f"{state.st_size} bytes, at most {limits.bytes_max}"
            raise NotCanonical(where=where, reason=reason)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(state.st_size)
    finally:
        os.close(descriptor)
