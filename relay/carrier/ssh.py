"""An exchange folder at the other end of ssh, by OpenSSH's own programs.

A connection that a person opened is used and nothing is ever asked: no password, no one-time code.
Where it is gone nothing tries to log in; that is told, and the next tick looks again.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.limits import BUNDLE_BYTES_MAX, MIB
from bundle.spool import publish
from relay.carrier import programs
from relay.carrier.contract import SLOWEST_BYTES_PER_S
from relay.carrier.folder import ENTRIES_MAX, Entry
from relay.carrier.programs import Done, Limits
from relay.errors import CarryFailed, FarSideRefused, LoginNeeded

LISTING_BYTES_MAX = 16 * MIB
MEMORY_BYTES_MAX = 1024 * MIB  # of address space; far less is used
AT_ONCE = 200  # files removed by one command
CHECK_S = 20.0
NOTHING = "the other end said nothing"
# mode, links, owner, group, size, three words of a date, name
_ROW = re.compile(r"-[-rwxsStT]{9}[.+@]?\s+\S+\s+\S+\s+\S+\s+([0-9]{1,15})(?:\s+\S+){3}\s+(\S+)")
_GONE = ("not found", "no such file", "not a regular file")
_TOO_LONG = -signal.SIGXFSZ
_DENIED = ("permission denied", "too many authentication failures", "no more authentication")


@dataclass(frozen=True, slots=True)
class Reach:
    """How to get there. `path`: of the exchange folder, in characters that need no quoting.

    `by_person`: only over a connection that a person opened; else by keys too. `control`: where
    that connection's socket lies, `config`: an ssh_config; empty: as the person's own files say.
    """

    host: str
    path: str
    user: str = ""
    port: int = 0
    by_person: bool = True
    control: str = ""
    config: str = ""
    timeout_s: float = 30.0

    @property
    def target(self) -> str:
        """Whom to log in as, and where."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def options(self) -> list[str]:
        """Return what ssh and sftp are given alike."""
        told = {
            "BatchMode": "yes",
            "ClearAllForwardings": "yes",
            "ConnectTimeout": str(max(1, round(self.timeout_s))),
            "NumberOfPasswordPrompts": "0",
            "PermitLocalCommand": "no",
            "ServerAliveCountMax": "3",
            "ServerAliveInterval": str(max(1, round(self.timeout_s / 3))),
        }
        if self.by_person:
            told["ControlMaster"] = "no"
        if self.control:
            told["ControlPath"] = self.control
        found = ["-F", self.config] if self.config else []
        if self.port:
            found += ["-o", f"Port={self.port}"]
        for name, value in told.items():
            found += ["-o", f"{name}={value}"]
        return found

    def login(self) -> str:
        """Return what the person types to open the connection."""
        words = ["ssh", "-MNf", "-o", "ControlPersist=yes"]
        words += ["-F", self.config] if self.config else []
        words += ["-o", f"ControlPath={self.control}"] if self.control else []
        words += ["-p", str(self.port)] if self.port else []
        return " ".join([*words, self.target])


