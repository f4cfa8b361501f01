"""What the pilot remembers of each transfer, from which its order can be made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pilot.attempts import OpenShard, Running
from pilot.core.lineage import Place
from pilot.core.request import inputs


@dataclass(slots=True)
class Inward:
    """Inputs of a task on their way, or here; `size` in bytes."""

    number: int
    shard: OpenShard
    place: Place
    size: int
    took_ms: int = 0

    def order(self) -> dict[str, Any]:
        """Return the order to bring them."""
        dataset, lease = self.shard.claimed.dataset, self.shard.claimed.lease
        step = dataset.steps[self.place[0]]
        return {
            "bring": self.number,
            "inputs": inputs(dataset, self.place, self.shard.agenda.outcomes, lease.foreign),
            "generated": [[one.name, one.size_bytes, one.seed] for one in step.generated],
        }

    def told(self) -> bytes:
        """Return a line for the task's log."""
        return f"[{self.size} bytes of inputs were brought in {self.took_ms} ms]\n".encode()


@dataclass(slots=True)
class Outward:
    """An attempt whose outputs are on their way, with what its slot replied."""

    slot: int
    running: Running
    reply: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its outputs."""
        return sum(self.reply["handed"])

    def order(self) -> dict[str, Any]:
        """Return the order to keep them."""
        return {"keep": self.running.local, "count": len(self.reply["handed"])}

    def told(self, took_ms: int) -> bytes:
        """Return a line for the task's log."""
        return f"[{self.size} bytes of outputs were kept in {took_ms} ms]\n".encode()
