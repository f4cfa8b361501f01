"""Running a program of the system's with limits on its time, words, memory and files."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

PIECE_BYTES = 1 << 16
ERROR_BYTES_MAX = 1 << 16
PASSED_ON = ("HOME", "LANG", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "USER")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may take. `memory_bytes` is address space; `file_bytes` of any file."""

    seconds: float
    out_bytes: int
    memory_bytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended. `code`: its exit status; `excess`: what it took too much of."""

    code: int
    out: str
    error: str
    excess: str = ""


def run(argv: Sequence[str], said: str, limits: Limits) -> Done:
    """Run a program with this standard input, in a session of its own: nothing asks a person.

    Raises OSError where it can't be started.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(os.environ),
        start_new_session=True,
    )
    try:
        _limit(process.pid, limits)
        assert process.stdin and process.stdout and process.stderr  # noqa: S101  all are pipes
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(said.encode())
            process.stdin.close()
        out, error, excess = _listen(process.stdout, process.stderr, limits)
        if not excess:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
    finally:
        _end(process)
    words = [raw.decode(errors="replace") for raw in (out, error)]
    return Done(process.returncode, words[0], words[1], excess)


def _limit(pid: int, limits: Limits) -> None:
    """Set limits before the program has spoken to anybody."""
    with contextlib.suppress(ProcessLookupError):
        for what, most in (
            (resource.RLIMIT_AS, limits.memory_bytes),
            (resource.RLIMIT_FSIZE, limits.file_bytes),
        ):
            _, hard = resource.prlimit(pid, what)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, what, (least, least))


def _listen(out: IO[bytes], error: IO[bytes], limits: Limits) -> tuple[bytes, bytes, str]:
    """Read both streams to their ends; what a stream says beyond its bound ends it all."""
    deadline = time.monotonic() + limits.seconds
    kept: dict[int, bytearray] = {out.fileno(): bytearray(), error.fileno(): bytearray()}
    with selectors.DefaultSelector() as waiting:
        for one in kept:
            os.set_blocking(one, False)
            waiting.register(one, selectors.EVENT_READ)
        while waiting.get_map():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return *_both(kept, out, error), f"{limits.seconds:.0f} s"
            for key, _ in waiting.select(left_s):
                piece = os.read(key.fd, PIECE_BYTES)
                if not piece:
                    waiting.unregister(key.fd)
                kept[key.fd] += piece
            if len(kept[out.fileno()]) > limits.out_bytes:
                return *_both(kept, out, error), f"{limits.out_bytes} bytes of words"
            del kept[error.fileno()][ERROR_BYTES_MAX:]
    return *_both(kept, out, error), ""


def _both(kept: dict[int, bytearray], out: IO[bytes], error: IO[bytes]) -> tuple[bytes, bytes]:
    return bytes(kept[out.fileno()]), bytes(kept[error.fileno()])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program with all that it started, if it has not ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given[name] for name in PASSED_ON if name in given} | {"LC_ALL": "C"}
