"""A real PostgreSQL server of Debian's package, on a socket in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.testbed import debian

PACKAGES = ("postgresql", "postgresql-client")
PROGRAM_S = 60
_CREATECLUSTER = Path("/etc/postgresql-common/createcluster.conf")
_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777
max_connections = 40
shared_buffers = 64MB
max_wal_senders = 0
wal_level = minimal
autovacuum_naptime = 5s
"""


class Unavailable(Exception):
    """There is no PostgreSQL here; the text says why."""


class Server:
    """One cluster. Runs as an unprivileged account when the tests run as root."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self._data = folder / "data"
        account = _account()
        self._account: dict[str, Any] = (
            {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
        )
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", self._data, "-U", "pulk", "-A", "trust", "-E", "UTF8", "-N")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(folder=folder))
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self.folder / "log", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def url(self, database: str) -> str:
        return f"postgresql://pulk@/{database}?host={self.folder}"

    def psql(self, sql: str, database: str = "postgres") -> str:
        return self._run(
            "psql", "-XAtq", "-h", self.folder, "-U", "pulk", "-d", database, "-c", sql
        )

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database and return its URL.

        Of a copy the server logs the pages as they are, and a sequence's page runs ahead of what
        was logged for it: a crash before the next checkpoint would hand out its numbers twice.
        """
        self.psql(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        if template != "template0":
            self.psql("CHECKPOINT")
        return self.url(database)

    def drop(self, database: str) -> None:
        self.psql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def kill(self, backend: int) -> None:
        """Kill one backend as the kernel's out-of-memory killer would."""
        os.kill(backend, signal.SIGKILL)

    def close(self) -> None:
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: object) -> str:
        # into a file: a server that pg_ctl starts would keep a pipe open
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [self.programs / program, *map(str, arguments)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                timeout=PROGRAM_S,
                check=False,
                **self._account,
            )
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {text}")
        return text


def start(on: Path = Path("/tmp")) -> Server:
    """Start a server, its packages installed where they are missing. Raises Unavailable.

    `on`: where its folder is made. What is measured needs a disk, what is tested does not.
    """
    programs = _programs()
    if programs is None:
        may_install = os.geteuid() == 0 and os.environ.get("PULK_TEST_INSTALL") != "0"
        if may_install and not _CREATECLUSTER.exists():  # else the package starts one of its own
            _CREATECLUSTER.parent.mkdir(parents=True, exist_ok=True)
            _CREATECLUSTER.write_text("create_main_cluster = false\n")
        reason = debian.install(PACKAGES)
        programs = _programs()
        if programs is None:
            raise Unavailable(
                f"PostgreSQL is not here: {reason or 'the package brought no initdb'}"
            )
    folder = Path(tempfile.mkdtemp(prefix="pulk-pg-", dir=on))
    folder.chmod(0o755)
    try:
        return Server(folder, programs)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _programs() -> Path | None:
    """Return the folder of the newest server's programs."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3])
    )
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


def _account() -> pwd.struct_passwd | None:
    """Return whom the server runs as; None is whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("PostgreSQL refuses to run as root, and there is no account nobody")
