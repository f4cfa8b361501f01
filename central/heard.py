"""For people: which sites have heard of a dataset's newest document, and which not yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bundle.ids import SiteName
from central import hearing
from central.core.facts import Control
from central.core.heard import words
from central.provenance import iso
from central.store.rows import DatasetRow
from central.workings import Workings


def of_dataset(
    workings: Workings, row: DatasetRow, only: SiteName | None = None
) -> dict[str, Any] | None:
    """Return which edit is in force, and who knows of it; None where there was none.

    Of the sites (or `only` this one) that hold what runs otherwise by it: `heard` is since when,
    null where a site is not known to have heard; `refused` says that it passed the document over.
    """
    newest = hearing.newest_of(workings.store.datasets.controls(row.no))
    if newest is None:
        return None
    leased = sorted(hearing.leased_of(workings, row).items())
    sites = [_site(workings, row, newest, *one) for one in leased if only in (None, one[0])]
    about = {"epoch": newest.epoch.counter, "commit": newest.commit}
    return about | {"sites": [one for one in sites if one is not None]}


def at(workings: Workings, row: DatasetRow, site: SiteName) -> str:
    """Return in words whether a site has heard; nothing where it is not concerned."""
    return words(of_dataset(workings, row, site))


def _site(
    workings: Workings, row: DatasetRow, newest: Control, site: SiteName, leased: Collection[bytes]
) -> dict[str, Any] | None:
    known = next((one for one in hearing.read(workings, site) if one.dataset == row.no), None)
    if known is not None and known.tells(newest):
        return {"site": site, "heard": iso(known.heard_us), "refused": known.is_refused}
    if not hearing.is_news(workings, row, newest, leased, known):
        return None  # what it holds runs by this document, or as it did before
    return {"site": site, "heard": None, "refused": False}
