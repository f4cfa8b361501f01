"""Files into a slot's directory and out of it; the current directory is the slot's.

What comes in is hashed while it is copied; what goes out is hashed once everything of the task is
dead, then moved under its digest. Nothing here follows a link that a task could have made. Large
files go another way (`staging.handing`).
"""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH103, PTH120

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.errors import PulkError
from pilot import linux
from pilot.core.fingerprints import FULL

PIECE_BYTES = 1 << 20
FILE_COST_BYTES = 4096  # of any file, an empty one too
DATA_MODE = 0o444
FOLDER_MODE = 0o700
SOFTWARE_FILE = ".pulk-software"
SOFTWARE_BYTES_MAX = 16 << 10

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotStaged(PulkError):
    """An input is missing or damaged, or an output is missing or no plain file of the task's own.

    For an input look at the spool's `data/`, for an output at the task's log.
    """

    code = "not-staged"
    what = "{name}: {reason}"
    remedy = "for an input look at the spool's data folder, for an output at the task's log"


@dataclass(frozen=True, slots=True)
class Folders:
    """Open folders: the slot's directory, and the files under their digests.

    `brought` has inputs that are here before their tasks, `handed` outputs that still have to be
    hashed and kept; -1 where nobody does that. All were opened before the slot hid from its tasks,
    and from itself, where the spool lies; a rename works between them, as they belong to the same
    view of the node.
    """

    here: int
    data: int
    brought: int = -1
    handed: int = -1


def open_folders(*paths: Path) -> Folders:
    """Open folders for as long as the process lives, in the order of `Folders`."""
    return Folders(*(os.open(path, linux.FOLDER) for path in paths))


def bring(request: dict[str, Any], folders: Folders) -> None:
    """Put every input of a request into the current directory. Raises NotStaged."""
    try:
        for name, digest, size in request.get("inputs", ()):
            _bring_file(folders, name, digest, size)
        for name, size, seed in request.get("generated", ()):
            try:
                _copy(folders, generated(folders, size, seed), name, size)
            except FileNotFoundError:  # the relay has just removed it for its age
                _copy(folders, generated(folders, size, seed), name, size)
        for name, content in request.get("files", ()):
            with os.fdopen(_new(name, 0o755), "wb") as file:
                file.write(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotStaged(name=error.filename or "stage-in", reason=reason) from error


def take(names: Sequence[str], folders: Folders) -> list[tuple[bytes, int]]:
    """Move the declared outputs under their digests; all or none. Raises NotStaged.

    Returns (file digest, size in bytes) in declared order.
    """
    with contextlib.ExitStack() as stack:
        return keep(names, open_outputs(names, folders, stack), folders)


def open_outputs(
    names: Sequence[str], folders: Folders, stack: contextlib.ExitStack
) -> list[tuple[int, int]]:
    """Open each declared output and its folder. Raises NotStaged unless all are plain files."""
    return [stack.enter_context(_found(name, folders)) for name in names]


def keep(
    names: Sequence[str], found: Sequence[tuple[int, int]], folders: Folders
) -> list[tuple[bytes, int]]:
    """Hash and move outputs that are open. Raises NotStaged."""
    hashed = [(hashed_file(descriptor), os.fstat(descriptor).st_size) for descriptor, _ in found]
    for (descriptor, folder), name, (digest, _) in zip(found, names, hashed, strict=True):
        try:
            _move(descriptor, folder, name.rpartition("/")[2], digest, folders)
        except OSError as error:
            reason = f"could not be kept: {error.strerror or error}"
            raise NotStaged(name=name, reason=reason) from error
    return hashed


def disk_failed(error: BaseException) -> str:
    """Return how a filesystem took no more, or nothing where that was not the reason."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in FULL:
        return f"the disk takes no more: {cause.strerror}"
    return ""


def software() -> str:
    """Return what the payload said it ran, as sorted `name==version` words."""
    try:
        descriptor = os.open(SOFTWARE_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        words = file.read(SOFTWARE_BYTES_MAX).decode(errors="replace").split()
    return " ".join(sorted({word for word in words if 0 < word.find("==") < len(word) - 2}))


def used_bytes(folder: str = ".") -> int:
    """Return the disk space that a folder's files take; inodes are scarce as well."""
    total = 0
    todo = [folder]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        size = entry.stat(follow_symlinks=False).st_blocks * 512
                        total += max(size, FILE_COST_BYTES)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            continue
    return total


def seeded(key: bytes, size: int) -> Iterator[bytes]:
    """Yield `size` bytes that depend on the key alone, in pieces of at most a MiB."""
    for start in range(0, size, PIECE_BYTES):
        block = hashlib.shake_128(key + start.to_bytes(8, "big"))
        yield block.digest(min(PIECE_BYTES, size - start))


def data_path(digest: bytes) -> str:
    """Return where a file lies in the data folder; as `Spool.data`, but quick."""
    name = digest.hex()
    return f"{name[:2]}/{name}"


def _bring_file(folders: Folders, name: str, digest: bytes, size: int) -> None:
    source = data_path(digest)
    try:
        found = _copy(folders, source, name, size)
    except FileNotFoundError:
        raise NotStaged(name=name, reason=f"data/{source} is missing") from None
    if found != digest:
        reason = f"data/{source} is damaged: its digest is {found.hex()}"
        raise NotStaged(name=name, reason=reason)


def _copy(folders: Folders, source: str, name: str, size: int) -> bytes:
    """Copy into the directory and return the digest of what was copied."""
    running = hashlib.sha256()
    copied = 0
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folders.data)
    try:
        with os.fdopen(_new(name, 0o644), "wb", buffering=0) as file:
            while piece := os.read(reading, PIECE_BYTES):
                running.update(piece)
                file.write(piece)
                copied += len(piece)
    finally:
        os.close(reading)
    if copied != size:
        raise NotStaged(name=name, reason=f"data/{source} has {copied} bytes, not {size}")
    return running.digest()


