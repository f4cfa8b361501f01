"""Counts every name that appears below a folder while it is watched, through inotify."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CREATE, _MOVED_TO, _ONLYDIR, _ISDIR, _OVERFLOW = 0x100, 0x80, 0x0100_0000, 0x4000_0000, 0x4000
_HEAD = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 20


class Made:
    """`names`: the paths, relative to the folder, in the order in which they appeared.

    A folder that was just made is looked into once, so that what came before its watch counts too.
    """

    def __init__(self, root: Path) -> None:
        self.names: list[str] = []
        self._root = root
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._inotify >= 0, os.strerror(ctypes.get_errno())
        self._folders: dict[int, Path] = {}
        self._watch(root, is_new=False)

    def look(self) -> None:
        """Take up what appeared since the last look; to be called often."""
        while True:
            try:
                raw = os.read(self._inotify, _BUFFER_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(raw):
                watch, mask, _, length = _HEAD.unpack_from(raw, at)
                assert not mask & _OVERFLOW, "looked at too seldom"
                name = raw[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0").decode()
                at += _HEAD.size + length
                if mask & (_CREATE | _MOVED_TO):
                    self._appeared(self._folders[watch] / name, is_folder=bool(mask & _ISDIR))

    def close(self) -> None:
        os.close(self._inotify)

    def _appeared(self, path: Path, *, is_folder: bool) -> None:
        self.names.append(str(path.relative_to(self._root)))
        if is_folder:
            self._watch(path, is_new=True)

    def _watch(self, folder: Path, *, is_new: bool) -> None:
        mask = _CREATE | _MOVED_TO | _ONLYDIR
        watch = self._libc.inotify_add_watch(self._inotify, os.fsencode(folder), mask)
        if watch < 0:
            return  # it is gone again
        self._folders[watch] = folder
        with contextlib.suppress(FileNotFoundError):
            for entry in folder.iterdir():
                if is_new:
                    self._appeared(entry, is_folder=entry.is_dir())
                elif entry.is_dir():
                    self._watch(entry, is_new=False)


@contextmanager
def made_below(root: Path) -> Iterator[Made]:
    """Watch a folder during the body."""
    made = Made(root)
    try:
        yield made
        made.look()
    finally:
        made.close()
