"""Looking at the datasets of which somebody wants to be told, and noting what is to be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bundle.ids import DatasetId
from central import access, persons
from central.core.authorise import Action, Decision, Principal, Role, Scope, decide
from central.core.notices import Event, Notice, Standing, Told, Wish, due
from central.notices import queue, wishes
from central.store.protocol import Store
from central.store.rows import DatasetRow
from central.views import Views
from central.workings import Workings

STATE = "notices.state"
READS = frozenset({Scope.READ})


@dataclass(slots=True)
class Found:
    """What a look found: what is to be told, and the state afterwards, if it is another one."""

    notices: list[Notice] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    is_new: bool = False


def look(views: Views, workings: Workings, now_us: int) -> Found:
    """Look at one moment of the database; nothing is changed."""
    store = workings.store
    state = wishes.read(store, STATE)
    found = Found(state=dict(state))  # who asks again is told under new keys
    for row, its in _wished(store):
        standing, seen = _standing(views, row, state.get(row.id, {}), now_us)
        told: dict[str, Any] = dict(seen["told"])
        for wish in its:
            before = {
                Event(name): Told(*value) for name, value in told.get(wish.person, {}).items()
            }
            made, after = due(standing, wish, before, now_us)
            found.notices += made
            if after:
                rows = {one.value: [each.holds, each.rounds] for one, each in after.items()}
                told[wish.person] = rows
        found.state[row.id] = seen | {"told": told}
    found.is_new = found.state != state
    return found


def note(workings: Workings, found: Found, now_us: int) -> int:
    """Keep what a look found, its notices first in the queue; return how many old ones went.

    One transaction: what is told stands in the queue, or was not told yet.
    """
    with workings.transaction():
        before = wishes.read(workings.store, STATE)
        fresh = [
            one
            for one in found.notices
            if _rounds(before, one) < _rounds(found.state, one)  # else another server was faster
        ]
        dropped = queue.add(workings, fresh, channels(workings.store), now_us)
        wishes.keep(workings.store, STATE, found.state)
    return dropped


def channels(store: Store) -> dict[str, list[str]]:
    """Return by which channels each person is told."""
    people = wishes.read(store, wishes.PEOPLE)
    return {name: [one for one in wishes.CHANNELS if row.get(one)] for name, row in people.items()}


def _rounds(state: dict[str, Any], one: Notice) -> int:
    its = state.get(one.dataset, {}).get("told", {}).get(one.person, {})
    return int(its.get(one.event.value, (False, 0))[1])


def _wished(store: Store) -> list[tuple[DatasetRow, list[Wish]]]:
    """Return the datasets of which somebody wants to be told who may see them."""
    people, by_dataset = wishes.read(store, wishes.PEOPLE), wishes.read(store, wishes.DATASETS)
    if not people:
        return []
    known = {one.name: _principal(one) for one in store.people.persons() if not one.closed_us}
    accesses, found = access.Accesses(store), []
    for row in store.datasets.datasets():
        its = accesses.of(row)
        named = by_dataset.get(row.id, {})
        rows = {one: people[one] | about for one, about in named.items() if one in people}
        if its.owner in people and its.owner not in rows:
            rows[its.owner] = people[its.owner]
        resource = access.resource(its)
        wished = [
            wishes.as_wish(name, about)
            for name, about in sorted(rows.items())
            if about.get("on")
            and name in known
            and decide(known[name], Action.DATASET_READ, resource) is Decision.ALLOWED
        ]
        if wished:
            found.append((row, wished))
    return found


def _principal(row: Any) -> Principal:
    groups = frozenset(persons.groups_of(row))
    return Principal(row.name, Role(row.role), READS, groups, row.site, row.no)


def _standing(
    views: Views, row: DatasetRow, seen: dict[str, Any], now_us: int
) -> tuple[Standing, dict[str, Any]]:
    """Return how a dataset stands, and what is kept of it until the next look."""
    counted = views.counts(DatasetId(row.id))["steps"]
    sums = {name: sum(one["counts"].get(name, 0) for one in counted) for name in _VERDICTS}
    attempts = sum(one["attempts"] for one in counted)
    now = [attempts, *sums.values()]
    is_same = seen.get("sums") == now
    changed_us = int(seen["at"]) if is_same else now_us
    is_stopped = bool(views.dataset(DatasetId(row.id))["control"])
    standing = Standing(
        dataset=row.id,
        name=row.name,
        tasks=row.tasks,
        done=sums["done"],
        failed=sums["failed"],
        open=sums["ready"] + sums["leased"],
        attempts=attempts,
        is_stopped=is_stopped,
        changed_us=changed_us,
    )
    return standing, {"sums": now, "at": changed_us, "told": seen.get("told", {})}


_VERDICTS = ("done", "failed", "ready", "leased", "held")

__all__ = ["Found", "channels", "look", "note"]