def generated(folders: Folders, size: int, seed: int) -> str:
    """Return the path in the data folder of a generated input, made once for the spool.

    Its content follows from seed and size; it carries no promise, so a file of the wrong size
    (a node that lost power) is made again.
    """
    path = f"generated/{seed}-{size}"
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path, dir_fd=folders.data).st_size == size:
            return path
    with contextlib.suppress(FileExistsError):
        os.mkdir("generated", FOLDER_MODE, dir_fd=folders.data)
    part = f".pulk-generated-{seed}-{size}"  # in the slot's own directory, which is emptied
    with os.fdopen(os.open(part, _NEW, DATA_MODE, dir_fd=folders.here), "wb") as file:
        for piece in seeded(f"generated:{seed}:".encode(), size):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path, src_dir_fd=folders.here, dst_dir_fd=folders.data)
    return path


def make_folder_of(name: str) -> None:
    """Make the folders that a file of this name lies in."""
    folder = name.rpartition("/")[0]
    if folder:
        os.makedirs(folder, FOLDER_MODE, exist_ok=True)


def _new(name: str, mode: int) -> int:
    make_folder_of(name)
    return os.open(name, _NEW, mode)


@contextlib.contextmanager
def _found(name: str, folders: Folders) -> Iterator[tuple[int, int]]:
    """Open a declared output and its folder. Raises NotStaged unless it is a plain file inside."""
    *parts, last = name.split("/")
    with contextlib.ExitStack() as stack:
        try:
            folder = _opened(stack, ".", linux.FOLDER, folders.here)
            for part in parts:
                folder = _opened(stack, part, linux.FOLDER, folder)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = _opened(stack, last, flags, folder)
        except FileNotFoundError:
            raise NotStaged(name=name, reason="the declared output is missing") from None
        except OSError as error:
            reason = f"the declared output is no plain file of the task ({error.strerror})"
            raise NotStaged(name=name, reason=reason) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotStaged(name=name, reason="the declared output is no plain file")
        yield descriptor, folder


def _opened(stack: contextlib.ExitStack, name: str, flags: int, folder: int | None) -> int:
    descriptor = os.open(name, flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor


def hashed_file(descriptor: int) -> bytes:
    """Return the digest of an open file, from where it stands."""
    running = hashlib.sha256()
    while piece := os.read(descriptor, PIECE_BYTES):
        running.update(piece)
    return running.digest()


def _move(descriptor: int, folder: int, name: str, digest: bytes, folders: Folders) -> None:
    if os.fstat(descriptor).st_nlink != 1:  # another name of it could still change it
        copy = f".pulk-copy-{digest.hex()}"
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(os.open(copy, _NEW, DATA_MODE, dir_fd=folder), "wb") as file:
            while piece := os.read(descriptor, PIECE_BYTES):
                file.write(piece)
        name = copy
    os.chmod(name, DATA_MODE, dir_fd=folder)
    move_under(digest, name, folder, folders.data)


def move_under(digest: bytes, name: str, folder: int, data: int) -> None:
    """Move a file to its place among the data."""
    target = data_path(digest)
    try:
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=data)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(target), FOLDER_MODE, dir_fd=data)
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=data)
