"""What comes back of pilots that did not see the spool: taken into it, as if they had.

A node's files are outside input: only plain files with names of ours are taken, data only under the
digest that it has, a claim only if it names the batch job that it came with. Order: data, then
what pilots left unsealed, then seals, the latest turn first, so that no shard is offered again of
which a later turn is here; last the folder that it came in goes. All of it may be repeated.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bundle.digest import file_digest
from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.limits import SEAL_LIMITS, SMALL_LIMITS
from bundle.records import seal as seals
from bundle.spool import publish
from bundle.spool.bounded import read_bounded
from bundle.spool.layout import SealName, ShardName
from relay import handing, quarantine
from relay.errors import SealRefused
from relay.home import Home
from relay.listing import names
from site_adapters.contract import Carrying, PilotState, PilotView

_LOG = logging.getLogger(__name__)
_FILE = re.compile(r"[0-9a-f]{64}")
DATA_MODE = 0o444
AWAITED = "what it made is not here yet"


def bring(home: Home, views: Mapping[str, PilotView]) -> Mapping[str, PilotView]:
    """Take what came back; return the views, of which those are UNKNOWN that it lacks of."""
    adapter = home.adapter
    if home.config.batch.shared_filesystem or not isinstance(adapter, Carrying):
        return views
    handing.adopt(home, views)
    now = dict(views)
    for view in views.values():
        if view.state is not PilotState.ABSENT:
            continue
        folder = adapter.returned(view.batch_id)
        if folder is None:
            continue
        try:
            take(home, view.batch_id, folder)
        except (PulkError, OSError) as error:  # no room, say: it stays there, and waits
            reason = error.text() if isinstance(error, PulkError) else str(error)
            _LOG.warning("not taken", extra={"batch_id": view.batch_id, "reason": reason})
            now[view.batch_id] = replace(view, state=PilotState.UNKNOWN, reason=AWAITED)
    return now


def take(home: Home, batch_id: str, folder: Path) -> int:
    """Take what lies in a folder; return how many seals. Raises OSError where there is no room."""
    for path in _files(folder / "data", depth=2):
        if _FILE.fullmatch(path.name):
            _take_data(home, path)
    for name in names(folder / "claimed"):
        _take_claimed(home, batch_id, folder / "claimed" / name)
    found = [seal for one in names(folder / "sealed") if (seal := SealName.parse(one))]
    for seal in sorted(found, key=lambda one: -one.shard.turn):
        _take_seal(home, seal, folder / "sealed" / str(seal))
    publish.remove(folder)
    return len(found)


def _take_data(home: Home, path: Path) -> None:
    """Move a file under its digest, whatever it was called; one that is here stays."""
    if not _is_plain(path):
        return
    part = home.tmp / f"back-{os.urandom(8).hex()}"
    shutil.copyfile(path, part, follow_symlinks=False)
    try:
        digest = file_digest(part)
        if digest.hex() != path.name:
            _LOG.warning("a file is not what its name says", extra={"path": str(path)})
            return
        target = home.spool.data(digest)
        if not target.exists():
            part.chmod(DATA_MODE)
            publish.fsync_file(part)
            publish.make_folder(target.parent)
            publish.publish(part, target)
    finally:
        part.unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _take_claimed(home: Home, batch_id: str, folder: Path) -> None:
    """Take the folder of a pilot that did not end in order: it will be salvaged."""
    try:
        run = PilotRun(bytes.fromhex(folder.name))
        claim = seals.decode_claim(read_bounded(folder / "claim", SMALL_LIMITS), where=str(folder))
    except (ValueError, PulkError, OSError):
        return  # it died before it wrote its claim, and so before it took anything
    target = home.spool.claimed(run)
    if claim.pilot_run != run or claim.batch_id != batch_id or target.exists():
        return
    part = home.tmp / f"back-{os.urandom(8).hex()}"
    publish.make_folder(part)
    try:
        for path in _files(folder, depth=1):
            stem, _, ending = path.name.partition(".")
            known = ending in ("shard", "journal") and ShardName.parse(stem) is not None
            if _is_plain(path) and (known or path.name == "claim"):
                shutil.copyfile(path, part / path.name, follow_symlinks=False)
                publish.fsync_file(part / path.name)
        publish.fsync_folder(part)
        with contextlib.suppress(FileExistsError):
            publish.publish(part, target)
    finally:
        publish.remove(part)


def _take_seal(home: Home, name: SealName, path: Path) -> None:
    if not _is_plain(path):
        return
    if any(home.spool.folder("work").glob(f"*/sealed/{name}")):
        return  # an earlier pass took it, and it travels
    try:
        raw = read_bounded(path, SEAL_LIMITS)
        publish.write_new_file(home.tmp, home.spool.seal(name), raw)
    except publish.AlreadyThere:
        return  # the pass before this one took it
    except PulkError as error:
        problem = SealRefused(where=str(path), reason=error.text())
        quarantine.put_bytes(home.spool, path.name, path.read_bytes(), problem)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Yield what lies in a folder so deep, through real folders only."""
    for name in names(folder):
        path = folder / name
        if depth > 1 and path.is_dir() and not path.is_symlink():
            yield from _files(path, depth - 1)
        elif depth == 1:
            yield path


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
