"""What a route is: method, path, who may, in which budget, what goes in and out, what answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel

from bundle.ids import SiteName
from central.authority import Authority
from central.config import Config
from central.core.authorise import Action, Decision, Principal, Resource, decide
from central.errors import Forbidden
from central.home import Home
from central.http.budget import Budget
from central.http.budgets import Budgets
from central.http.media import BYTES
from central.http.rates import Rates
from central.persons import OPERATOR
from central.questions import Questions

V1 = "/v1"
_Model = TypeVar("_Model", bound=BaseModel)


class Of(StrEnum):
    """Which part of the path names the resource that a policy is about.

    NOTHING: none does; what the action touches stands in the body, or the answer is a list of what
    the principal may see, and the function that answers asks `Asked.require` or `Asked.may`.
    """

    NOTHING = "nothing"
    DATASET = "dataset"
    SITE = "site"
    USER = "name"
    TOKEN = "number"  # noqa: S105  a part of a path


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may use a route: those whom the one authorisation function allows its action.

    There is no default: a route without a policy cannot be made. `action` None: it is open to all.
    """

    action: Action | None
    of: Of = Of.NOTHING

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for credentials."""
        return self.action is None

    @property
    def is_signed(self) -> bool:
        """Whether a site signs the request, in place of a token."""
        return self.action is Action.EXCHANGE


OPEN = Policy(None)


@dataclass(frozen=True, slots=True)
class Service:
    """What all routes share. `authority`: None in the process that only reads."""

    authority: Authority | None
    questions: Questions
    home: Home
    config: Config
    budgets: Budgets
    rates: Rates


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, whose sender is known unless the route is open."""

    service: Service
    request: web.Request
    budget: Budget
    principal: Principal | None = None
    given: BaseModel | None = None  # the query, as the route's model

    @property
    def authority(self) -> Authority:
        """The authority; call it through `budget.run` only, and never in a route `beside`."""
        assert self.service.authority is not None  # noqa: S101  the reader has no such route
        return self.service.authority

    @property
    def questions(self) -> Questions:
        """What can be asked beside the merge; call it through `budget.run` only."""
        return self.service.questions

    @property
    def by(self) -> Principal:
        """Who asks; never in an open route."""
        assert self.principal is not None  # noqa: S101  identification came before
        assert self.principal is not OPERATOR  # noqa: S101  who works in the folder asks no HTTP
        return self.principal

    @property
    def site(self) -> SiteName:
        """The site that signed the request."""
        return SiteName(self.by.site)

    def part(self, name: str) -> str:
        """Return a variable part of the path."""
        return self.request.match_info[name]

    def query(self, kind: type[_Model]) -> _Model:
        """Return the query, which was checked before."""
        assert isinstance(self.given, kind)  # noqa: S101  the route names the same model
        return self.given

    def may(self, action: Action, resource: Resource) -> bool:
        """Return whether who asks may do something to a resource."""
        return decide(self.by, action, resource) is Decision.ALLOWED

    def require(self, action: Action, resource: Resource) -> None:
        """Raise Forbidden unless who asks may do something to a resource."""
        if not self.may(action, resource):
            raise Forbidden(where=self.request.path, reason=denial(self.by, action))


def denial(by: Principal, action: Action) -> str:
    """Return why somebody may not, as far as it is theirs to know."""
    return f"{by.name} (role {by.role.value}) may not do {action.value} here with this token"


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table of routes.

    Attributes:
        beside: needs nothing that only the merging process has.
        query: the model of its query; None: it has none.
        body: the model of its body in JSON, or the media types that it takes; None: it has none.
        gives: the model of its answer, or the media type.
        key: it needs an Idempotency-Key.
        streams: it gives lines of JSON too, where they are asked for.
    """

    method: str
    path: str
    policy: Policy
    budget: Callable[[Budgets], Budget]
    answer: Callable[[Asked], Awaitable[web.StreamResponse]]
    beside: bool = False
    query: type[BaseModel] | None = None
    body: type[BaseModel] | tuple[str, ...] | None = None
    gives: type[BaseModel] | str = BYTES
    key: bool = False
    streams: bool = False
