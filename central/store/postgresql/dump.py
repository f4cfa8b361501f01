"""A whole copy of the database by pg_dump, and back by pg_restore."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

from bundle.spool import publish
from central.errors import BackupRefused, RestoreRefused
from central.store.postgresql.address import Address
from central.store.postgresql.settings import CONNECT

PROGRAM, RESTORE = "pg_dump", "pg_restore"
_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
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
        arguments = ["--format=custom", "--no-owner", "--no-privileges", "--no-password"]
        said = _run([program, *arguments], address, descriptor, pause)
        if said is not None:
            raise BackupRefused(where=address.shown, reason=said)
        os.fsync(descriptor)
    except BaseException:
        to.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    publish.fsync_folder(to.parent)


def restore(address: Address, source: Path) -> None:
    """Fill an empty database out of a dump: all of it or, in one transaction, nothing.

    Raises RestoreRefused.
    """
    program = shutil.which(RESTORE)
    if program is None:
        raise RestoreRefused(where=address.shown, reason=f"there is no {RESTORE} on this machine")
    try:
        with psycopg.connect(address.conninfo, **CONNECT) as raw:
            found = raw.execute(_TABLES).fetchone()
            name = raw.info.dbname
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise RestoreRefused(where=address.shown, reason=reason) from error
    if found is None or found[0]:
        raise RestoreRefused(where=address.shown, reason="the database has tables already")
    arguments = [
        *("--no-owner", "--no-privileges", "--no-password", "--single-transaction"),
        *("--exit-on-error", f"--dbname={name}", str(source)),
    ]
    said = _run([program, *arguments], address, subprocess.DEVNULL, lambda: None)
    if said is not None:
        raise RestoreRefused(where=address.shown, reason=said)


def _run(
    command: list[str], address: Address, target: int, pause: Callable[[], None]
) -> str | None:
    """Run it to its end; return the last line of what it complained of, or None."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
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
    return lines[-1] if lines else f"{command[0]} ended with {process.returncode}"
