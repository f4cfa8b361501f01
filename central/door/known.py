"""Answers to asks that hold as long as nothing changed, so that most asks cost no database."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.ids import SiteName
from central.marks import Marks, Seen
from central.standing import Trusted

# What came for others may have made tasks ready for this site: so stale an answer may be.
STALE_S_MAX = 1.0
KEPT_S_MAX = 5.0  # leases end by the clock, which raises no mark
SITES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    seen: Seen
    trusted: Trusted
    at_s: float


class Known:
    """The last answer to each site."""

    def __init__(self, marks: Marks) -> None:
        """Know nothing yet."""
        self._marks = marks
        self._answers: dict[SiteName, _Answer] = {}

    def get(self, site: SiteName, trusted: Trusted, now_s: float) -> bytes | None:
        """Return the answer to a site if it still holds."""
        found = self._answers.get(site)
        if found is None or found.trusted != trusted:
            return None
        seen, age_s = self._marks.seen(site), now_s - found.at_s
        if (seen.general, seen.site) != (found.seen.general, found.seen.site):
            return None
        limit_s = KEPT_S_MAX if seen.version == found.seen.version else STALE_S_MAX
        return found.body if age_s <= limit_s else None

    def put(self, site: SiteName, body: bytes, seen: Seen, trusted: Trusted, now_s: float) -> None:
        """Keep an answer; `seen` and `trusted` are from before the question was asked."""
        if len(self._answers) >= SITES_MAX:
            self._answers.clear()
        self._answers[site] = _Answer(body, seen, trusted, now_s)
