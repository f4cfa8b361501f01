"""What a slot does with large files that others move: takes inputs over, hands outputs on.

Both are renames inside the spool's filesystem, from and to folders that no task sees. Small files
go the straight way (`pilot.stage`): another process would cost more than it saves.
"""

# Descriptors and plain names here, not Path: this runs for every task.

from __future__ import annotations

import contextlib
import os
from typing import Any

from pilot import stage
from pilot.core.ahead import HOP_BYTES_MIN


def bring(request: dict[str, Any], folders: stage.Folders) -> None:
    """Put every input of a request into the current directory. Raises stage.NotStaged.

    What was brought before is moved in; where that is gone or damaged, it is copied as any other.
    """
    if "brought" in request and _take_over(request, folders):
        request = {"files": request.get("files", ())}
    stage.bring(request, folders)


def take(request: dict[str, Any], folders: stage.Folders) -> dict[str, Any]:
    """Keep small outputs; move large ones out of every task's reach. Raises stage.NotStaged.

    Returns what the reply says of them: `outputs`, or `handed`: their sizes in declared order.
    """
    names = request["outputs"]
    with contextlib.ExitStack() as stack:
        found = stage.open_outputs(names, folders, stack)
        sizes = [os.fstat(descriptor).st_size for descriptor, _ in found]
        if sum(sizes) < HOP_BYTES_MIN or "keeps_itself" in request or folders.handed < 0:
            return {"outputs": stage.keep(names, found, folders)}
        into = str(request["local"])
        try:
            os.mkdir(into, stage.FOLDER_MODE, dir_fd=folders.handed)
            for place, ((descriptor, folder), name) in enumerate(zip(found, names, strict=True)):
                os.fchmod(descriptor, stage.DATA_MODE)
                paths = (name.rpartition("/")[2], f"{into}/{place}")
                os.rename(*paths, src_dir_fd=folder, dst_dir_fd=folders.handed)
        except OSError as error:
            reason = f"could not be handed on: {error.strerror or error}"
            raise stage.NotStaged(name=names[0], reason=reason) from error
    return {"handed": sizes}


def _take_over(request: dict[str, Any], folders: stage.Folders) -> bool:
    """Move in what was brought before; False where that can't be done."""
    number = request["brought"]
    names = [row[0] for kind in ("inputs", "generated") for row in request.get(kind, ())]
    try:
        for place, name in enumerate(names):
            stage.make_folder_of(name)
            paths = (f"{number}/{place}", name)
            os.rename(*paths, src_dir_fd=folders.brought, dst_dir_fd=folders.here)
        os.rmdir(str(number), dir_fd=folders.brought)
    except OSError:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folders.here)
        return False
    return True
