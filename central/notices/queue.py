"""What is to be told and was not yet: on disk before it is sent, gone once it was taken.

So everything is told at least once; who gets it twice knows it by its key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from central.core.notices import Notice, wait_s
from central.store.protocol import Store
from central.workings import Workings

QUEUE = "notices.queue"
QUEUED_MAX = 10_000  # beyond, the oldest are dropped, and the log says so
TAKEN_S = 120.0  # how long nobody else sends what one took
AT_ONCE = 20
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """One notice on its way by one channel."""

    key: str
    channel: str
    person: str
    event: str
    dataset: str
    name: str
    text: str
    since_us: int
    tries: int = 0
    not_before_us: int = 0

    @property
    def id(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.key, self.channel


def read(store: Store) -> list[Waiting]:
    """Return all that wait, the oldest first."""
    raw = store.people.meta(QUEUE)
    return [Waiting(**one) for one in json.loads(raw)] if raw else []


def add(
    workings: Workings, notices: Iterable[Notice], channels: dict[str, list[str]], now_us: int
) -> int:
    """Let notices wait, once by each channel of their person; inside a transaction.

    Return how many old ones had to go for them.
    """
    kept = {one.id: one for one in read(workings.store)}
    for one in notices:
        for channel in channels.get(one.person, ()):
            said: dict[str, Any] = asdict(one) | {"event": one.event.value}
            made = Waiting(channel=channel, since_us=now_us, **said)
            kept.setdefault(made.id, made)
    rows = list(kept.values())
    _keep(workings.store, rows[-QUEUED_MAX:])
    return max(0, len(rows) - QUEUED_MAX)


def take(workings: Workings, now_us: int) -> list[Waiting]:
    """Return some whose time has come; for a while nobody else gets them."""
    if not any(one.not_before_us <= now_us for one in read(workings.store)):
        return []
    with workings.transaction():
        rows = read(workings.store)
        ripe = [one for one in rows if one.not_before_us <= now_us][:AT_ONCE]
        ids = {one.id for one in ripe}
        later_us = now_us + int(TAKEN_S * SECOND_US)
        _keep(
            workings.store,
            [replace(one, not_before_us=later_us) if one.id in ids else one for one in rows],
        )
    return ripe


def settle(
    workings: Workings,
    sent: Iterable[Waiting],
    failed: Iterable[Waiting],
    now_us: int,
    *,
    first_s: float,
    keep_hours: float,
) -> list[Waiting]:
    """Forget what was taken, try the rest again later; return those that are given up."""
    done = {one.id for one in sent}
    again = {one.id: one for one in failed}
    if not done and not again:
        return []
    given_up = []
    with workings.transaction():
        rows = []
        for one in read(workings.store):
            if one.id in done:
                continue
            if one.id not in again:
                rows.append(one)
            elif now_us - one.since_us > keep_hours * 3600 * SECOND_US:
                given_up.append(one)
            else:
                wait_us = int(wait_s(one.tries, first_s) * SECOND_US)
                rows.append(replace(one, tries=one.tries + 1, not_before_us=now_us + wait_us))
        _keep(workings.store, rows)
    return given_up


def _keep(store: Store, rows: list[Waiting]) -> None:
    store.people.set_meta(QUEUE, json.dumps([asdict(one) for one in rows]).encode())
