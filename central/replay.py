"""Replaying an archive: bundles merged into a store as they were, but no pin or commit is made."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle.ids import BundleId
from central.absorb import absorb
from central.core.receipts import Outcome
from central.home import Home, make_folders
from central.joining import Joining
from central.store.sqlite import SqliteStore
from central.workings import Workings, new_epoch


def replay(workings: Workings, bundles: Iterable[BundleId]) -> dict[Outcome, int]:
    """Merge archived bundles in the given order; return how many had each outcome."""
    outcomes = dict.fromkeys(Outcome, 0)
    for one in bundles:
        outcomes[absorb(workings, workings.archive.path(one), live=False).outcome] += 1
    return outcomes


@contextmanager
def replayed(workings: Workings) -> Iterator[Workings]:
    """Give a central whose store was made again from what this one merged, as long as it lasts.

    Leases that ended by what is in no archive (a deadline, a site's report) are ended there too.
    """
    home = workings.home
    with tempfile.TemporaryDirectory(prefix="replay-", dir=home.root) as name:
        scratch = Home(Path(name))
        make_folders(scratch)
        shutil.copyfile(home.trust, scratch.trust)
        store = SqliteStore(scratch.database)
        try:
            # What is in the archive counts whatever became of its users since.
            with store.transaction():
                for user in workings.store.people.users():
                    store.people.save_user(user)
            archive = workings.archive.reading()
            config, epoch = workings.config, new_epoch(0)
            again = Workings(scratch, config, store, archive, None, epoch, lambda: 0)
            merged = [row.id for row in workings.store.bundles.merged() if row.kind != "report"]
            replay(again, [one for one in merged if archive.path(one).exists()])
            _end_leases(workings, again)
            yield again
        finally:
            store.close()


def _end_leases(workings: Workings, again: Workings) -> None:
    ended: dict[str, list[int]] = {}
    for dataset in again.store.datasets.datasets():
        for row in again.store.datasets.live_on(dataset.no):
            known = workings.store.datasets.lease(row.id)
            if known is not None and known.state != "live":
                ended.setdefault(known.state, []).append(row.no)
    with again.transaction():
        for state, numbers in sorted(ended.items()):
            joining = Joining(again, live=False)
            joining.end_leases(numbers, state)
            joining.finish(0)
