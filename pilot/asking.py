"""What a slot is told of each attempt that it is asked for; or why it cannot be asked."""

from __future__ import annotations

from typing import Any

from bundle.errors import PulkError
from bundle.ids import PilotRun
from pilot.attempts import Running
from pilot.core.holding import allows, denied
from pilot.core.request import Site, request
from pilot.core.room import Room
from pilot.holdings import Held


class NotAsked(Exception):
    """No slot can be asked for the attempt: what the reply says of it instead."""

    def __init__(self, **reply: Any) -> None:
        """Keep the reply."""
        self.reply = reply
        super().__init__(str(reply))


class Asking:
    """Makes the messages of one pilot."""

    def __init__(self, site: Site, pilot_run: PilotRun, node: Room) -> None:
        """Remember what is the same for every attempt."""
        self._pilot_run, self._node = pilot_run, node
        self._variables = site.variables()
        self._holding, self._containers = site.holding, site.containers

    def message(self, running: Running, held: Held) -> dict[str, Any]:
        """Return what a slot is told. Raises NotAsked."""
        shard, start = running.shard, running.start
        try:
            message = request(
                shard.claimed.dataset,
                start.place,
                start.request,
                running.key(self._pilot_run),
                shard.agenda.outcomes,
                self._variables,
                self._node,
                held.told,
                self._containers,
                shard.claimed.lease.foreign,
            )
        except PulkError as error:
            raise NotAsked(exit_code=126, not_started=error.text()) from error
        network = message.get("network", "")
        if not allows(self._holding, network):
            raise NotAsked(exit_code=-1, network_class=denied(self._holding, network))
        if held.cpus:
            message["cpus"] = held.cpus
        return message
