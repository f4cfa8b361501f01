"""Who asks for work is verified and answered from memory, or the server is asked, once per site."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundle.ids import SiteName
from bundle.trust.request import check_request
from central.authority import SKEW_US_MAX
from central.door.admission import SiteRates
from central.door.connection import Connection
from central.door.heads import Ask
from central.door.known import Known
from central.door.words import Reply, question
from central.errors import Forbidden
from central.http.errors import TooManyAsks
from central.marks import Marks, Seen
from central.standing import Standing, Trusted


@dataclass(slots=True)
class _Question:
    """What the server was asked for one site, and who waits for the reply."""

    seen: Seen
    trusted: Trusted
    waiting: list[Connection]
    later: list[Connection]  # those who asked after a change: they need a newer reply


class Asking:
    """See the module. `unsent`: questions that the server has not been sent yet."""

    def __init__(
        self, trust: Path, marks: Marks, site_asks_per_s: int, clock_us: Callable[[], int]
    ) -> None:
        """Verify with a trust file; it may be replaced meanwhile."""
        self._standing, self._clock_us = Standing(trust), clock_us
        self._marks = marks
        self._known = Known(marks)
        self._rates = SiteRates(site_asks_per_s)
        self._questions: dict[SiteName, _Question] = {}
        self.unsent: deque[bytes] = deque()

    def body_for(self, ask: Ask, one: Connection, now_s: float) -> bytes | None:
        """Return the answer's body, None where the connection must wait for the server's reply.

        Raises RequestRefused and other refusals of a certificate, Forbidden, TooManyAsks.
        """
        trusted, trust = self._standing.now()
        site = check_request(
            ask.authorization,
            trust,
            "GET",
            ask.path,
            now_us=self._clock_us(),
            skew_max_us=SKEW_US_MAX,
        )
        if site != ask.site:
            raise Forbidden(where=ask.path, reason=f"the request is signed by site {site}")
        if not self._rates.take(site, now_s):
            raise TooManyAsks(where=ask.path)
        body, is_due = self._known.get(site, trusted, now_s)
        if body is None:
            self._wait(site, trusted, one)
        elif is_due and site not in self._questions:
            self._put(site, trusted, [])
        return body

    def trusted(self) -> Trusted:
        """Return which trust file counts now."""
        return self._standing.now()[0]

    def news_for(self, site: SiteName, now_s: float) -> bytes | None:
        """Return what there is for a site, from memory; where that is old the server is asked."""
        trusted = self.trusted()
        body, is_due = self._known.held(site, trusted, now_s)
        if is_due and site not in self._questions:
            self._put(site, trusted, [])
        return body

    def replied(self, reply: Reply, now_s: float) -> list[Connection]:
        """Take the server's reply; return those that waited for it, some of them gone since."""
        asked = self._questions.pop(reply.site, None)
        if asked is None:
            return []
        if reply.status == 200:
            self._known.put(reply.site, reply.body, asked.seen, asked.trusted, now_s)
        if asked.later:
            self._put(reply.site, self._standing.now()[0], asked.later)
        return asked.waiting

    def _wait(self, site: SiteName, trusted: Trusted, one: Connection) -> None:
        """Let a connection wait for a reply that knows of every change before its ask."""
        asked = self._questions.get(site)
        if asked is None:
            self._put(site, trusted, [one])
            return
        now, then = self._marks.seen(site), asked.seen
        is_late = (now.general, now.site, trusted) != (then.general, then.site, asked.trusted)
        (asked.later if is_late else asked.waiting).append(one)

    def _put(self, site: SiteName, trusted: Trusted, waiting: list[Connection]) -> None:
        self._questions[site] = _Question(self._marks.seen(site), trusted, waiting, [])
        self.unsent.append(question(site))