class FarFolder:
    """See `folder.Folder`."""

    def __init__(self, reach: Reach) -> None:
        """Go there when something is asked."""
        self._reach = reach

    @property
    def where(self) -> str:
        """See `Folder`."""
        return f"ssh://{self._reach.target}{self._reach.path}"

    def entries(self, side: str) -> list[Entry]:
        """See `Folder`. Links are passed over."""
        rows = self._listed(f"ls -ln {self._reach.path}/{side}/")
        if len(rows) > ENTRIES_MAX:
            raise FarSideRefused(where=self.where, reason=f"{side} holds {len(rows)} files")
        return sorted(rows, key=lambda one: one.name)

    def get(self, side: str, entry: Entry, part: Path) -> None:
        """See `Folder`."""
        source = f"{self._reach.path}/{side}/{entry.name}"
        here = part.stat().st_size if part.exists() else 0
        if here > entry.size_bytes:
            part.unlink()
            here = 0
        if here < entry.size_bytes:
            option = "-a" if here else ""
            self._sftp(f"get {option} {source} {_local(part)}", entry.size_bytes, entry.name)
        if part.is_symlink() or not part.is_file():
            raise FarSideRefused(where=self.where, reason=f"{entry.name} is no plain file")
        part.chmod(publish.FILE_MODE)
        publish.fsync_file(part)

    def put(self, path: Path, side: str, name: str, *, fresh: bool = False) -> None:
        """See `Folder`. What was sent before an interruption stays under a hidden name."""
        size = path.stat().st_size
        target = f"{self._reach.path}/{side}/{name}"
        part = f"{self._reach.path}/{side}/.{name}.part"
        rows = self._listed(f"-ls -ln {target}", f"-ls -ln {part}")
        there = {one.name: one.size_bytes for one in rows}
        if there.get(name) == size and not fresh:
            return
        begun = there.get(f".{name}.part", 0)
        is_on = 0 < begun < size and not fresh
        lines = [] if is_on or not begun else [f"-rm {part}"]
        lines += [
            f"put -f {'-a ' if is_on else ''}{_local(path)} {part}",
            f"rename {part} {target}",
        ]
        self._sftp("\n".join(lines), size)
        if {one.name: one.size_bytes for one in self._listed(f"ls -ln {target}")}.get(name) != size:
            raise FarSideRefused(where=self.where, reason=f"{name} is not as long as it was sent")

    def remove(self, side: str, names: list[str]) -> None:
        """See `Folder`."""
        for at in range(0, len(names), AT_ONCE):
            some = names[at : at + AT_ONCE]
            self._sftp("\n".join(f"-rm {self._reach.path}/{side}/{name}" for name in some), 0)

    def check(self) -> None:
        """Raise LoginNeeded where a person must open the connection first."""
        if not self._reach.by_person:
            return
        done = self._run(["ssh", *self._reach.options(), "-O", "check", self._reach.target], "", 0)
        if done.code != 0:
            reason = _last(done.error)
            raise LoginNeeded(
                where=self.where, host=self._reach.host, reason=reason, command=self._reach.login()
            )

    def _listed(self, *commands: str) -> list[Entry]:
        out = self._sftp("\n".join(commands), 0)
        found = []
        for line in out.splitlines():
            if row := _ROW.fullmatch(line.strip()):
                found.append(Entry(row[2].rsplit("/", 1)[-1], int(row[1])))
        return found

    def _sftp(self, batch: str, size_bytes: int, name: str = "") -> str:
        """Run commands; return what they printed. `name`: of the one file that is asked for.

        Raises LoginNeeded, FarSideRefused, CarryFailed.
        """
        self.check()
        argv = ["sftp", *self._reach.options(), "-b", "-", self._reach.target]
        done = self._run(argv, f"{batch}\n", size_bytes)
        if done.excess:
            if done.excess.endswith("words"):
                raise FarSideRefused(where=self.where, reason=f"it took more than {done.excess}")
            raise CarryFailed(
                where=self.where, method="sftp", reason=f"it took more than {done.excess}"
            )
        if done.code != 0:
            self.check()  # the connection may have ended in the middle
            if name and (done.code == _TOO_LONG or any(w in done.error.lower() for w in _GONE)):
                reason = f"{name} is not what the listing said"
                raise FarSideRefused(where=self.where, reason=reason)
            raise self._failure(done)
        return done.out

    def _run(self, argv: Sequence[str], said: str, size_bytes: int) -> Done:
        seconds = CHECK_S + 2 * self._reach.timeout_s + size_bytes / SLOWEST_BYTES_PER_S
        file_bytes = min(size_bytes, BUNDLE_BYTES_MAX) or 4096
        limits = Limits(seconds, LISTING_BYTES_MAX, MEMORY_BYTES_MAX, file_bytes)
        try:
            return programs.run(argv, said, limits)
        except OSError as error:
            reason = f"{argv[0]} can't be started: {error.strerror or error}"
            raise CarryFailed(where=self.where, method=argv[0], reason=reason) from error

    def _failure(self, done: Done) -> CarryFailed:
        reason = _last(done.error)
        if any(word in done.error.lower() for word in _DENIED):
            command = self._reach.login()
            return LoginNeeded(
                where=self.where, host=self._reach.host, reason=reason, command=command
            )
        return CarryFailed(where=self.where, method="sftp", reason=reason)


def _last(error: str) -> str:
    """Return the last line of what ssh said that tells something."""
    lines = [one.strip() for one in error.splitlines() if one.strip()]
    telling = [one for one in lines if not one.lower().startswith("connection closed")]
    return (telling or lines or [NOTHING])[-1][:500]


def _local(path: Path) -> str:
    """Return a path of ours as sftp reads it."""
    escaped = re.sub(r'(["\\])', r"\\\1", str(path))
    return f'"{escaped}"'
