"""The one authorisation function: who may do what to which thing. What is not allowed is denied.

A *principal* is somebody whose credentials were verified. A *resource* is what an action touches,
as far as authorisation looks at it. `decide` is asked by the HTTP side for every route, and for
every row of a list. Nothing else decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person is at central."""

    ADMIN = "admin"
    PRODUCTION = "production"
    USER = "user"
    SITE = "site"
    READ_ONLY = "read-only"


class Scope(StrEnum):
    """What a token may be used for, within its person's role."""

    READ = "read"
    SUBMIT = "submit"
    CONTROL = "control"
    ADMIN = "admin"
    EXCHANGE = "exchange"  # no token has it: it comes with a site's signature


TOKEN_SCOPES = frozenset({Scope.READ, Scope.SUBMIT, Scope.CONTROL, Scope.ADMIN})


class Visibility(StrEnum):
    """Who sees a dataset beside its owner, production and admin."""

    PRIVATE = "private"
    GROUP = "group"
    PUBLIC = "public"


class Action(StrEnum):
    """What can be done. Every route names one, or says that it is open."""

    DATASET_LIST = "dataset.list"
    DATASET_CHECK = "dataset.check"
    DATASET_SUBMIT = "dataset.submit"
    DATASET_READ = "dataset.read"
    DATASET_CONTROL = "dataset.control"
    DATASET_EDIT = "dataset.edit"
    DATASET_SHARE = "dataset.share"
    DATASET_NOTIFY = "dataset.notify"
    FILE_READ = "file.read"
    SITE_LIST = "site.list"
    SITE_DETAIL = "site.detail"
    SITE_ENROL = "site.enrol"
    SITE_LOSE = "site.lose"
    BUNDLE_LIST = "bundle.list"
    BUNDLE_READ = "bundle.read"
    USER_LIST = "user.list"
    USER_CHANGE = "user.change"
    TOKEN_LIST = "token.list"  # noqa: S105  the name of an action
    TOKEN_MAKE = "token.make"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    AUDIT_READ = "audit.read"
    SELF_READ = "self.read"
    SELF_CHANGE = "self.change"
    HEALTH_READ = "health.read"
    BACKUP = "backup"
    EXCHANGE = "exchange"


class Relation(StrEnum):
    """How a principal stands to a resource."""

    ANY = "any"
    OWNER = "owner"
    MEMBER = "member"  # of the group that sees it
    PUBLIC = "public"  # everybody sees it
    SITE = "site"  # it is of the principal's site


class Decision(StrEnum):
    """Hidden: to be answered as if the thing did not exist."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks. `no` numbers the person, `token` the token: 0 where there is none."""

    name: str
    role: Role
    scopes: frozenset[Scope]
    groups: frozenset[str] = frozenset()
    site: str = ""
    no: int = 0
    token: int = 0
    expires_us: int = 0  # of the credentials; 0: never


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action touches: whose it is, who sees it; `scopes`: of a token, what it is for."""

    owner: str = ""
    group: str = ""
    visibility: Visibility = Visibility.PRIVATE
    site: str = ""
    scopes: frozenset[Scope] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may: which scope it takes (None: any), and per role to what it must stand how.

    `of_others`: the scope that it takes beside where the resource is not the principal's own.
    `is_as_wide`: it takes the resource's own scopes, or `admin`: whoever finds a token for reading
    is not to end its owner's work.
    """

    scope: Scope | None
    may: Mapping[Role, frozenset[Relation]]
    of_others: Scope | None = None
    is_as_wide: bool = False


_ANY = frozenset({Relation.ANY})
_OWN = frozenset({Relation.OWNER})
_SEEN = frozenset({Relation.OWNER, Relation.MEMBER, Relation.PUBLIC})
_HERE = frozenset({Relation.SITE})
_ADMIN = {Role.ADMIN: _ANY}
_STAFF = {Role.ADMIN: _ANY, Role.PRODUCTION: _ANY}
_EVERYBODY = dict.fromkeys(Role, _ANY)
_OF_THEIR_OWN = {**dict.fromkeys(Role, _OWN), Role.ADMIN: _ANY}

