"""Pilots as processes of this machine, remembered in files that any later relay process can read.

`FOLDER/<name>/` is made exclusively (that is the submission), holds `request` (host, boot id,
submitter) and then `process`, which the launcher writes about itself before it becomes the pilot:
pid, /proc stat line, boot id. So there is no moment in which a pilot runs that nobody can find.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle.spool import publish
from site_adapters import process
from site_adapters.contract import (
    Ending,
    Finding,
    Limits,
    PilotRequest,
    PilotState,
    PilotView,
    SubmitFailed,
)
from site_adapters.process import Process

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LAUNCH = """
read -r stat < "/proc/$$/stat" && read -r boot < /proc/sys/kernel/random/boot_id &&
printf '%s\\n%s\\n' "$stat" "$boot" > "$1.part" && mv "$1.part" "$1" && cd "$2" && shift 2 &&
exec "$@"
"""
CLEAR_S = 2.0  # how long `clear` waits for killed processes to vanish
SUBMIT_S_MAX = 3600  # a folder without a request is left alone so long: it may be about to come


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What the files of one pilot say. `leader` is None until the launcher wrote of itself."""

    name: str
    host: str
    boot_id: str
    submitter: tuple[int, int]  # pid, start ticks
    submitted_us: int
    leader: Process | None


class LocalAdapter:
    """Starts each pilot as the leader of its own session (see `contract.Adapter`)."""

    def __init__(self, folder: Path) -> None:
        """Keep one folder per pilot in `folder`."""
        self._folder = folder
        # Names by pid, to be reaped where they die before they wrote.
        self._started: dict[int, str] = {}

    @property
    def pilots_each(self) -> int:
        """One process is one pilot."""
        return 1

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        """Start the pilots once; see the contract."""
        if request.jobs == 1:
            return (self._start(request),)
        started: list[str] = []
        for number in range(request.jobs):
            one = replace(request, name=f"{request.name}.{number}", jobs=1)
            try:
                started.append(self._start(one))
            except SubmitFailed:
                if not started:
                    raise
                break
        return tuple(started)

    def _start(self, request: PilotRequest) -> str:
        if not _NAME.fullmatch(request.name):
            raise SubmitFailed(name=request.name, reason="the name has characters not allowed")
        home = self._folder / request.name
        batch_id = _batch_id(request.name)
        try:
            publish.make_folder(self._folder)
            home.mkdir(mode=publish.FOLDER_MODE)
        except FileExistsError:
            return batch_id
        except OSError as error:
            raise SubmitFailed(name=request.name, reason=error.strerror or str(error)) from error
        try:
            _write_request(home)
            self._started[_spawn(home, request, batch_id)] = request.name
        except OSError as error:
            shutil.rmtree(home, ignore_errors=True)
            raise SubmitFailed(name=request.name, reason=error.strerror or str(error)) from error
        return batch_id

    def survey(self) -> Mapping[str, PilotView]:
        """Return every pilot not yet forgotten, by batch id."""
        self._reap()
        views = {}
        for one in self._remembered():
            batch_id = _batch_id(one.name)
            state = self._state(one)
            ending = Ending.UNKNOWN if state is PilotState.ABSENT else None
            views[batch_id] = PilotView(one.name, batch_id, state, one.submitted_us, ending)
        return views

    def clear(self, batch_id: str, mark: str) -> bool:
        """Kill the pilot's session and every process whose environment holds the mark."""
        one = self._find(batch_id)
        if one is None or one.host != platform.node():
            return False
        if one.boot_id != process.boot_id():
            return True  # the machine started anew since: nothing can be left
        deadline = time.monotonic() + CLEAR_S
        while remains := list(_remains(one, batch_id, mark)):
            for each in remains:
                process.end(each, signal.SIGKILL)
                process.reap(each.pid)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def cancel(self, batch_ids: Iterable[str]) -> None:
        """Send SIGTERM to the pilots themselves; each ends its tasks and seals."""
        here = (platform.node(), process.boot_id())
        for batch_id in batch_ids:
            one = self._find(batch_id)
            if one is not None and one.leader is not None and (one.host, one.boot_id) == here:
                process.end(one.leader, signal.SIGTERM)

    def forget(self, batch_id: str) -> None:
        """Drop the folder of an ABSENT pilot."""
        self._reap()
        one = self._find(batch_id)
        if one is not None and self._state(one) is PilotState.ABSENT:
            shutil.rmtree(self._folder / one.name, ignore_errors=True)

    def limits(self) -> Limits | None:
        """Nobody limits processes."""
        return None

    def examine(self) -> tuple[Finding, ...]:
        """Nothing can be wrong with a batch system where there is none."""
        return ()

    def _reap(self) -> None:
        """Let go of what died of all that this process started."""
        self._started = {pid: name for pid, name in self._started.items() if not process.reap(pid)}

    def _state(self, one: _Remembered) -> PilotState:
        if one.host != platform.node():
            return PilotState.UNKNOWN  # another login node's pilot: only that node can tell
        if one.boot_id != process.boot_id():
            return PilotState.ABSENT
        leader, record = one.leader, self._folder / one.name / "process"
        if leader is None:
            # This process itself is in no submission now: what it started is to be seen. A launcher
            # shows no arguments for a moment after it began, but whose child it is.
            submits = one.submitter[0] != os.getpid() and process.is_alive(*one.submitter)
            if submits or any(_launching(record)):
                return PilotState.WAITING
            leader = _read_leader(record)  # the launcher may just have become the pilot
            if leader is None and one.name in self._started.values():
                return PilotState.WAITING
        if leader is None:
            return PilotState.ABSENT  # submitter or launcher died before there was a pilot
        process.reap(leader.pid)
        is_alive = process.is_alive(leader.pid, leader.start_ticks)
        return PilotState.RUNNING if is_alive else PilotState.ABSENT

    def _remembered(self) -> Iterator[_Remembered]:
        homes = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        for home in homes:
            if _NAME.fullmatch(home.name) and (one := _read(home)) is not None:
                yield one

    def _find(self, batch_id: str) -> _Remembered | None:
        kind, _, name = batch_id.partition(":")
        if kind != "local" or not _NAME.fullmatch(name) or not (self._folder / name).is_dir():
            return None
        return _read(self._folder / name)


