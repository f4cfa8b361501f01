"""Run a command as an ordinary user who reaches this checkout, the interpreter and one folder.

Root starts it: `as_nobody.py FOLDER COMMAND...`. Folders that only root may enter are replaced, in
a mount namespace of its own, by ones that hold nothing but what is needed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pilot import linux
from pilot.isolation import kernel

NOBODY = 65534


def main(folder: str, *command: str) -> None:
    os.umask(0o022)  # whatever the tests before left: its folders are entered by another user
    linux.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_SLAVE)
    checkout = Path(__file__).resolve().parents[2]
    needed = {Path(folder), checkout, Path(sys.base_prefix)}
    opened = {path: os.open(path, os.O_PATH) for path in needed}
    for path in needed:
        closed = next((one for one in reversed(path.parents) if not one.stat().st_mode & 1), None)
        if closed is not None:
            kernel.mount("none", str(closed), "tmpfs", options="mode=0755")
    for path, descriptor in opened.items():
        path.mkdir(parents=True, exist_ok=True)
        kernel.mount(f"/proc/self/fd/{descriptor}", str(path), flags=kernel.MS_BIND)
        os.close(descriptor)
    for path in (Path(folder), *Path(folder).rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.chdir(checkout)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
