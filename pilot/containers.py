"""A slot's side of containers: is the image there, what is its digest, how is it entered.

An image is hashed once for each path, size and time of change: the digest lies beside the spool's
data, so other slots and pilots of the site find it.
"""

# Descriptors and plain names here, not Path: tasks could make what is walked.
# ruff: noqa: PTH112, PTH116

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundle.dataset.containers import DIGESTS_FOLDER as FOLDER
from bundle.digest import file_digest
from pilot import linux
from pilot.core import container
from pilot.core.container import Runtime
from pilot.stage import NotStaged


class Images:
    """The images that the tasks of a slot named."""

    def __init__(self, data: int, *, isolated: bool) -> None:
        """Remember digests below an open folder."""
        self._data = data
        self._known: dict[str, str] = {}
        self._isolated = isolated
        self._is_inside = False
        self._ram: dict[int, int] = {}  # a memory disk's device, and a descriptor of it

    def settle(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        """See to it that a task can enter its container; note the digest. Raises NotStaged."""
        if "container" not in request:
            return
        named, image, (runtime, *_), _ = request["container"]
        what = f"container {named}"
        if not image:
            raise NotStaged(name=what, reason="this site maps no image to it")
        if not runtime:
            words = " nor ".join(container.RUNTIMES)
            raise NotStaged(name=what, reason=f"this node has neither {words}")
        if self._isolated and os.getuid() == 0:  # it could not map user 0 into its namespace
            raise NotStaged(name=what, reason="no pilot of user 0 enters one in an isolated slot")
        self._is_inside = True
        try:
            reply["container"] = self._digest(os.path.realpath(image))
        except OSError as error:
            raise NotStaged(name=what, reason=f"{image}: {error.strerror or error}") from error

    def ram_bytes(self) -> int:
        """Return the memory that files take in memory disks which the runtime made for a task."""
        if not self._is_inside:
            return 0
        if not self._ram:
            self._find_ram()
        disks = map(os.fstatvfs, self._ram.values())
        return sum((disk.f_blocks - disk.f_bfree) * disk.f_frsize for disk in disks)

    def leave(self) -> None:
        """Forget the container of a task that ended."""
        self._is_inside = False
        while self._ram:
            os.close(self._ram.popitem()[1])

    def _find_ram(self) -> None:
        """Open the memory disks that are seen from inside and not from here."""
        ours = set()
        for place in container.RAM_FOLDERS:
            with contextlib.suppress(OSError):
                ours.add(os.stat(place).st_dev)
        for pid in linux.descendants(os.getpid()):
            for place in container.RAM_FOLDERS:
                with contextlib.suppress(OSError):
                    path = f"{pid}/root{place}"
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                    found = os.open(path, flags, dir_fd=linux.PROC)
                    device = os.fstat(found).st_dev
                    if device in ours or device in self._ram:
                        os.close(found)
                    else:
                        self._ram[device] = found

    def _digest(self, image: str) -> str:
        found = os.stat(image)
        facts = (image, found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode)
        key = hashlib.sha256("\0".join(map(str, facts)).encode(errors="surrogateescape"))
        name = f"{key.hexdigest()}.sha256"  # the relay takes a bare digest for an output
        if name not in self._known:
            with contextlib.suppress(OSError):  # a spool that takes nothing more: hash it
                os.mkdir(FOLDER, 0o755, dir_fd=self._data)
            self._known[name] = self._kept(name, image)
        return f"sha256:{self._known[name]}"

    def _kept(self, name: str, image: str) -> str:
        """Return the digest from its file, else make it; who comes second waits for it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(f"{FOLDER}/{name}", flags, 0o644, dir_fd=self._data)
        except OSError:
            return digest(image)
        with os.fdopen(descriptor, "r+b") as file:
            with contextlib.suppress(OSError):  # a filesystem without locks: each hashes it
                fcntl.flock(file, fcntl.LOCK_EX)
            said = file.read(65).decode(errors="replace").strip()
            if len(said) == 64:
                return said
            made = digest(image)
            with contextlib.suppress(OSError):
                file.seek(0)
                file.write(f"{made}\n".encode())
                file.flush()
            return made


def entered(
    request: dict[str, Any], folder: str, *, isolated: bool
) -> tuple[str, list[str], dict[str, str]]:
    """Return program, arguments and environment of a task in its container."""
    _, image, runtime, binds = request["container"]
    argv, environment = container.command(
        Runtime(*runtime), image, folder, request["argv"], request["env"], binds, isolated=isolated
    )
    return argv[0], argv, environment


def note_entry(request: dict[str, Any], reply: dict[str, Any], *, isolated: bool) -> None:
    """Say which signal it was, and where the runtime failed: another node may do better."""
    if number := container.signal_told(reply["exit_code"], isolated=isolated):
        reply["exit_code"], reply["signal"] = -1, number
    named, _, (runtime, *_), _ = request["container"]
    said = container.not_entered(reply["exit_code"], reply.get("last_line", ""))
    if reply.pop("not_started", ""):
        said = f"{runtime} can't be started"
    if said and "stop" not in reply:
        reply["stage_in"] = f"container {named}: {said}"


def digest(image: str) -> str:
    """Return the SHA-256 of an image file, or of all names, modes and contents in a folder."""
    if not os.path.isdir(image):
        return file_digest(Path(image)).hex()
    made = hashlib.sha256()
    for path in sorted(_tree(image)):
        found = os.lstat(path)
        name = os.path.relpath(path, image)
        made.update(f"{name}\0{found.st_mode:o}\0".encode(errors="surrogateescape"))
        if stat.S_ISLNK(found.st_mode):
            made.update(os.fsencode(Path(path).readlink()))
        elif stat.S_ISREG(found.st_mode):
            made.update(file_digest(Path(path)))
        made.update(b"\0")
    return made.hexdigest()


def _tree(folder: str) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield f"{where}/{name}"