def _batch_id(name: str) -> str:
    return f"local:{name}"


def _write_request(home: Path) -> None:
    own = process.look(os.getpid())
    about = {
        "host": platform.node(),
        "boot_id": process.boot_id(),
        "submitter": [os.getpid(), own.start_ticks if own else 0],
        "submitted_us": time.time_ns() // 1000,
    }
    publish.write_file(home, home / "request", json.dumps(about).encode())


def _spawn(home: Path, request: PilotRequest, batch_id: str) -> int:
    """Start the launcher that becomes the pilot; return its pid."""
    argv = [word.replace("{batch_id}", batch_id) for word in request.argv]
    launcher = ["/bin/sh", "-c", _LAUNCH, "pulk-pilot", str(home / "process")]
    log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        launcher[0],
        [*launcher, str(request.folder), *argv],
        _environment() | dict(request.environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(home / "log"), log, publish.FILE_MODE),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _environment() -> dict[str, str]:
    """Return what a pilot needs of the relay's environment; proxies and secrets stay behind."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _read(home: Path) -> _Remembered | None:
    """Read one pilot's files; None where they are not whole yet.

    Where they never will be, nothing was started: that is a pilot of no boot, and so absent.
    """
    try:
        about: dict[str, Any] = json.loads((home / "request").read_bytes())
        pid, start_ticks = about["submitter"]
        return _Remembered(
            name=home.name,
            host=str(about["host"]),
            boot_id=str(about["boot_id"]),
            submitter=(int(pid), int(start_ticks)),
            submitted_us=int(about["submitted_us"]),
            leader=_read_leader(home / "process"),
        )
    except FileNotFoundError:
        never = _Remembered(home.name, platform.node(), "", (0, 0), 0, None)
        return never if _is_left_alone(home) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_left_alone(home: Path) -> bool:
    try:
        is_old = time.time() - home.stat().st_mtime > SUBMIT_S_MAX
    except OSError:
        return False
    return is_old and not (home / "process").exists()


def _read_leader(path: Path) -> Process | None:
    try:
        return process.parse_stat(path.read_text(errors="replace").splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _launching(record: Path) -> Iterator[Process]:
    for each in process.every():
        if os.fsencode(record) in process.arguments_of(each.pid):
            yield each


def _remains(one: _Remembered, batch_id: str, mark: str) -> Iterator[Process]:
    """Yield what still runs of a pilot: its session, and whatever carries the mark."""
    sessions = set()
    if one.leader is not None:
        leader = process.look(one.leader.pid)
        if leader is None or leader.start_ticks == one.leader.start_ticks:
            sessions.add(one.leader.pid)  # else the pid was reused, and the session is another's
    sign = mark.encode()
    for each in process.every():
        if not each.alive or each.pid == os.getpid():
            continue
        is_marked = sign and sign in process.environment_of(each.pid)
        is_launcher = one.leader is None and batch_id.encode() in process.arguments_of(each.pid)
        if each.session in sessions or is_marked or is_launcher:
            yield each


def pilot_command(
    spool: Path, program: Sequence[str], told: Mapping[str, float]
) -> tuple[str, ...]:
    """Return the command of a pilot: this interpreter with a program, and what the pilot is told.

    `program` are the interpreter's arguments up to the word `run`.
    """
    where = ("--spool", str(spool), "--batch-id", "{batch_id}")
    rest = (word for name, value in told.items() for word in (f"--{name}", f"{value:g}"))
    return (sys.executable, *program, "run", *where, *rest)
