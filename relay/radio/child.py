"""The process of the radio: started by `pulk relay run`, gone with it."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from bundle.errors import PulkError

MEMORY_BYTES_MAX = (
    8 << 30
)  # what a hostile pilot can make it hold; then it ends and is started anew


_START = (
    "import sys; sys.path[:] = sys.argv[1].split('\\n'); "
    "from relay.radio.child import main; sys.exit(main(sys.argv[2:]))"
)


def command(folder: Path, level: int = logging.WARNING) -> list[str]:
    """Return the command of the process for a relay's folder."""
    path = "\n".join(sys.path)
    return [sys.executable, "-I", "-c", _START, path, str(folder), str(level)]


def main(arguments: list[str]) -> int:
    """Serve the relay's folder until standard input ends. A byte on standard output: tick soon."""
    folder, level = arguments
    logging.basicConfig(stream=sys.stderr, level=int(level), format="radio: %(message)s")
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGTERM):  # of the terminal or the group: the loop decides
        signal.signal(number, signal.SIG_IGN)
    _bound()
    try:
        return _serve(Path(folder))
    except PulkError as error:
        sys.stderr.write(f"radio: {error.text()}\n")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"radio: the Python package {error.name!r} is not installed here\n")
    return 1


def _serve(folder: Path) -> int:
    from relay.home import open_home
    from relay.radio.station import Station

    os.set_blocking(sys.stdout.fileno(), False)

    def ring() -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(sys.stdout.fileno(), b".")

    station = Station(open_home(folder), ring)
    try:
        station.serve(sys.stdin.fileno())
    finally:
        station.close()
    return 0


def _bound() -> None:
    """Let there be a connection for each pilot, and an end to what they can make it hold."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
