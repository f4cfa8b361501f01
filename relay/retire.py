"""Retiring work bundles that are over and whose results central holds safe, and old leftovers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from bundle.dataset import containers
from bundle.errors import PulkError
from bundle.fates import Fate
from bundle.ids import BundleId, LeaseId
from bundle.limits import SEAL_LIMITS
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.attempt import Attempt
from bundle.spool import checkpoints, publish, records
from bundle.spool.bounded import read_bounded
from bundle.spool.journal import read_journal
from bundle.spool.layout import SealName
from relay import custody, state, stream, works
from relay.core import shards
from relay.core.custody import Place
from relay.home import Home
from relay.listing import names
from relay.works import Work

LEFTOVER_S = 86_400
_FILE = re.compile(r"[0-9a-f]{64}")
UNCLAIMED_S = 600  # a file that nobody lists is left alone so long: a pilot may be about to


def retire(home: Home, live: list[Work]) -> int:
    """Retire what is over and safe; return how many work bundles."""
    over = [one for one in live if shards.is_over(one.plans, works.ended(home.spool, one.id))]
    if not over:
        return 0
    at_hand, unsafe = _leases_at_hand(home), _unsafe_works(home)
    over = [
        work
        for work in over
        if work.id not in unsafe
        and not works.waiting(home.spool, work.id)
        and at_hand.isdisjoint(plan.lease for plan in work.plans)
    ]
    for work in over:
        _retire(home, work)
    if over:
        _drop_data(home)
    return len(over)


def sweep(home: Home) -> None:
    """Remove what is old and never the only copy.

    That is what crashes left in `tmp/`, inputs that pilots make from a seed, records of checkpoints
    that no attempt came for, and digests of images, which are made again.
    """
    data = home.spool.folder("data")
    for folder, kept_s in (
        (home.tmp, LEFTOVER_S),
        (data / "generated", LEFTOVER_S),
        (data / checkpoints.FOLDER, checkpoints.KEPT_S),
        (data / containers.DIGESTS_FOLDER, checkpoints.KEPT_S),
    ):
        for name in names(folder):
            with contextlib.suppress(FileNotFoundError):
                if (folder / name).lstat().st_mtime < time.time() - kept_s:
                    publish.remove(folder / name)


def _unsafe_works(home: Home) -> set[BundleId]:
    """Return the work bundles with results here that central does not hold safe yet."""
    unsafe: set[BundleId] = set()
    for held in custody.every_held(home.spool):
        if held.place is not Place.REJECTED:  # that arrived, and is a whole copy of what it carries
            record = stream.read(home.spool, held.stream, held.sequence)
            unsafe.update(record.works if record else ())
    return unsafe


def _leases_at_hand(home: Home) -> set[LeaseId]:
    """Return the leases with a shard on offer or held, or a seal to be collected."""
    spool = home.spool
    found = {shard.lease for shard in works.shards_in(spool.folder("claimable"))}
    for pilot in names(spool.folder("claimed")):
        found.update(shard.lease for shard in works.shards_in(spool.folder("claimed") / pilot))
    seals = (SealName.parse(name) for name in names(spool.folder("sealed")))
    found.update(seal.shard.lease for seal in seals if seal is not None)
    return found


def _retire(home: Home, work: Work) -> None:
    """First what must outlive it, then the folder by one rename, then its bytes."""
    state.note_ended_leases(home.spool, (plan.lease for plan in work.plans))
    state.note_seen(home.spool, work.id)
    _list_data(home, work)
    stream.forget_told(home.spool, work.id)
    gone = home.tmp / f"retired-{work.id[:16]}-{os.urandom(6).hex()}"
    with contextlib.suppress(FileNotFoundError):
        publish.publish(home.spool.work(work.id), gone)
        publish.fsync_folder(home.spool.folder("work"))
    shutil.rmtree(gone, ignore_errors=True)


def _list_data(home: Home, work: Work) -> None:
    """Add its files to the list of those that may go."""
    files = set(work.data) | works.outputs(home.spool, work.id) | set(_read_list(home))
    _write_list(home, files)


def _drop_data(home: Home) -> None:
    """Remove listed files that no work bundle here and no running pilot still needs."""
    listed = _read_list(home)
    journals = _journals(home)
    needed = _needed(home, journals)
    limit = time.time() - UNCLAIMED_S
    left = []
    for file in listed:
        path = home.spool.data(file)
        if file in needed:
            continue  # its other owner lists it again
        with contextlib.suppress(FileNotFoundError):
            if journals and path.stat().st_ctime > limit:
                left.append(file)
                continue
            path.unlink()
    _write_list(home, left)
    _drop_orphans(home, needed)


def _drop_orphans(home: Home, needed: set[bytes]) -> None:
    """Remove old files that nobody recorded: outputs of tasks whose pilot or slot was killed."""
    limit = time.time() - LEFTOVER_S
    data = home.spool.folder("data")
    for path in (data / folder / name for folder in names(data) for name in names(data / folder)):
        if not _FILE.fullmatch(path.name) or bytes.fromhex(path.name) in needed:
            continue
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_ctime < limit:
                path.unlink()


def _needed(home: Home, journals: list[Path]) -> set[bytes]:
    """Return every file that is still needed, read in the order in which records move."""
    needed = checkpoints.every_file(home.spool)
    for path in journals:
        with contextlib.suppress(OSError, PulkError):
            needed |= _made(records.read_records(read_journal(path).records).attempts)
    for path in sorted(home.spool.folder("sealed").iterdir()):
        with contextlib.suppress(OSError, PulkError):
            seal = seals.decode(read_bounded(path, SEAL_LIMITS), where=str(path))
            needed |= _made(segments.decode(seal.segment).attempts)
    for work in works.live(home.spool):
        needed |= set(work.data) | works.outputs(home.spool, work.id)
    return needed


def _made(attempts: Iterable[Attempt]) -> set[bytes]:
    good = (attempt for attempt in attempts if attempt.fate is Fate.SUCCESS)
    return {file for attempt in good for file, _ in attempt.outputs}


def _journals(home: Home) -> list[Path]:
    return sorted(home.spool.folder("claimed").glob("*/*.journal"))


def _read_list(home: Home) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError):
        data = (state.folder(home.spool) / "unneeded").read_bytes()
        return [data[at : at + 32] for at in range(0, len(data) - 31, 32)]
    return []


def _write_list(home: Home, files: set[bytes] | list[bytes]) -> None:
    target = state.folder(home.spool) / "unneeded"
    publish.write_file(home.tmp, target, b"".join(sorted(files)))