RULES: Mapping[Action, Rule] = {
    Action.DATASET_LIST: Rule(Scope.READ, _EVERYBODY),
    Action.DATASET_CHECK: Rule(Scope.READ, _EVERYBODY),
    Action.DATASET_READ: Rule(Scope.READ, dict.fromkeys(Role, _SEEN) | _STAFF),
    Action.DATASET_SUBMIT: Rule(Scope.SUBMIT, {**_STAFF, Role.USER: _ANY}),
    Action.DATASET_CONTROL: Rule(Scope.CONTROL, {**_STAFF, Role.USER: _OWN}),
    Action.DATASET_EDIT: Rule(Scope.CONTROL, {**_STAFF, Role.USER: _OWN}),
    Action.DATASET_SHARE: Rule(
        Scope.CONTROL, {Role.ADMIN: _ANY, Role.PRODUCTION: _OWN, Role.USER: _OWN}
    ),
    Action.DATASET_NOTIFY: Rule(Scope.CONTROL, dict.fromkeys(Role, _SEEN) | _STAFF),
    Action.FILE_READ: Rule(Scope.READ, {**_STAFF, Role.USER: _ANY, Role.READ_ONLY: _ANY}),
    Action.SITE_LIST: Rule(Scope.READ, _EVERYBODY),
    Action.SITE_DETAIL: Rule(Scope.READ, {**_STAFF, Role.SITE: _HERE}),
    Action.SITE_ENROL: Rule(Scope.ADMIN, _ADMIN),
    Action.SITE_LOSE: Rule(Scope.ADMIN, _ADMIN),
    Action.BUNDLE_LIST: Rule(Scope.READ, {**_STAFF, Role.SITE: _HERE}),
    Action.BUNDLE_READ: Rule(Scope.READ, {**_STAFF, Role.SITE: _HERE}),
    Action.USER_LIST: Rule(Scope.READ, _STAFF),
    Action.USER_CHANGE: Rule(Scope.ADMIN, _ADMIN),
    Action.TOKEN_LIST: Rule(Scope.READ, _OF_THEIR_OWN),
    Action.TOKEN_MAKE: Rule(None, _OF_THEIR_OWN, of_others=Scope.ADMIN),
    Action.TOKEN_REVOKE: Rule(None, _OF_THEIR_OWN, of_others=Scope.ADMIN, is_as_wide=True),
    Action.AUDIT_READ: Rule(Scope.READ, _OF_THEIR_OWN),
    Action.SELF_READ: Rule(None, _EVERYBODY),
    Action.SELF_CHANGE: Rule(Scope.CONTROL, _EVERYBODY),
    Action.HEALTH_READ: Rule(Scope.READ, _EVERYBODY),
    Action.BACKUP: Rule(Scope.ADMIN, _ADMIN),
    Action.EXCHANGE: Rule(Scope.EXCHANGE, {Role.SITE: _HERE}),
}
_OF_DATASETS = frozenset(
    {
        Action.DATASET_READ,
        Action.DATASET_CONTROL,
        Action.DATASET_EDIT,
        Action.DATASET_SHARE,
        Action.DATASET_NOTIFY,
    }
)


def decide(principal: Principal, action: Action, resource: Resource | None = None) -> Decision:
    """Return whether a principal may do something.

    Args:
        principal: who asks.
        action: what for.
        resource: to what; None asks whether there is anything that the principal may do it to,
            which is answered before a resource is looked up.
    """
    rule = RULES.get(action)
    if rule is None or (rule.scope is not None and rule.scope not in principal.scopes):
        return Decision.FORBIDDEN
    needed = rule.may.get(principal.role)
    if needed is None:
        return Decision.FORBIDDEN
    if resource is None:
        return Decision.ALLOWED
    if rule.is_as_wide and not _is_as_wide(principal, resource):
        return Decision.FORBIDDEN
    stands = relations(principal, resource)
    if needed & stands and (Relation.OWNER in stands or _has(principal, rule.of_others)):
        return Decision.ALLOWED
    if action in _OF_DATASETS and not _sees(principal, resource):
        return Decision.HIDDEN
    return Decision.FORBIDDEN


def relations(principal: Principal, resource: Resource) -> frozenset[Relation]:
    """Return how a principal stands to a resource."""
    found = {Relation.ANY}
    if resource.owner and resource.owner == principal.name:
        found.add(Relation.OWNER)
    if resource.visibility is Visibility.PUBLIC:
        found.add(Relation.PUBLIC)
    if resource.visibility is Visibility.GROUP and resource.group in principal.groups:
        found.add(Relation.MEMBER)
    if resource.site and resource.site == principal.site:
        found.add(Relation.SITE)
    return frozenset(found)


def _has(principal: Principal, scope: Scope | None) -> bool:
    return scope is None or scope in principal.scopes


def _is_as_wide(principal: Principal, resource: Resource) -> bool:
    return Scope.ADMIN in principal.scopes or resource.scopes <= principal.scopes


def _sees(principal: Principal, resource: Resource) -> bool:
    return bool(
        RULES[Action.DATASET_READ].may.get(principal.role, frozenset())
        & relations(principal, resource)
    )
