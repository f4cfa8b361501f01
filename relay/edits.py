"""Documents that were edited while their datasets are leased here: `edits/` in the spool.

Of each dataset the newest edit is kept, by (epoch, commit), whatever order bundles come in, as a
copy of the bundle that told of it with that document alone. It is durable with its name: file
synced, renamed, folder synced, before its bundle counts as received. It goes when no shard of the
dataset is left here, and none can be on its way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable
from typing import Any

from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from bundle.records.edit import Edit
from bundle.spool import edits, publish
from bundle.spool.edits import Named
from bundle.spool.layout import Spool
from bundle.wire import thin
from bundle.wire.read import OpenBundle
from relay import delta, state, works
from relay.errors import EditNotCosigned
from relay.home import Home, now_us

_LOG = logging.getLogger(__name__)


def check(home: Home, bundle: OpenBundle, cosigned: Collection[bytes] | None) -> tuple[Edit, ...]:
    """Return the edits of a verified bundle that may be taken here.

    Args:
        home: the relay.
        bundle: complete here.
        cosigned: documents that the site's co-signers stand behind; None where none are demanded.

    Raises PulkError where what is told contradicts itself; then nothing of the bundle is used.
    """
    taken = []
    for edit in bundle.manifest.edits:
        place = edits.place_of(bundle, edit)
        if cosigned is not None and edit.document not in cosigned:
            error = EditNotCosigned(where=str(bundle.path), dataset=edit.dataset)
            _LOG.warning("edit refused", extra={"reason": error.text()})
            if not state.is_seen(home.spool, bundle.id):
                state.note_refusal(home.spool, bundle.id, error.code)
            continue
        edits.document(delta.document(home, bundle, place))
        taken.append(edit)
    return tuple(taken)


def take(home: Home, bundle: OpenBundle, told: Iterable[Edit]) -> None:
    """Publish each edit that is the newest of its dataset; repeated, it changes nothing."""
    known = edits.newest(home.spool.edits)
    for edit in told:
        older = known.get(edit.dataset)
        if older is not None and older.place >= edit.place:
            continue
        _publish(home, bundle, edit)
        _LOG.info("edited document", extra={"dataset": edit.dataset, "commit": edit.commit})
    _drop_older(home.spool)


def prune(home: Home) -> None:
    """Remove the documents of datasets of which no shard is left here, or may still come."""
    here = edits.every(home.spool.edits)
    if not here or _is_awaited(home.spool):
        return
    open_ = {
        plan.dataset
        for work in works.live(home.spool)
        for ended in (works.ended(home.spool, work.id).all(),)
        for plan in work.plans
        if plan.lease not in ended
    }
    for one in here:
        if one.dataset not in open_:
            publish.remove(home.spool.edits / str(one))


def told(home: Home) -> list[dict[str, Any]]:
    """Return what the site knows of edits, for status."""
    found = []
    for one in edits.newest(home.spool.edits).values():
        try:
            at_s = (home.spool.edits / str(one)).stat().st_mtime
        except OSError:
            continue  # it has just been removed
        counter, _, commit = one.place
        age_s = max(0, now_us() // 1_000_000 - int(at_s))
        found.append({"dataset": one.dataset, "epoch": counter, "commit": commit, "age_s": age_s})
    return found


def files_of(spool: Spool, datasets: Collection[DatasetId]) -> list[str]:
    """Return the names in `edits/` of what is newest of some datasets."""
    return [str(one) for of, one in edits.newest(spool.edits).items() if of in datasets]


def _publish(home: Home, bundle: OpenBundle, edit: Edit) -> None:
    place = edits.place_of(bundle, edit)
    part = home.tmp / f"edit-{os.getpid()}-{os.urandom(6).hex()}"
    if bundle.present(place):
        thin.write_thin(bundle.path, part, {place})
    else:  # the site had it, so it did not travel
        bare = part.with_suffix(".bare")
        thin.write_thin(bundle.path, bare, ())
        thin.fill(bare, part, {place: delta.document(home, bundle, place)})
        bare.unlink()
    publish.make_folder(home.spool.edits)
    publish.publish(part, home.spool.edits / str(Named.of(edit)))
    publish.fsync_folder(home.spool.edits)


def _drop_older(spool: Spool) -> None:
    newest = edits.newest(spool.edits)
    for one in edits.every(spool.edits):
        if one != newest[one.dataset]:
            publish.remove(spool.edits / str(one))


def _is_awaited(spool: Spool) -> bool:
    """Return whether a bundle of central's may come that was made before one that is here."""
    withdrawn = state.read_withdrawn(spool)
    return any(
        (came | withdrawn.get(stream, IntervalSet())).gaps().spans
        for stream, came in state.read_received(spool).items()
    )
