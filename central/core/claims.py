"""What an identity provider says of somebody, made into a name, a role and groups. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from central.core.authorise import Role

AGE_S_MAX = 600  # of an ID token that is brought for a login: it is no token to keep
SKEW_S = 60
# An administrator's role is first, so that whoever has several is what is most.
ORDER = (Role.ADMIN, Role.PRODUCTION, Role.USER, Role.READ_ONLY)


@dataclass(frozen=True, slots=True)
class Reading:
    """How claims are read: which name what, and what their values stand for."""

    client_id: str
    name: str = "preferred_username"
    roles: str = "roles"
    groups: str = "groups"
    as_role: Mapping[str, Role] = field(default_factory=dict)
    role: Role | None = None  # of whoever has none of those


@dataclass(frozen=True, slots=True)
class Vouched:
    """Somebody for whom an issuer vouches."""

    issuer: str
    subject: str
    name: str
    role: Role
    groups: tuple[str, ...]


def read(claims: Mapping[str, Any], issuer: str, reading: Reading, now_s: float) -> Vouched | str:
    """Return who the claims of a verified token speak of, or why they are not taken."""
    reason = _refused(claims, issuer, reading.client_id, now_s)
    if reason:
        return reason
    name, subject = claims.get(reading.name), claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > 255:
        return "it has no subject"
    if not isinstance(name, str) or not name:
        return f"it has no {reading.name}"
    said = _texts(claims, reading.roles)
    roles = {reading.as_role[one] for one in said if one in reading.as_role}
    role = next((one for one in ORDER if one in roles), reading.role)
    if role is None:
        return "none of its roles is one here"
    return Vouched(issuer, subject, name, role, tuple(sorted(_texts(claims, reading.groups))))


def _refused(claims: Mapping[str, Any], issuer: str, client_id: str, now_s: float) -> str:
    audience = claims.get("aud")
    several = audience if isinstance(audience, list) else [audience]
    times = {name: claims.get(name) for name in ("iat", "exp")}
    if claims.get("iss") != issuer:
        return "another issuer made it"
    if client_id not in several:
        return "it is for another audience"
    if len(several) > 1 and claims.get("azp") != client_id:
        return "it was made for another party"
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in times.values()):
        return "it does not say when it was made, and when it ends"
    made_s, ends_s = float(times["iat"] or 0), float(times["exp"] or 0)
    starts = claims.get("nbf", made_s)
    if not isinstance(starts, (int, float)) or starts > now_s + SKEW_S or made_s > now_s + SKEW_S:
        return "it does not hold yet"
    if ends_s <= now_s - SKEW_S:
        return "it has expired"
    if made_s < now_s - AGE_S_MAX:
        return f"it was made more than {AGE_S_MAX} seconds ago"
    return ""


def _texts(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return a claim that is a list of texts, or one; `a.b` is `b` inside `a`."""
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
