"""Answers to asks that hold as long as nothing changed, so that most asks cost no database."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.ids import SiteName
from central.marks import Marks, Seen
from central.standing import Trusted

FRESH_S_MAX = 1.0  # what came for others since may have made tasks ready for this site
# Then the server is asked anew, and meanwhile the answer still holds for so long: it may be busy.
KEPT_S_MAX = 10.0
UNCHANGED_S_MAX = 5.0  # leases end by the clock, which raises no mark
SITES_MAX = 10_000
# Who waits for news costs a question so often: where nothing changed, and where others' things did.
HELD_S_MAX = 30.0
HELD_CHANGED_S_MAX = 5.0


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

    def get(self, site: SiteName, trusted: Trusted, now_s: float) -> tuple[bytes | None, bool]:
        """Return the answer to a site if it still holds, and whether a new one is due."""
        standing = self._standing(site, trusted)
        if standing is None:
            return None, True
        found, is_same = standing
        age_s = now_s - found.at_s
        is_due = age_s > (UNCHANGED_S_MAX if is_same else FRESH_S_MAX)
        return (found.body if age_s <= KEPT_S_MAX else None), is_due

    def held(self, site: SiteName, trusted: Trusted, now_s: float) -> tuple[bytes | None, bool]:
        """Return the last answer, for those who wait for another one, and whether one is due.

        None where something that concerns the site changed since.
        """
        standing = self._standing(site, trusted)
        if standing is None:
            return None, True
        found, is_same = standing
        return found.body, now_s - found.at_s > (HELD_S_MAX if is_same else HELD_CHANGED_S_MAX)

    def _standing(self, site: SiteName, trusted: Trusted) -> tuple[_Answer, bool] | None:
        """Return the last answer to a site, and whether nothing at all changed since.

        None where something that concerns the site changed.
        """
        found = self._answers.get(site)
        if found is None or found.trusted != trusted:
            return None
        seen = self._marks.seen(site)
        if (seen.general, seen.site) != (found.seen.general, found.seen.site):
            return None
        return found, seen.version == found.seen.version

    def put(self, site: SiteName, body: bytes, seen: Seen, trusted: Trusted, now_s: float) -> None:
        """Keep an answer; `seen` and `trusted` are from before the question was asked."""
        if len(self._answers) >= SITES_MAX:
            self._answers.clear()
        self._answers[site] = _Answer(body, seen, trusted, now_s)
