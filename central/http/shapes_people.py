"""What answers about users, tokens and changes look like; see `central.http.shapes`."""

from __future__ import annotations

from typing import Any

from central.http.shapes import Shape, Text


class UserLimits(Shape):
    """What a user may use; 0 is no limit."""

    tasks_open: int
    hours: float
    written_bytes: int
    requests_per_minute: int


class UserRow(Shape):
    """A user; with `fields`, some of these."""

    name: str = ""
    role: str = ""
    groups: tuple[str, ...] = ()
    site: Text = None
    limits: UserLimits | None = None
    issuer: Text = None
    added: Text = None
    closed: Text = None
    key: Text = None


class Users(Shape):
    """A page of users."""

    users: list[UserRow]
    next: Text


class UserSaved(Shape):
    """A user who was added or changed; how many bundles that had waited for the key were merged."""

    name: str
    role: str
    groups: list[str]
    merged: int


class Removed(Shape):
    """A user who was removed."""

    removed: str


class TokenRow(Shape):
    """A token; with `fields`, some of these. Its text is never shown again."""

    no: int = 0
    name: str = ""
    user: str = ""
    scopes: tuple[str, ...] = ()
    made: Text = None
    expires: Text = None
    revoked: Text = None
    holds: bool = False


class Tokens(Shape):
    """A page of tokens."""

    tokens: list[TokenRow]
    next: Text


class NewToken(TokenRow):
    """A token that was made, with its text: keep it, it is shown this once."""

    token: str


class LoginAbout(Shape):
    """Where to log in: the identity provider, and what central is called there."""

    issuer: str
    client_id: str
    scope: str
    device_authorization_endpoint: Text
    token_endpoint: Text


class Me(Shape):
    """Who asks, with what, and what is used of the limits."""

    name: str
    role: str
    groups: list[str]
    scopes: list[str]
    expires: Text
    limits: UserLimits
    used: dict[str, int]


class AuditRow(Shape):
    """A change that somebody made."""

    no: int
    at: Text
    user: str
    token: int | None
    action: str
    resource: str
    detail: dict[str, Any]


class Audit(Shape):
    """A page of changes, the newest first."""

    audit: list[AuditRow]
    next: Text


class DatasetWishes(Shape):
    """What somebody is told of a dataset. `own`: they chose it for this one."""

    on: list[str]
    failure_rate: float
    silence_hours: float
    own: bool = False


class Wishes(DatasetWishes):
    """Where somebody is told, and of what. `secret`: of a webhook that was set just now."""

    email: Text
    webhook: Text


class Tested(Shape):
    """The key of a notice that is sent now, and by what."""

    key: str
    channels: list[str]
