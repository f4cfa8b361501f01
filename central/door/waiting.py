"""Those who were told all there is for them and wait for news: looked after from memory alone.

A site's relay that runs as a daemon holds one such connection, so that work comes within a second
and nobody asks over and over. Each ends after a time of its own, with nothing new if need be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from bundle.ids import SiteName
from central.door.connection import Connection, State
from central.standing import Trusted

LOOK_S = 0.2  # how often it is looked whether there is news


def tag_of(body: bytes) -> str:
    """Return what a client calls an answer that it has."""
    return hashlib.sha256(body).hexdigest()[:32]


@dataclass(slots=True)
class _Site:
    trusted: Trusted
    ones: list[Connection]


class Waiting:
    """See the module. `wait_s_max` 0: nobody may wait."""

    def __init__(self, wait_s_max: float) -> None:
        """Begin with nobody."""
        self._wait_s_max = wait_s_max
        self._by: dict[SiteName, _Site] = {}
        self._looked_s = 0.0

    def __bool__(self) -> bool:
        """Return whether anybody may be waiting."""
        return bool(self._by)

    def take(self, one: Connection, body: bytes, trusted: Trusted, now_s: float) -> bool:
        """Let a connection wait if it wants to and has that answer already; return whether it does.

        It must be brought into the state HOLDING then.
        """
        ask = one.ask
        wait_s = min(ask.wait_s, self._wait_s_max) if ask else 0
        if ask is None or wait_s <= 0 or ask.seen != tag_of(body):
            return False
        one.until_s = now_s + wait_s
        self._by.setdefault(SiteName(ask.site), _Site(trusted, [])).ones.append(one)
        return True

    def due(self, now_s: float) -> Iterator[tuple[SiteName, Trusted]]:
        """Yield each site that somebody waits for, now and then."""
        if 0 <= now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        for site, of in list(self._by.items()):
            of.ones = [one for one in of.ones if one.state is State.HOLDING]
            if of.ones:
                yield site, of.trusted
            else:
                del self._by[site]

    def released(
        self, site: SiteName, body: bytes | None, now_s: float, *, is_over: bool
    ) -> Iterator[tuple[Connection, bytes | None]]:
        """Yield whom to answer and with what; None: with nothing new.

        Args:
            site: whose connections.
            body: what there is for it now; None: that is not known.
            now_s: monotonic seconds.
            is_over: nobody may wait any more: they must ask again.
        """
        of = self._by[site]
        tag = None if body is None else tag_of(body)
        left = []
        for one in of.ones:
            if one.ask is not None and tag is not None and one.ask.seen != tag:
                yield one, body
            elif is_over or now_s >= one.until_s:
                yield one, None
            else:
                left.append(one)
        of.ones = left
