"""A whole copy of the database by pg_dump, in the form that pg_restore takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from central.errors import BackupRefused
from central.store.postgresql.address import Address

PROGRAM = "pg_dump"


def write(address: Address, to: Path) -> None:
    """Write a dump of one snapshot to a new file, and bring it to the disk.

    Raises FileExistsError, BackupRefused.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise BackupRefused(where=address.shown, reason=f"there is no {PROGRAM} on this machine")
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        done = subprocess.run(
            [program, "--format=custom", "--no-owner", "--no-privileges", "--no-password"],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.PIPE,
            env={**os.environ, **address.environment()},
            check=False,
        )
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise BackupRefused(where=address.shown, reason=" ".join(last) or "it failed")
        os.fsync(descriptor)
    except BaseException:
        to.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    folder = os.open(to.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
