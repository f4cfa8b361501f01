"""Silence: which sites brought nothing new for long. A quiet site and a withheld one look alike.

When a site was last heard is noted by central's own clock with each bundle of a number that had
not arrived; the same bundle again is no news.
"""

from __future__ import annotations

from bundle.ids import SiteName
from central.store.protocol import People
from central.workings import Workings

SILENT_AFTER_S = 14 * 86_400


def note(workings: Workings, site: SiteName) -> None:
    """Note that something new of a site came now; inside a transaction."""
    now = str(workings.clock_us()).encode()
    workings.store.people.set_meta(_name(site), now)


def heard_s(people: People, site: SiteName, now_us: int) -> int | None:
    """Return how many seconds ago something new of a site came; None where nothing ever did."""
    raw = people.meta(_name(site))
    return None if raw is None else (now_us - int(raw)) // 1_000_000


def is_silent(heard: int | None) -> bool:
    """Return whether a site must be asked about: nothing for long, or this clock was set back."""
    return heard is not None and not 0 <= heard < SILENT_AFTER_S


def _name(site: SiteName) -> str:
    return f"heard.{site}"
