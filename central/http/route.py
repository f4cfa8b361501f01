"""What a route is: method, path, who may, in which budget, and the function that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from bundle.ids import SiteName
from central.authority import Authority
from central.config import Config
from central.home import Home
from central.http.budget import Budget, Budgets
from central.questions import Questions

NO_SITE = SiteName("")


class Access(StrEnum):
    """Who may use a route. There is no default: a route without it cannot be made."""

    OPEN = "open"
    USER = "user"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Service:
    """What all routes share. `authority`: None in the process that only reads."""

    authority: Authority | None
    questions: Questions
    home: Home
    config: Config
    budgets: Budgets


@dataclass(frozen=True, slots=True)
class Asked:
    """One request whose sender is known: `token_id` for a user, `site` for a site."""

    service: Service
    request: web.Request
    budget: Budget
    token_id: int = 0
    site: SiteName = NO_SITE

    @property
    def authority(self) -> Authority:
        """The authority; call it through `budget.run` only, and never in a route `beside`."""
        assert self.service.authority is not None  # noqa: S101  the reader has no such route
        return self.service.authority

    @property
    def questions(self) -> Questions:
        """What can be asked beside the merge; call it through `budget.run` only."""
        return self.service.questions

    def part(self, name: str) -> str:
        """Return a variable part of the path."""
        return self.request.match_info[name]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table of routes. `beside`: needs nothing that only the merging process has."""

    method: str
    path: str
    access: Access
    budget: Callable[[Budgets], Budget]
    answer: Callable[[Asked], Awaitable[web.StreamResponse]]
    beside: bool = False
