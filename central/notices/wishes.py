"""What people want to be told, and where to: kept as values by name, in backups, in no archive."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from bundle.ids import DatasetId
from central.config import NotifySection
from central.core import webhooks
from central.core.notices import Event, Wish
from central.errors import NotifyRefused
from central.store.protocol import Store
from central.workings import Workings

PEOPLE, DATASETS = "notices.people", "notices.datasets"
PERSON_DATASETS_MAX = 1000  # of which one person wants to be told by name
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]+\.)*[A-Za-z0-9-]+")
CHANNELS = ("email", "webhook")
CHOICES = ("on", "failure_rate", "silence_hours")


def read(store: Store, name: str) -> dict[str, Any]:
    """Return what is kept under a name."""
    raw = store.people.meta(name)
    return dict(json.loads(raw)) if raw else {}


def keep(store: Store, name: str, value: Mapping[str, Any]) -> None:
    """Keep something under a name; inside a transaction."""
    store.people.set_meta(name, json.dumps(value).encode())


def of_person(store: Store, person: str) -> dict[str, Any]:
    """Return where somebody is told, and what of every dataset that they own."""
    return dict(read(store, PEOPLE).get(person, {}))


def save_person(workings: Workings, person: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Change where somebody is told, and of what; what is left out stays.

    A new webhook has a new secret, which is in this answer alone. Raises NotifyRefused.
    """
    _check(about, workings.config.notify)
    with workings.transaction():
        people = read(workings.store, PEOPLE)
        row = people.get(person, {}) | dict(about)
        made = ""
        if about.get("webhook"):
            made = row["secret"] = secrets.token_hex(32)
        elif not row.get("webhook"):
            row.pop("secret", None)
        people[person] = row
        keep(workings.store, PEOPLE, people)
    return shown(row) | ({"secret": made} if made else {})


def of_dataset(store: Store, dataset: DatasetId, person: str) -> dict[str, Any]:
    """Return what somebody wants to be told of one dataset; nothing where they did not say."""
    return dict(read(store, DATASETS).get(dataset, {}).get(person, {}))


def save_dataset(
    workings: Workings, dataset: DatasetId, person: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Change what somebody wants to be told of one dataset. Raises NotifyRefused."""
    with workings.transaction():
        kept = read(workings.store, DATASETS)
        others = sum(person in one for name, one in kept.items() if name != dataset)
        if others >= PERSON_DATASETS_MAX:
            reason = f"{others} datasets are asked for one by one already; choose for all your own"
            raise NotifyRefused(reason=reason)
        row = kept.get(dataset, {}).get(person, {}) | dict(about)
        kept[dataset] = kept.get(dataset, {}) | {person: row}
        keep(workings.store, DATASETS, kept)
    return chosen(row)


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a person's wishes as plain values, without the secret."""
    return {name: row.get(name) or None for name in CHANNELS} | chosen(row)


def chosen(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told and from when on."""
    wish = as_wish("", row)
    rate, hours = wish.failure_rate, wish.silence_hours
    return {"on": sorted(wish.on), "failure_rate": rate, "silence_hours": hours}


def as_wish(person: str, row: Mapping[str, Any]) -> Wish:
    """Return wishes as the core takes them."""
    given = {name: float(row[name]) for name in CHOICES[1:] if row.get(name) is not None}
    return Wish(person, frozenset(Event(one) for one in row.get("on") or ()), **given)


def _check(about: Mapping[str, Any], config: NotifySection) -> None:
    if email := about.get("email"):
        if not config.smtp_host:
            raise NotifyRefused(reason="this central sends no mail ([notify] smtp_host)")
        domain = email.rpartition("@")[2].lower()
        if not ADDRESS.fullmatch(email) or len(email) > 254:
            raise NotifyRefused(where="email", reason="it is no mail address")
        if config.mail_domains and domain not in config.mail_domains:
            reason = "mail goes to other domains only ([notify] mail_domains)"
            raise NotifyRefused(where="email", reason=reason)
    webhook = about.get("webhook")
    if webhook and (reason := webhooks.refusal(webhook, config.webhook_hosts)):
        raise NotifyRefused(where="webhook", reason=reason)
