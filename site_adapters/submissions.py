"""One small file for each submission, read by any later relay process; marks of forgotten ones.

A file is made exclusively before anything is submitted, so a submission whose answer was never
written down is found again by its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from bundle.spool import publish
from site_adapters import process

FORGOTTEN = ".forgotten"
MARK_S = 7 * 86_400


class Submission(Protocol):
    """What every adapter's submission says of itself."""

    @property
    def name(self) -> str:
        """Unique for ever."""

    @property
    def jobs(self) -> int:
        """How many batch jobs it has."""

    @property
    def submitted_us(self) -> int:
        """When, in UTC microseconds."""

    @property
    def host(self) -> str:
        """Where it is submitted."""

    @property
    def submitter(self) -> tuple[int, int]:
        """The process that submits it: pid and start ticks; zeros: it is over."""

    @property
    def missing_us(self) -> Mapping[int, int]:
        """Since when each batch job that should be there is not listed."""

    @property
    def forgotten(self) -> frozenset[str]:
        """Pilots that the relay wants to hear of no more."""


Kept = TypeVar("Kept", bound=Submission)


@dataclass(frozen=True, slots=True)
class Files(Generic[Kept]):
    """The files of one adapter's submissions: `FOLDER/NAME` and a suffix of its own.

    `encode` and `decode`: to and from plain values; what `decode` raises of ValueError, KeyError
    and TypeError makes a file a damaged one.
    """

    suffix: str
    encode: Callable[[Kept], dict[str, Any]]
    decode: Callable[[str, dict[str, Any]], Kept]

    def begin(self, folder: Path, one: Kept) -> bool:
        """Write a new submission; False where there is one of this name."""
        publish.make_folder(folder)
        try:
            publish.write_new_file(folder, self._path(folder, one.name), self._bytes(one))
        except publish.AlreadyThere:
            return False
        return True

    def save(self, folder: Path, one: Kept) -> None:
        """Write what is known now; nothing where it was forgotten meanwhile."""
        path = self._path(folder, one.name)
        if path.exists():
            publish.write_file(folder, path, self._bytes(one))

    def read(self, folder: Path, name: str) -> Kept | None:
        """Read one submission; None where there is none, or a damaged one."""
        try:
            return self.decode(name, json.loads(self._path(folder, name).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def every(self, folder: Path) -> Iterator[Kept]:
        """Yield every submission, by name."""
        found = folder.glob(f"*{self.suffix}") if folder.is_dir() else ()
        for name in sorted(path.name for path in found):
            one = self.read(folder, name.removesuffix(self.suffix))
            if one is not None:
                yield one

    def drop(self, folder: Path, name: str, *more: Path) -> None:
        """Remove a submission's file, its logs, and `more` of it; the file itself last.

        A mark stays for as long as the queue may still show it, so that nobody finds it there.
        """
        for mark in folder.glob(f"*{FORGOTTEN}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - mark.stat().st_mtime > MARK_S:
                    mark.unlink()
        (folder / f"{name}{FORGOTTEN}").touch()
        for path in folder.glob(f"{name}.*.log"):
            path.unlink(missing_ok=True)
        for path in more:
            publish.remove(path)
        self._path(folder, name).unlink(missing_ok=True)

    def _path(self, folder: Path, name: str) -> Path:
        return folder / f"{name}{self.suffix}"

    def _bytes(self, one: Kept) -> bytes:
        return json.dumps(self.encode(one)).encode()


def to_wire(one: Submission) -> dict[str, Any]:
    """Return as plain values what every adapter's submission says of itself, but for its name."""
    return {
        "jobs": one.jobs,
        "submitted_us": one.submitted_us,
        "host": one.host,
        "submitter": one.submitter,
        "missing_us": {str(at): us for at, us in sorted(one.missing_us.items())},
        "forgotten": sorted(one.forgotten),
    }


def from_wire(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same as arguments. Raises KeyError, TypeError, ValueError where it is damaged."""
    pid, ticks = said["submitter"]
    return {
        "jobs": int(said["jobs"]),
        "submitted_us": int(said["submitted_us"]),
        "host": str(said["host"]),
        "submitter": (int(pid), int(ticks)),
        "missing_us": {int(at): int(us) for at, us in said["missing_us"].items()},
        "forgotten": frozenset(map(str, said["forgotten"])),
    }


def is_forgotten(folder: Path, name: str) -> bool:
    """Return whether a submission of this name was dropped of late."""
    return (folder / f"{name}{FORGOTTEN}").exists()


def here() -> tuple[str, tuple[int, int]]:
    """Return this host and this process, as a submission names who submits it."""
    own = process.look(os.getpid())
    return platform.node(), (os.getpid(), own.start_ticks if own else 0)


def is_being_submitted(one: Submission) -> bool:
    """Return whether the process that submits it still lives, as far as this host can tell."""
    return one.host == platform.node() and process.is_alive(*one.submitter)
