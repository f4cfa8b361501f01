"""A disk under a program that may die: at any operation, with or without what was not synced.

Only what the program does through `os` is seen. Losing power keeps a prefix of the operations on
names, as journaling filesystems do, and loses the bytes of files that nobody synced.
"""

# It stands between everybody and `os`, so it calls that itself.
# ruff: noqa: PTH102, PTH106, PTH108, PTH112, PTH115

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR
NAMES = ("open", "fsync", "rename", "replace", "link", "unlink", "remove", "mkdir", "rmdir")


class Died(BaseException):
    """The program that was running is no more; nobody in it can catch this."""


@dataclass(slots=True)
class Undo:
    """How to take back one operation on names, and the folders whose sync made it durable."""

    folders: tuple[str, ...]
    what: str
    path: str
    other: str = ""
    shadow: str = ""

    def moved(self, source: str, target: str) -> None:
        """A folder above changed its name."""

        def changed(path: str) -> str:
            return target + path[len(source) :] if path.startswith(source + "/") else path

        self.folders = tuple(target if one == source else changed(one) for one in self.folders)
        self.path, self.other = changed(self.path), changed(self.other)

    def take_back(self) -> None:
        """Make it undone, as far as what it was about is still there."""
        with contextlib.suppress(OSError):
            match self.what:
                case "unlink":
                    os.unlink(self.path)
                case "rmdir":
                    os.rmdir(self.path)
                case "mkdir":
                    os.mkdir(self.path)
                case "relink":
                    os.link(self.shadow, self.path)
                case "rename":
                    os.rename(self.path, self.other)
                    if self.shadow:
                        os.link(self.shadow, self.path)


@dataclass(slots=True)
class Unsynced:
    """What a power loss would take; `shadow` is a folder of the same filesystem for old names."""

    shadow: Path
    names: list[Undo] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)  # inode: bytes that are durable
    shadows: int = 0

    def do(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kw: Any) -> Any:
        """Do an operation and note what would be lost of it."""
        match name:
            case "open":
                return self._open(real, args, kw)
            case "fsync":
                found = real(*args, **kw)
                self._synced(args[0])
                return found
            case "rename" | "replace":
                return self._rename(real, args, kw)
        path = _path(args[-1] if name == "link" else args[0], kw.get("dir_fd"))
        shadow = self._shadow(path) if name in ("unlink", "remove") else ""
        found = real(*args, **kw)
        what = {"link": "unlink", "mkdir": "rmdir", "rmdir": "mkdir"}.get(name, "relink")
        self.names.append(Undo((str(Path(path).parent),), what, path, shadow=shadow))
        return found

    def lose(self, root: Path, keep: int) -> None:
        """Lose power: all but the first `keep` operations on names, and bytes nobody synced."""
        for one in reversed(self.names[keep:]):
            one.take_back()
        for path in sorted(root.rglob("*")):
            with contextlib.suppress(OSError):
                state = path.lstat()
                if stat.S_ISREG(state.st_mode) and state.st_ino in self.sizes:
                    path.chmod(0o600)
                    os.truncate(path, min(self.sizes[state.st_ino], state.st_size))

    def _open(self, real: Callable[..., Any], args: tuple[Any, ...], kw: Any) -> int:
        path = _path(args[0], kw.get("dir_fd"))
        is_new = not os.path.lexists(path)
        descriptor: int = real(*args, **kw)
        state = os.fstat(descriptor)
        if stat.S_ISREG(state.st_mode) and args[1] & os.O_TMPFILE != os.O_TMPFILE:
            self.sizes.setdefault(state.st_ino, 0 if is_new else state.st_size)
            if is_new:
                self.names.append(Undo((str(Path(path).parent),), "unlink", path))
        return descriptor

    def _synced(self, descriptor: int) -> None:
        state = os.fstat(descriptor)
        if not stat.S_ISDIR(state.st_mode):
            self.sizes.pop(state.st_ino, None)
            return
        folder = os.readlink(f"/proc/self/fd/{descriptor}")
        self.names = [one for one in self.names if folder not in one.folders]

    def _rename(self, real: Callable[..., Any], args: tuple[Any, ...], kw: Any) -> Any:
        source, target = (_path(one, None) for one in args[:2])
        is_folder = os.path.isdir(source)
        shadow = "" if is_folder else self._shadow(target)
        found = real(*args, **kw)
        if is_folder:
            for one in self.names:
                one.moved(source, target)
        folders = (str(Path(source).parent), str(Path(target).parent))
        self.names.append(Undo(folders, "rename", target, source, shadow))
        return found

    def _shadow(self, path: str) -> str:
        if not os.path.lexists(path):
            return ""
        self.shadows += 1
        made = str(self.shadow / str(self.shadows))
        os.link(path, made, follow_symlinks=False)
        return made


@dataclass(slots=True)
class Episode:
    """One run of a program. At its operation number `at` comes `happens`, or else its death."""

    at: int
    happens: Callable[[], None] | None = None
    unsynced: Unsynced | None = None
    count: int = 0
    dead: bool = False
    came: bool = False
    _inside: bool = False

    def operate(self, name: str, real: Callable[..., Any], args: tuple[Any, ...], kw: Any) -> Any:
        """Do one operation of the program, if it lives to do it."""
        if self._inside or (name == "open" and not args[1] & WRITES):
            return real(*args, **kw)
        if self.dead:
            raise Died
        self.count += 1
        self._inside = True
        try:
            if self.count == self.at:
                self.came = True
                if self.happens is None:
                    self.dead = True
                    raise Died
                self.happens()
            if self.unsynced is not None:
                return self.unsynced.do(name, real, args, kw)
            return real(*args, **kw)
        finally:
            self._inside = False


class Disk:
    """Stands between a world's programs and `os` while the world runs."""

    def __init__(self) -> None:
        self.episode: Episode | None = None

    @contextmanager
    def between(self) -> Iterator[None]:
        """See every operation until the end of the block."""
        real = {name: getattr(os, name) for name in NAMES}
        try:
            for name in NAMES:
                setattr(os, name, self._seen(name, real[name]))
            yield
        finally:
            for name in NAMES:
                setattr(os, name, real[name])

    @contextmanager
    def running(self, episode: Episode) -> Iterator[Episode]:
        """Let a program run in an episode; its death ends the block in silence."""
        before, self.episode = self.episode, episode
        try:
            yield episode
        except Died:
            episode.dead = True
        finally:
            self.episode = before

    def _seen(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kw: Any) -> Any:
            if self.episode is None:
                return real(*args, **kw)
            return self.episode.operate(name, real, args, kw)

        return operation


def _path(given: Any, dir_fd: int | None) -> str:
    text = os.fspath(given)
    if dir_fd is not None:
        return f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{text}"
    return str(Path(text).absolute())
