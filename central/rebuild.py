"""Rebuild: a fresh central's database from an archive and a trust file, whatever the order.

It replays: bundles are verified and merged as they were, but no pin or commit is made. Central's
keys and configuration are not in an archive: put them back before the result serves. Nor are the
audit trail and the wishes for notices (`LOST`): they are in backups alone.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

from bundle.spool import publish
from bundle.trust import trust_file
from central import epochs, trust_chain
from central.absorb import absorb, retry_strangers
from central.archive import bundle_files, open_archive
from central.config import Config, load
from central.core.receipts import Outcome
from central.fsck import examine
from central.home import AlreadyMade, Home, complete, make_folders
from central.store.opening import is_on_server, open_store
from central.tokens import take_token
from central.workings import Workings, new_epoch

LOST = "the audit trail, wishes for notices, what is parked and not yet merged"


def rebuild(
    home: Home, archive: Path, trust: Path, *, shuffle: int | None, repeat: int
) -> dict[str, Any]:
    """Merge every bundle of an archive into a fresh folder; return what fsck says of it.

    Args:
        home: a folder without a database; keys and central.toml may lie there already. The database
            that `[store]` names must be empty.
        archive: the folder of bundles; nothing in it is changed.
        trust: the trust file to verify with.
        shuffle: a seed: merge in a random order; None is the order of names.
        repeat: how often each bundle is merged.

    Raises AlreadyMade, TrustRefused.
    """
    config = load(home.config)
    if is_on_server(config):
        _require_empty(home, config)
    elif home.database.exists():
        raise AlreadyMade(where=str(home.root))
    given = trust_file.load(trust)
    publish.make_folder(home.root)
    make_folders(home)
    archived = list(bundle_files(archive))
    trust_chain.restore(home, archived, given)
    complete(home)
    files = archived * repeat
    if shuffle is not None:
        random.Random(shuffle).shuffle(files)  # noqa: S311  an order, not a secret
    store = open_store(config, home)
    try:
        kept = open_archive(home, config)
        workings = Workings(home, config, store, kept, None, new_epoch(0), lambda: 0)
        outcomes = dict.fromkeys(Outcome, 0)
        for path in files:
            outcomes[_replay(workings, path)] += 1
        late = min(retry_strangers(workings), outcomes[Outcome.PARKED])  # keys of a later file
        outcomes[Outcome.PARKED] -= late
        outcomes[Outcome.MERGED] += late
        take_token(home, store)
        people = [one for one in store.people.persons() if not one.closed_us]
        tokens = [one for one in store.people.tokens() if not one.revoked_us]
        known = {"people": len(people), "tokens": len(tokens)}
        with store.transaction():
            found = examine(workings, again=False)
    finally:
        store.close()
    told = {outcome.value: count for outcome, count in outcomes.items()}
    return {"files": len(files), **told, **found, **known, "lost": LOST}


def _require_empty(home: Home, config: Config) -> None:
    """Raise AlreadyMade where the server's database holds anything."""
    store = open_store(config, home)
    try:
        known = store.bundles.kinds() or store.datasets.datasets() or store.people.tokens()
        if known or store.people.users() or epochs.stored(store) is not None:
            raise AlreadyMade(where=config.store.url or config.store.url_file)
    finally:
        store.close()


def _replay(workings: Workings, path: Path) -> Outcome:
    copy = workings.home.uploads / f"{os.getpid()}-{os.urandom(8).hex()}"
    try:
        shutil.copyfile(path, copy)
        return absorb(workings, copy, live=False).outcome
    finally:
        copy.unlink(missing_ok=True)
