"""What a task's attempts wrote, out of the result bundles in the archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.ids import BundleId, Task
from bundle.records import seal as seals
from bundle.wire.read import open_known
from central.attempts import Found, attempt_row, attempts_of
from central.provenance import ATTEMPTS_MAX
from central.workings import Workings

LOGS = "logs"  # the kind of chunk; its name is the segment's digest
NEWEST = 20  # attempts whose logs are shown at once: of each at most 64 KiB travelled home
_TOLD = ("no", "attempt", "generation", "fate", "site")


def logs(workings: Workings, task: Task) -> dict[str, Any]:
    """Return what the newest attempts at a task wrote, the newest last.

    Bytes that are no UTF-8 are shown as U+FFFD; an attempt that wrote nothing has an empty log.
    Raises UnknownDataset, UnknownTask, BlobTrouble.
    """
    row, dag, place = workings.task(task)
    every = attempts_of(workings, row, place, ATTEMPTS_MAX)
    newest = every[-NEWEST:]
    wrote = _read(workings, newest)
    shown = []
    for one, raw in zip(newest, wrote, strict=True):
        about = attempt_row(row, one)
        detail = one.segment.columns.attempt(one.number)
        shown.append(
            {name: about[name] for name in _TOLD}
            | {"exit_code": detail.exit_code, "evidence": detail.evidence}
            | {"bytes": len(raw), "log": raw.decode(errors="replace")}
        )
    name = dag.dataset.steps[task.step].name
    complete = len(newest) == len(every)
    return {"task": str(task), "step": name, "attempts": shown, "complete": complete}


def _read(workings: Workings, found: Sequence[Found]) -> list[bytes]:
    """Return the log of each attempt; every bundle is opened once."""
    of_bundle: dict[int, list[int]] = {}
    for at, one in enumerate(found):
        of_bundle.setdefault(one.segment.row.bundle, []).append(at)
    read = [b""] * len(found)
    for number, places in of_bundle.items():
        name = BundleId(workings.store.bundles.bundle_id(number))
        with open_known(workings.archive.path(name), name) as bundle:
            for at in places:
                one = found[at]
                local = one.segment.columns.attempt(one.number).local
                for chunk in bundle.find(LOGS, one.segment.row.digest.hex()):
                    read[at] = seals.decode_logs(bundle.chunk(chunk)).get(local, b"")
    return read
