"""The authority's part in telling people: what they want to be told, and what waits to be sent."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from bundle.ids import DatasetId
from central import auditing
from central.changing import Changing
from central.core.authorise import Action, Principal
from central.core.notices import Event, Notice
from central.errors import NotifyRefused
from central.notices import look, queue, wishes
from central.notices.queue import Waiting


class Informing(Changing):
    """See the module. Every public method may be called from any thread."""

    def wishes(self, person: str) -> dict[str, Any]:
        """Return where somebody is told, and what of every dataset that they own."""
        with self._readers.store() as store:
            return wishes.shown(wishes.of_person(store, person))

    def save_wishes(self, by: Principal, about: Mapping[str, Any]) -> dict[str, Any]:
        """Change where who asks is told, and of what. Raises NotifyRefused."""
        with self._held(), self._w.transaction():
            by = self._still_may(by, Action.SELF_CHANGE)
            made = wishes.save_person(self._w, by.name, about)
            changed = sorted(name for name in about if about[name] is not None)
            auditing.note(self._w, by, Action.SELF_CHANGE, by.name, notices=changed)
            return made

    def dataset_wishes(self, dataset: DatasetId, person: str) -> dict[str, Any]:
        """Return what somebody wants to be told of one dataset. Raises UnknownDataset."""
        with self._readers.views() as views:
            views.resource(dataset)
        with self._readers.store() as store:
            given = wishes.of_dataset(store, dataset, person)
            return wishes.chosen(given) | {"own": bool(given)}

    def save_dataset_wishes(
        self, dataset: DatasetId, by: Principal, about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change what who asks wants to be told of one dataset.

        Raises NotifyRefused, UnknownDataset, Forbidden, Unauthorised.
        """
        with self._held(), self._w.transaction():
            by = self._still_may(by, Action.DATASET_NOTIFY, dataset=dataset)
            made = wishes.save_dataset(self._w, dataset, by.name, about)
            auditing.note(self._w, by, Action.DATASET_NOTIFY, dataset, on=made["on"])
            return made | {"own": True}

    def test_notice(self, by: Principal) -> dict[str, Any]:
        """Let a notice wait by which somebody sees that they are told. Raises NotifyRefused."""
        key, text = os.urandom(16).hex(), "this is how you will be told"
        one = Notice(key, by.name, Event.TEST, "", "test", text)
        with self._held(), self._w.transaction():
            by = self._still_may(by, Action.SELF_CHANGE)
            channels = look.channels(self._w.store)
            if not channels.get(by.name):
                raise NotifyRefused(reason="say first where to: email or webhook")
            queue.add(self._w, [one], channels, self._w.clock_us())
        return {"key": key, "channels": channels[by.name]}

    def look_for_notices(self) -> int:
        """See whether there is something to tell; return how many old notices went for it."""
        now_us = self._w.clock_us()
        with self._readers.workings() as (views, workings):
            found = look.look(views, workings, now_us)
        if not found.is_new:
            return 0
        with self._held():
            return look.note(self._w, found, now_us)

    def take_notices(self) -> tuple[list[Waiting], dict[str, dict[str, Any]]]:
        """Return notices that are to be sent now, and where each person is told."""
        with self._readers.store() as store:
            if not queue.read(store):
                return [], {}
        with self._held():
            taken = queue.take(self._w, self._w.clock_us())
            return taken, wishes.read(self._w.store, wishes.PEOPLE)

    def settle_notices(self, sent: Iterable[Waiting], failed: Iterable[Waiting]) -> list[Waiting]:
        """Note which were taken and which not; return those that are given up."""
        config = self._w.config.notify
        first_s, keep_hours = config.every_s, config.keep_hours
        with self._held():
            now_us = self._w.clock_us()
            return queue.settle(
                self._w, sent, failed, now_us, first_s=first_s, keep_hours=keep_hours
            )
