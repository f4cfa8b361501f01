"""Which container runtime a node has: the first of those we know on the search path."""

from __future__ import annotations

import shutil

from pilot.core.container import RUNTIMES, Runtime, version_told

ANSWER_S_MAX = 10.0


def look(path: str) -> Runtime:
    """Return the runtime on a search path; nothing is started where there is none."""
    for name in RUNTIMES:
        found = shutil.which(name, path=path)
        if found is not None:
            return Runtime(found, name, version_told(_said(found)))
    return Runtime()


def _said(program: str) -> str:
    import subprocess  # only where there is a runtime to ask

    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.decode(errors="replace")
