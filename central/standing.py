"""The trust file as it is now, for whoever checks what sites sign without asking the authority."""

from __future__ import annotations

import os
from pathlib import Path

from bundle.trust.trust_file import TrustView

Trusted = tuple[int, int]  # which trust file: its modification time and inode


class Standing:
    """Reads the trust file when it was replaced. May be used by several threads."""

    def __init__(self, path: Path) -> None:
        """Read from a file that each new version replaces by rename."""
        self._path = path
        self._held: tuple[Trusted, TrustView] | None = None

    def now(self) -> tuple[Trusted, TrustView]:
        """Return which trust file is in force, and what it says. Raises TrustRefused."""
        state = os.stat(self._path)  # noqa: PTH116  per request: half the time of a Path's
        trusted, held = (state.st_mtime_ns, state.st_ino), self._held
        if held is None or held[0] != trusted:
            held = self._held = (trusted, TrustView.load(self._path))
        return held
