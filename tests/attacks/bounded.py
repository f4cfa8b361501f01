"""A child process that may use 64 MiB more memory than it had when it was ready, and no more.

    python -m tests.attacks.bounded MODULE:FUNCTION ARGUMENT...

The function makes itself ready, takes good input once, and returns what is to be run within the
limit; that returns something for JSON. Running out of memory is told as `"MemoryError"`.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_BYTES = 64 << 20
REPOSITORY = Path(__file__).parents[2]

Ready = Callable[[], Any]


def run_bounded(ready: Callable[..., Ready], *arguments: object, timeout_s: float = 120) -> Any:
    """Run in a child what `ready(*arguments)` returns, within the limit; return what it says."""
    name = f"{ready.__module__}:{ready.__qualname__}"
    done = subprocess.run(
        [sys.executable, "-m", __name__, name, *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{name}{arguments}: {done.returncode}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def held_bytes() -> int:
    """Return the size of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(name: str, *arguments: str) -> None:
    """Make ready, set the limit, run, print."""
    module, _, function = name.partition(":")
    act: Ready = getattr(importlib.import_module(module), function)(*arguments)
    limit = held_bytes() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        said = act()
    except MemoryError:
        said = "MemoryError"
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
