"""The budgets of one server."""

from __future__ import annotations

from central.http.budget import Budget, PerSite
from central.http.shared import SharedBudget, Streams


class Budgets:
    """The budgets of one server. What sites bring has its own, and so has what they fetch."""

    def __init__(self, concurrent_uploads: int, site_uploads_max: int) -> None:
        """Make them; `uploads` bounds bodies under way, `completions` merges.

        `checks` are signatures of sites: quick, and never behind a merge. Of `reads` one person has
        half of what runs at most, and 32 that wait; of `streams` eight.
        """
        self.sites = PerSite(site_uploads_max, 64, 20.0)
        self.checks = Budget("checks", 2, 1024, 10.0)
        self.uploads = Budget("uploads", concurrent_uploads, 256, 20.0)
        self.completions = Budget("completions", 2, 1024, 25.0)
        self.work = Budget("work", 2, 256, 20.0)
        self.reads = SharedBudget("reads", 4, 256, 10.0, each=(2, 32))
        self.streams = Streams(8)
        self.writes = Budget("writes", 2, 64, 20.0)
        self.files = Budget("files", 2, 64, 20.0)
        self.documents = SharedBudget(
            "documents", 1, 64, 60.0, each=(1, 8)
        )  # seconds of work each, beside merging

    @property
    def threads(self) -> int:
        """How many threads all of them can need at once."""
        sites = (self.checks, self.uploads, self.completions, self.work)
        kinds = (*sites, self.reads, self.writes, self.files, self.documents)
        return sum(one.running_max for one in kinds) + 2
