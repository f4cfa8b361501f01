"""What a second reader of bundles rests on, written from docs/bundle-format.md alone.

Canonical msgpack, signatures, signed records: trust file and certificate. Nothing of `bundle` here.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COUNT_MAX = 2**63 - 1
PRIME, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL = (1048576, 65536)
SITE = re.compile(r"[a-z][a-z0-9-]{0,62}")


class RefusedError(Exception):
    """The bytes are not what the page says."""


def require(fits: object, reason: str) -> None:
    """Refuse unless it fits."""
    if not fits:
        raise RefusedError(reason)


def canonical(raw: bytes, limits: tuple[int, int]) -> Any:
    """Canonical msgpack: what was read, encoded, gives the same bytes."""
    require(len(raw) <= limits[0], "too many bytes")
    try:
        value = msgpack.unpackb(raw, raw=False, strict_map_key=True)
        again = msgpack.packb(_ordered(value, 0))
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError(f"no msgpack: {error}") from error
    require(again == raw, "not canonical")
    require(_elements(value) <= limits[1], "too many elements")
    return value


def _ordered(value: Any, depth: int) -> Any:
    require(not isinstance(value, msgpack.ExtType | msgpack.Timestamp), "an ext type")
    require(not isinstance(value, float) or math.isfinite(value), "not a finite number")
    if isinstance(value, list):
        require(depth < 16 or not value, "nested too deep")
        return [_ordered(one, depth + 1) for one in value]
    if isinstance(value, dict):
        require(depth < 16 or not value, "nested too deep")
        require(all(isinstance(key, str) for key in value), "a key is no text")
        names = sorted(value, key=str.encode)
        return {name: _ordered(value[name], depth + 1) for name in names}
    return value


def _elements(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(_elements, value))
    if isinstance(value, dict):
        return 1 + sum(1 + _elements(one) for one in value.values())
    return 1


def count(value: Any, top: int = COUNT_MAX) -> int:
    """A count."""
    require(type(value) is int and 0 <= value <= top, "no count")
    return int(value)


def text(value: Any) -> str:
    """Text."""
    require(type(value) is str, "no text")
    return str(value)


def binary(value: Any, *lengths: int) -> bytes:
    """Bytes, of one of the lengths where any is given."""
    require(type(value) is bytes and (not lengths or len(value) in lengths), "not such bytes")
    return bytes(value)


def array(value: Any, length: int | None = None) -> list[Any]:
    """An array, of that length where one is given."""
    require(type(value) is list and length in (None, len(value)), "no such array")
    return list(value)


def runs(value: Any) -> list[tuple[int, int]]:
    """Runs: ascending, not empty, a number missing between two."""
    found: list[tuple[int, int]] = []
    for row in array(value):
        first, many = (count(one) for one in array(row, 2))
        require(many and first + many <= COUNT_MAX + 1, "an empty or endless run")
        require(not found or first > sum(found[-1]), "runs out of order")
        found.append((first, many))
    return found


def signed_by(key: bytes, kind: str, body: bytes, signature: bytes) -> bool:
    """Strict Ed25519 over the pre-authentication encoding."""
    y, scalar = int.from_bytes(key, "little") % 2**255, int.from_bytes(signature[32:], "little")
    if len(key) != 32 or len(signature) != 64 or scalar >= ORDER or y >= PRIME:
        return False
    if y in (0, 1, PRIME - 1, EIGHTH, PRIME - EIGHTH):
        return False
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_strong(key: Any) -> bool:
    """Whether a public key may be listed or certified."""
    y = int.from_bytes(binary(key, 32), "little") % 2**255
    return y < PRIME and y not in (0, 1, PRIME - 1, EIGHTH, PRIME - EIGHTH)


def signatures(rows: Any) -> list[dict[str, bytes]]:
    """An array of signatures, none checked."""
    require(1 <= len(array(rows)) <= 16, "1 to 16 signatures")
    for row in rows:
        require(type(row) is dict, "a signature is a map")
        require(set(row) - {"certificate"} == {"key", "signature"}, "fields of a signature")
        binary(row["key"], 32)
        binary(row["signature"], 64)
        require(binary(row.get("certificate", b"-")), "an empty certificate")
    return list(rows)


def record(raw: bytes, kind: str) -> tuple[dict[str, Any], set[bytes]]:
    """A signed record's body, and who signed it."""
    value = canonical(raw, SMALL)
    require(type(value) is dict and set(value) == {"body", "signatures"}, "no signed record")
    body = binary(value["body"])
    rows = signatures(value["signatures"])
    by = {row["key"] for row in rows if signed_by(row["key"], kind, body, row["signature"])}
    found = canonical(body, SMALL)
    require(type(found) is dict, "the body is no map")
    return found, by


def read_trust(raw: bytes) -> dict[str, Any]:
    """A trust file that its own threshold of roots signed."""
    body, by = record(raw, "pulk/trust/1")
    names = {"version", "roots", "threshold", "centrals", "registrars", "revocations"}
    require(set(body) == names, "fields of a trust file")
    keys = [one for name in ("roots", "centrals", "registrars") for one in array(body[name])]
    require(all(map(is_strong, keys)), "a weak key")
    require(len(set(keys)) == len(keys), "a key twice")
    require(1 <= count(body["threshold"]) <= len(body["roots"]), "the threshold")
    require(count(body["version"]) >= 1 and body["centrals"] and body["registrars"], "incomplete")
    require(len(by & set(body["roots"])) >= body["threshold"], "too few roots signed")
    revoked: dict[bytes, list[tuple[bytes, list[tuple[int, int]], bytes]]] = {}
    for key, kept in (array(row, 2) for row in array(body["revocations"])):
        require(binary(key, 32) not in revoked, "revoked twice")
        rows = [array(row, 3) for row in array(kept)]
        revoked[key] = [(binary(one[0], 16), runs(one[1]), binary(one[2])) for one in rows]
        for _, numbers, ids in revoked[key]:
            total = sum(many for _, many in numbers)
            require(total and len(ids) in (32, 32 * total), "ids of what is kept")
    require(not set(revoked) & set(body["roots"]), "a root is revoked")
    for name in ("centrals", "registrars"):
        require(set(body[name]) - set(revoked), "nobody is left")
    pinned = sum(len(ids) // 32 for kept in revoked.values() for _, _, ids in kept)
    require(pinned <= 16384, "too many ids")
    return body | {"revoked": revoked, "by": by, "raw": raw}


def read_certificate(raw: bytes, trust: dict[str, Any]) -> tuple[str, bytes, set[bytes]]:
    """Site, key, and the registrars that certified it."""
    body, by = record(raw, "pulk/certificate/1")
    by &= set(trust["registrars"])
    require(by, "no registrar signed it")
    require(is_strong(body.get("key")), "a weak key")
    site = text(body.get("site"))
    require(SITE.fullmatch(site) and site != "central", "no site's name")
    for name in ("serial", "issued_us"):
        count(body.get(name), 2**64 - 1)
    return site, body["key"], by
