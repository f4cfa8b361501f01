"""Finding a task's program on its search path, once for each name."""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH100

from __future__ import annotations

import os
import shutil


class Commands:
    """Remembers where programs are; one that was not found is looked for again."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._found: dict[tuple[str, str], str] = {}

    def find(self, name: str, path: str) -> str:
        """Return the program's path. Raises FileNotFoundError; a name with a slash stays."""
        if "/" in name:
            return name
        known = self._found.get((name, path))
        if known is None:
            known = shutil.which(name, path=path)
            if known is None:
                raise FileNotFoundError(2, f"no such program on the tasks' path {path}", name)
            self._found[name, path] = os.path.abspath(known)
        return known
