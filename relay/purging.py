"""The site's purge, as this spool stands: told in status and doctor, heeded in reports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime

from relay import custody
from relay.core import purge
from relay.core.custody import LOSSY, Held
from relay.core.purge import NEVER_US, Outlook, Rules
from relay.home import Home, now_us

HOUR_US = 3_600_000_000


def outlook(home: Home) -> Outlook:
    """Return when the first of what is not safe goes, and whether more work may be taken."""
    by_age = home.config.spool.purge_after_days
    return _outlook(home, _only_here(home) if by_age else ())


def words(home: Home) -> str:
    """Return what is to be said of the purge, or nothing."""
    told = home.config.spool
    if not told.purge_after_days and told.purge_at is None:
        return ""
    waiting = _only_here(home)
    found = _outlook(home, waiting)
    if found.goes_us == NEVER_US or not found.is_near:
        return ""
    day = datetime.fromtimestamp(found.goes_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    more = "" if found.takes_work else ", and no more work is taken"
    return f"the site's purge comes {day}: {len(waiting)} bundles are not safe elsewhere yet{more}"


def _outlook(home: Home, waiting: Iterable[Held]) -> Outlook:
    rules = _rules(home)
    return purge.outlook(rules, _oldest_us(home, waiting) if rules.after_us else 0, now_us())


def _only_here(home: Home) -> list[Held]:
    """Return the bundles that only this site has."""
    return [one for one in custody.every_held(home.spool) if one.kind not in LOSSY]


def _rules(home: Home) -> Rules:
    told, site = home.config.spool, home.config.site
    needs_us = int((site.walltime_hours + site.trip_hours) * HOUR_US)
    at_us = 0
    if told.purge_at is not None:
        moment = told.purge_at
        at_us = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
    return Rules(
        after_us=int(told.purge_after_days * purge.DAY_US),
        at_us=at_us,
        warn_us=int(told.purge_warn_days * purge.DAY_US),
        needs_us=needs_us,
    )


def _oldest_us(home: Home, waiting: Iterable[Held]) -> int:
    """Return when the oldest of some bundles was written; 0: there is none."""
    found = []
    for one in waiting:
        with contextlib.suppress(FileNotFoundError):
            path = home.spool.folder(one.place) / custody.file_name(one)
            found.append(path.stat().st_mtime_ns // 1000)
    return min(found, default=0)
