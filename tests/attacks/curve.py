"""The curve of Ed25519 in plain integers, and signatures at the edge of what libraries accept.

Slow and not for secrets: it is here so that points of small order, mixed order and other than
canonical forms can be made, and judged by an equation that is written out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)
Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def x_of(y: int) -> int | None:
    """Solve -x^2 + y^2 = 1 + d x^2 y^2 for one x, or None where y is on no point."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    return x if x * x % PRIME == square else None


def add(one: Point, two: Point) -> Point:
    """Return the sum of two points."""
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME) % PRIME
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME) % PRIME
    return x, y


def times(count: int, point: Point) -> Point:
    """Return a point added to itself, `count` in all."""
    total = IDENTITY
    while count:
        if count & 1:
            total = add(total, point)
        point, count = add(point, point), count >> 1
    return total


def base() -> Point:
    """Return the base point: y = 4/5, x even."""
    y = 4 * pow(5, -1, PRIME) % PRIME
    x = x_of(y)
    assert x is not None
    return (x if x % 2 == 0 else PRIME - x), y


BASE = base()


def torsion() -> list[Point]:
    """Return the eight points of small order: the multiples of one of order eight."""
    for y in range(2, 60):
        x = x_of(y)
        if x is not None:
            seed = times(ORDER, (x, y))
            points = [times(n, seed) for n in range(8)]
            if len(set(points)) == 8:
                return points
    raise AssertionError("no such point")


TORSION = torsion()


def encode(point: Point) -> bytes:
    """Return the one canonical encoding."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def encodings(point: Point) -> set[bytes]:
    """Return every 32 bytes that some library would read as this point."""
    x, y = point
    values = {y, y + PRIME} if y + PRIME < 2**255 else {y}
    signs = {x & 1} if x else {0, 1}
    return {(v | sign << 255).to_bytes(32, "little") for v in values for sign in signs}


def decode(raw: bytes) -> Point | None:
    """Return the point that 32 bytes stand for, canonical or not, or None."""
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number % 2**255 % PRIME
    x = x_of(y)
    if x is None:
        return None
    return (x if x & 1 == sign else -x % PRIME), y


def hashed(commitment: bytes, key: bytes, message: bytes) -> int:
    """Return k of RFC 8032."""
    digest = hashlib.sha512(commitment + key + message).digest()
    return int.from_bytes(digest, "little") % ORDER


def holds(key: bytes, message: bytes, signature: bytes, cofactor: int = 1) -> bool:
    """Return whether [c S] B = [c] R + [c k] A, with no other demand."""
    commitment, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    public, point = decode(key), decode(commitment)
    if public is None or point is None:
        return False
    k = hashed(commitment, key, message)
    right = add(point, times(k, public))
    return times(cofactor * scalar, BASE) == times(cofactor, right)


def is_strict(key: bytes, message: bytes, signature: bytes) -> bool:
    """Return what docs/bundle-format.md demands: canonical forms, no small order, no cofactor."""
    if len(key) != 32 or len(signature) != 64 or (public := decode(key)) is None:
        return False
    if key not in {encode(public)} or times(8, public) == IDENTITY:
        return False
    point = decode(signature[:32])
    if point is None or encode(point) != signature[:32]:
        return False
    is_reduced = int.from_bytes(signature[32:], "little") < ORDER
    return is_reduced and holds(key, message, signature)


@dataclass(frozen=True)
class Odd:
    """A key and a way to sign with it that is not the usual one.

    `secret` times the base point plus `twist` is the key; `commit` times it plus `shift` is R.
    """

    name: str
    secret: int
    twist: Point
    commit: int
    shift: Point
    key: bytes = b""  # another encoding than the canonical one
    commitment: bytes = b""
    added: int = 0  # to S

    @property
    def public(self) -> bytes:
        """The public key as it is given."""
        return self.key or encode(add(times(self.secret, BASE), self.twist))

    def sign(self, message: bytes) -> bytes:
        """Return R and S, where [8 S] B = [8] R + [8 k] A always holds."""
        point = self.commitment or encode(add(times(self.commit, BASE), self.shift))
        k = hashed(point, self.public, message)
        scalar = (self.commit + k * self.secret) % ORDER + self.added
        return point + scalar.to_bytes(32, "little")


def odd_signers() -> Iterator[Odd]:
    """Yield signers for the twelve kinds of edge that libraries are known to differ in."""
    eighth, fourth, half = TORSION[1], TORSION[2], TORSION[4]
    high = next(n for n in range(15, 0, -1) if (n + 1) * ORDER < 2**256)
    identity = next(one for one in sorted(encodings(IDENTITY)) if one != encode(IDENTITY))
    weak = next(one for one in sorted(encodings(TORSION[0])) if one != encode(TORSION[0]))
    yield Odd("small key, small R, S = 0", 0, half, 0, half)
    yield Odd("small key, mixed R", 0, eighth, 5, fourth)
    yield Odd("mixed key, small R", 7, eighth, 0, half)
    yield Odd("mixed key, mixed R", 7, eighth, 5, eighth)
    yield Odd("mixed key, R of large order", 7, fourth, 5, IDENTITY)
    yield Odd("key of large order, mixed R", 7, IDENTITY, 5, half)
    yield Odd("S beyond the order", 7, IDENTITY, 5, IDENTITY, added=ORDER)
    yield Odd("S far beyond the order", 7, IDENTITY, 5, IDENTITY, added=high * ORDER)
    yield Odd("R not canonical", 7, IDENTITY, 0, IDENTITY, commitment=identity)
    yield Odd("mixed key, R not canonical", 7, half, 0, IDENTITY, commitment=identity)
    yield Odd("key not canonical, R = key", 0, IDENTITY, 0, IDENTITY, key=weak, commitment=weak)
    yield Odd("key not canonical", 0, IDENTITY, 5, IDENTITY, key=weak)


def right_signers() -> Iterator[Odd]:
    """Yield signers whose signatures must hold, one of them with R of small order."""
    yield Odd("as usual", 7, IDENTITY, 5, IDENTITY)
    yield Odd("R is the identity", 7, IDENTITY, 0, IDENTITY)
