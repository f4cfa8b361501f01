"""The bell: rung by a thread or a signal, heard by the one place where the daemon sleeps."""

from __future__ import annotations

import contextlib
import os


class Bell:
    """A pipe to oneself. What rings before anybody listens is heard by the next who does."""

    def __init__(self) -> None:
        """Make the pipe; it lasts as long as the process."""
        self._heard, self._rung = os.pipe()
        os.set_blocking(self._heard, False)
        os.set_blocking(self._rung, False)

    def fileno(self) -> int:
        """Return what `select` waits for."""
        return self._heard

    def ring(self) -> None:
        """Wake who sleeps; safe in signal handlers and threads."""
        with contextlib.suppress(BlockingIOError):  # it has rung often enough
            os.write(self._rung, b".")

    def hush(self) -> None:
        """Forget what rang until now."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._heard, 4096):
                pass
