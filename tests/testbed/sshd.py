"""A real sshd of Debian's package on loopback, and a client's files for it.

What a person does at a login with a second factor is done here by a key: `log_in` opens the
connection that others reuse, `forbid` has the server refuse the next login.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.testbed import debian

PACKAGES = ("openssh-server", "openssh-client")
PROGRAM_S = 30
_SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
MaxStartups 100
"""
_CLIENT = """
Host login
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  HostKeyAlias login
  StrictHostKeyChecking yes
  ControlPath {folder}/cm
"""


class Unavailable(Exception):
    """There is no sshd here; the text says why."""


class Sshd:
    """One server. `config` is an ssh_config that knows it as `login`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        self.port = _free_port()
        (folder / "server").write_text(_SERVER.format(port=self.port, folder=folder))
        (folder / "known").write_text(f"login {(folder / 'host.pub').read_text()}")
        self.config = folder / "client"
        self.through(self.port)
        self.allow()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._log = (folder / "log").open("ab")
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        self._process = subprocess.Popen(
            [program, "-D", "-e", "-f", folder / "server"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        _until_open(self.port, self._process)

    @property
    def control(self) -> Path:
        """The socket of the connection that a person opened."""
        return self.folder / "cm"

    def through(self, port: int) -> None:
        """Have the client go by another port, where a wire is."""
        text = _CLIENT.format(port=port, folder=self.folder, user=getpass.getuser())
        self.config.write_text(text)

    def allow(self) -> None:
        shutil.copy(self.folder / "key.pub", self.folder / "authorized")

    def forbid(self) -> None:
        (self.folder / "authorized").write_text("")

    def log_in(self) -> None:
        """Open the connection, as a person does once a day."""
        _run("ssh", "-F", self.config, "-MNf", "-o", "ControlPersist=yes", "login")

    def log_out(self) -> None:
        if self.control.exists():
            _run("ssh", "-F", self.config, "-O", "exit", "login", check=False)

    def logins(self) -> int:
        """Return how often somebody tried to log in."""
        return (self.folder / "log").read_text(errors="replace").count("Connection closed by") + (
            self.folder / "log"
        ).read_text(errors="replace").count("Accepted publickey")

    def close(self) -> None:
        self.log_out()
        self._process.terminate()
        self._process.wait(PROGRAM_S)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start() -> Sshd:
    """Start a server, its packages installed where they are missing. Raises Unavailable."""
    if not Path("/usr/sbin/sshd").exists() and shutil.which("sshd") is None:
        reason = debian.install(PACKAGES)
        if not Path("/usr/sbin/sshd").exists():
            raise Unavailable(f"sshd is not here: {reason or 'the package brought none'}")
    folder = Path(tempfile.mkdtemp(prefix="pulk-ssh-", dir="/tmp"))  # sockets need short names
    try:
        return Sshd(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PROGRAM_S
    while True:
        if process.poll() is not None:
            raise Unavailable(f"sshd ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                process.kill()
                raise Unavailable("sshd does not listen") from None
            time.sleep(0.05)
        else:
            return


def _run(*arguments: object, check: bool = True) -> None:
    subprocess.run(
        [str(one) for one in arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PROGRAM_S,
        check=check,
    )
