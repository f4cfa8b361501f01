"""The site's purge, as this spool stands: told in status and doctor, heeded in reports."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from relay import custody
from relay.core import purge
from relay.core.custody import LOSSY, Held
from relay.core.purge import NEVER_US, Outlook, Rules
from relay.home import Home, now_us

HOUR_US = 3_600_000_000


def outlook(home: Home) -> Outlook:
    """Return when the first of what is not safe goes, and whether more work may be taken."""
    rules = _rules(home)
    oldest_us = _oldest_us(home) if rules.after_us else 0
    return purge.outlook(rules, oldest_us, now_us())


def words(home: Home) -> str:
    """Return what is to be said of the purge, or nothing."""
    found = outlook(home)
    if found.goes_us == NEVER_US or not found.is_near:
        return ""
    day = datetime.fromtimestamp(found.goes_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    waiting = sum(_is_only_here(one) for one in custody.every_held(home.spool))
    more = "" if found.takes_work else ", and no more work is taken"
    return f"the site's purge comes {day}: {waiting} bundles are not safe elsewhere yet{more}"


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


def _is_only_here(held: Held) -> bool:
    return held.kind not in LOSSY


def _oldest_us(home: Home) -> int:
    """Return when the oldest bundle that only this site has was written; 0: there is none."""
    found = []
    for one in custody.every_held(home.spool):
        if _is_only_here(one):
            with contextlib.suppress(FileNotFoundError):
                path = home.spool.folder(one.place) / custody.file_name(one)
                found.append(path.stat().st_mtime_ns // 1000)
    return min(found, default=0)
