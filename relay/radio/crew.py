"""The pilots that are heard: their connections, and the last that each said of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from bundle.ids import PilotRun
from bundle.radio import messages
from bundle.radio.messages import Hello, Seen

SILENT_S = 20.0  # then a pilot counts as gone; the spool knows better
BURST = 100  # messages that a pilot may have ahead
PER_S = 20.0  # and so many a second


@dataclass(slots=True)
class Heard:
    """One connection. `route` is ZeroMQ's word for it; `state` the body of its last state."""

    route: bytes
    ticket: bytes
    run: PilotRun
    hello: Hello
    heard_s: float
    state: bytes = b""
    state_s: float = 0.0
    budget: float = BURST

    def may_speak(self, now_s: float) -> bool:
        """Count a message; False where the pilot says more than it may."""
        self.budget = min(BURST, self.budget + PER_S * (now_s - self.heard_s)) - 1
        self.heard_s = now_s
        if self.budget < 0:
            self.budget = 0
            return False
        return True


class Crew:
    """All that are heard; changes in place. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_run: dict[PilotRun, Heard] = {}
        self._by_route: dict[bytes, Heard] = {}

    def __len__(self) -> int:
        """Return how many are heard."""
        return len(self._by_run)

    def __iter__(self) -> Iterator[Heard]:
        """Yield each."""
        return iter(list(self._by_run.values()))

    def at(self, route: bytes) -> Heard | None:
        """Return who speaks through a connection."""
        return self._by_route.get(route)

    def of(self, run: PilotRun) -> Heard | None:
        """Return a pilot."""
        return self._by_run.get(run)

    def welcome(self, route: bytes, run: PilotRun, hello: Hello, now_s: float) -> Heard:
        """Take a pilot in; a connection that it had before is forgotten."""
        self.forget(run)
        if (other := self._by_route.get(route)) is not None:
            self.forget(other.run)
        one = Heard(route, os.urandom(messages.TICKET_BYTES), run, hello, now_s)
        self._by_run[run] = self._by_route[route] = one
        return one

    def forget(self, run: PilotRun) -> None:
        """Drop a pilot."""
        one = self._by_run.pop(run, None)
        if one is not None:
            self._by_route.pop(one.route, None)

    def silent(self, now_s: float) -> list[PilotRun]:
        """Return who was not heard for too long."""
        return [one.run for one in self._by_run.values() if now_s - one.heard_s > SILENT_S]

    def page(self, after: bytes, bytes_max: int, now_s: float) -> tuple[list[Seen], bool]:
        """Return the pilots behind one, as many as fit, and whether these were the last."""
        rows: list[Seen] = []
        size = 0
        runs = sorted(run for run in self._by_run if run > after)
        for run in runs:
            one = self._by_run[run]
            size += len(one.state) + len(one.hello.batch_id) + len(one.hello.host) + 64
            if rows and (size > bytes_max or len(rows) >= messages.PAGE_ROWS_MAX):
                return rows, False
            silent_ms, state_ms = (
                max(0, round(1000 * (now_s - at_s))) for at_s in (one.heard_s, one.state_s)
            )
            about = (one.hello.batch_id, one.hello.host)
            rows.append(Seen(run, *about, silent_ms, state_ms, one.state))
        return rows, True
