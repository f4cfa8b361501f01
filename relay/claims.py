"""Claims: who works here. Remembered by hard link, for a pilot takes its own away when it ends."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.records import seal as seals
from bundle.records.seal import Claim
from bundle.spool import publish
from bundle.spool.layout import SealName, Spool
from relay.listing import names


def read(spool: Spool, pilot_run: PilotRun) -> Claim | None:
    """Return a pilot's claim, present or remembered, or None where there is none readable."""
    for path in (spool.claim(pilot_run), _remembered(spool) / pilot_run.hex()):
        with contextlib.suppress(OSError, PulkError):
            claim = seals.decode_claim(path.read_bytes(), where=str(path))
            if claim.pilot_run == pilot_run:
                return claim
    return None


def pilot_runs(spool: Spool) -> list[PilotRun]:
    """Return the pilots that have a folder in `claimed/`, sorted."""
    found = []
    for name in names(spool.folder("claimed")):
        with contextlib.suppress(ValueError):
            run = PilotRun(bytes.fromhex(name))
            if len(run) == 8:
                found.append(run)
    return found


def remember(spool: Spool) -> None:
    """Remember every claim that lies here now; losing one costs a batch id in the story."""
    folder = _remembered(spool)
    publish.make_folder(folder)
    for run in pilot_runs(spool):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.link(spool.claim(run), folder / run.hex())


def forget(spool: Spool) -> None:
    """Drop what is remembered of pilots that are gone and whose seals are all collected."""
    waiting = (SealName.parse(name) for name in names(spool.folder("sealed")))
    kept = {seal.pilot_run.hex() for seal in waiting if seal is not None}
    kept.update(run.hex() for run in pilot_runs(spool))
    for name in names(_remembered(spool)):
        if name not in kept:
            (_remembered(spool) / name).unlink(missing_ok=True)


def _remembered(spool: Spool) -> Path:
    return spool.folder("state") / "claims"
