"""What a commit says of people: who they are, their tokens by digests, the keys they sign with.

Each row is all there is of one person, token or key, so a later row replaces an earlier one. No
secret is in it: of a token its SHA-256, of a key the public half. Where people are told (addresses,
secrets of webhooks) is not in it either: what an archive has nobody can take out again.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from bundle import shape

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Person:
    """A person. `member_of` and `limits` are JSON; times are UTC us, 0 where there is none."""

    no: int
    name: str
    role: str
    member_of: str
    site: str
    limits: str
    issuer: str
    subject: str
    made_us: int
    closed_us: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a person, by name. `made_by`: the number of the one that it was made with."""

    no: int
    digest: bytes
    name: str
    person: str
    scopes: str
    made_us: int
    expires_us: int
    revoked_us: int
    made_by: int


@dataclass(frozen=True, slots=True)
class Signing:
    """A key by which a person signs submissions."""

    key: bytes
    name: str
    added_us: int
    removed_us: int


@dataclass(frozen=True, slots=True)
class Folk:
    """What one commit says of people. `told`: by which commit, see `commit.told`."""

    persons: tuple[Person, ...] = ()
    tokens: tuple[Token, ...] = ()
    signing: tuple[Signing, ...] = ()
    told: bytes = b""

    def count(self) -> int:
        """Return how many facts it holds."""
        return len(self.persons) + len(self.tokens) + len(self.signing)


NOBODY = Folk()


def to_wire(folk: Folk) -> list[Any]:
    """Return it as plain values."""
    return [
        [list(astuple(one)) for one in rows] for rows in (folk.persons, folk.tokens, folk.signing)
    ]


def from_wire(value: shape.Reader, told: bytes) -> Folk:
    """Read what `to_wire` gave. Raises WrongShape."""
    return Folk(
        tuple(_person(row) for row in value.readers(0)),
        tuple(_token(row) for row in value.readers(1)),
        tuple(
            Signing(row.bytes(0, DIGEST_BYTES), row.text(1), row.count(2), row.count(3))
            for row in value.readers(2)
        ),
        told,
    )


def _person(row: shape.Reader) -> Person:
    return Person(
        no=row.count(0),
        name=row.text(1),
        role=row.text(2),
        member_of=row.text(3),
        site=row.text(4),
        limits=row.text(5),
        issuer=row.text(6),
        subject=row.text(7),
        made_us=row.count(8),
        closed_us=row.count(9),
    )


def _token(row: shape.Reader) -> Token:
    return Token(
        no=row.count(0),
        digest=row.bytes(1, DIGEST_BYTES),
        name=row.text(2),
        person=row.text(3),
        scopes=row.text(4),
        made_us=row.count(5),
        expires_us=row.count(6),
        revoked_us=row.count(7),
        made_by=row.count(8),
    )
