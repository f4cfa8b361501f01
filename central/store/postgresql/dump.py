"""A whole copy of the database by pg_dump, in the form that pg_restore takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bundle.spool import publish
from central.errors import BackupRefused
from central.store.postgresql.address import Address

PROGRAM = "pg_dump"
PAUSE_S = 0.1


def write(address: Address, to: Path, pause: Callable[[], None]) -> None:
    """Write a dump of one snapshot to a new file, and bring it to the disk.

    `pause` is called every so often until it is done. Raises FileExistsError, BackupRefused.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BackupRefused(where=address.shown, reason=f"there is no {PROGRAM} on this machine")
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        said = _run(program, address, descriptor, pause)
        if said is not None:
            raise BackupRefused(where=address.shown, reason=said)
        os.fsync(descriptor)
    except BaseException:
        to.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    publish.fsync_folder(to.parent)


def _run(program: str, address: Address, target: int, pause: Callable[[], None]) -> str | None:
    """Run it to its end; return the last line of what it complained of, or None."""
    arguments = ["--format=custom", "--no-owner", "--no-privileges", "--no-password"]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=complaints,
            env={**os.environ, **address.environment()},
        )
        try:
            while process.poll() is None:
                pause()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE_S)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
    if process.returncode == 0:
        return None
    return lines[-1] if lines else f"{PROGRAM} ended with {process.returncode}"
