"""A pilot without a radio: what the receiver answers where nothing is to be heard."""

from __future__ import annotations

from bundle.spool.layout import ShardName

RADIO = -2  # its number among the slots, for the selector


class Silence:
    """Never hears anything, and costs nothing."""

    public_key = b""
    is_heard = False
    next_s = float("inf")
    answered_s = 0.0

    def tick(self, now_s: float) -> None:
        """Do what is due."""

    def on_ready(self) -> None:
        """Read what arrived."""

    def want(self, now_s: float) -> bool:
        """Ask the relay for a shard; return whether it was asked just now."""
        del now_s
        return False

    def offered(self, now_s: float) -> ShardName | None:
        """Return a shard that the relay named for this pilot."""
        del now_s
        return None

    def told(self, name: ShardName, *, taken: bool) -> None:
        """Tell what became of a shard that was named."""

    def sealed(self, count: int) -> None:
        """Tell that seals wait in the spool; `count` is how many this pilot made in all."""

    def close(self) -> None:
        """End."""
