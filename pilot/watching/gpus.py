"""What the node's GPUs do, asked once for all tasks: one `nvidia-smi` that tells every few seconds.

It starts with the first task that uses a device. Where there is no such program, nothing is told.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

EVERY_S = 5
READ_BYTES = 64 << 10
STARTS_MAX = 3
_QUERY = "--query-gpu=uuid,utilization.gpu,memory.used"


class Gpus:
    """The latest figures by UUID: utilisation (1000 is all of a device) and memory in MiB."""

    def __init__(self, program: str = "nvidia-smi") -> None:
        """Start nothing yet. `program` speaks as nvidia-smi does."""
        self._program = shutil.which(program)
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._seen: dict[str, tuple[int, int]] = {}

    def latest(self) -> dict[str, tuple[int, int]]:
        """Return what was told last, without waiting; starts the program where that is needed."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        if self._process is not None and self._process.stdout is not None:
            with contextlib.suppress(BlockingIOError):
                while piece := os.read(self._process.stdout.fileno(), READ_BYTES):
                    *lines, self._rest = (self._rest + piece).split(b"\n")
                    self._seen.update(filter(None, map(parse_line, lines)))
        return self._seen

    def close(self) -> None:
        """End the program."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _start(self) -> None:
        self.close()
        self._seen, self._rest = {}, b""
        if self._program is None or self._starts >= STARTS_MAX:
            return
        import subprocess  # only a node with GPUs needs it

        self._starts += 1
        argv = [self._program, _QUERY, "--format=csv,noheader,nounits", f"--loop={EVERY_S}"]
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            )
            if self._process.stdout is not None:
                os.set_blocking(self._process.stdout.fileno(), False)


def parse_line(line: bytes) -> tuple[str, tuple[int, int]] | None:
    """Read `uuid, percent, MiB`; a figure that is not told (`[N/A]`) is 0. None for other lines."""
    words = [word.strip() for word in line.decode(errors="replace").split(",")]
    if len(words) != 3 or not words[0].startswith(("GPU-", "MIG-")):
        return None
    percent, mib = (int(word) if word.isdecimal() else 0 for word in words[1:])
    return words[0], (10 * percent, mib)
