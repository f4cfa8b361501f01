"""Canonical msgpack: one value has exactly one encoding.

Maps have string keys in ascending order of their UTF-8 bytes, integers are minimal, floats are
float64 and finite, there are no ext types. `decode` refuses every other encoding, so that a
digest over the bytes is a digest over the value.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack

from bundle.errors import PulkError
from bundle.limits import ParseLimits


class NotCanonical(PulkError):
    """Bytes are not canonical msgpack within the limits. The sender must encode them again."""

    code = "not-canonical"
    what = "not canonical msgpack: {reason}"
    remedy = "have the sender make it again; nothing of it was used"


class NotEncodable(PulkError):
    """A value has no canonical encoding (a float that is not finite, a key that is no text)."""

    code = "not-encodable"
    what = "no canonical encoding: {reason}"
    remedy = "use finite numbers, text keys, and only null, booleans, numbers, text, bytes"


def encode(value: Any) -> bytes:
    """Return the canonical encoding of a value. Raises NotEncodable."""
    try:
        packed = msgpack.packb(_ordered(value), use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotEncodable(reason=str(error)) from error
    return bytes(packed)


def decode(data: bytes, limits: ParseLimits, *, where: str = "") -> Any:
    """Return the value of canonical bytes. Raises NotCanonical.

    Cost is bounded by `limits` before any object is made: bytes, elements, depth.
    """
    if len(data) > limits.bytes_max:
        raise NotCanonical(where=where, reason=f"{len(data)} bytes, at most {limits.bytes_max}")
    _survey(data, limits, where)
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except Exception as error:  # msgpack raises ValueError, UnicodeDecodeError and its own kinds
        raise NotCanonical(where=where, reason=str(error) or type(error).__name__) from error
    try:
        again = encode(value)
    except NotEncodable as error:
        raise NotCanonical(where=where, reason=str(error.fields["reason"])) from error
    if again != data:
        raise NotCanonical(where=where, reason="keys out of order, repeated, or not minimal")
    return value


_PLAIN = frozenset({int, str, bytes, bool, type(None)})  # exactly these: no order, no check


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise NotEncodable(reason="a map key is not text")
            keys = sorted(value, key=_utf8)
            return {key: _ordered(value[key]) for key in keys}
        case list() | tuple():
            if _PLAIN.issuperset(map(type, value)):  # most columns: no step per element
                return list(value)
            return [_ordered(one) for one in value]
        case float() if not math.isfinite(value):
            raise NotEncodable(reason=f"{value} is not finite")
        case _:
            return value


def _utf8(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError as error:
        raise NotEncodable(reason="a map key is not valid Unicode") from error


def _survey(data: bytes, limits: ParseLimits, where: str) -> None:
    """Walk the bytes without making objects; refuse what is too deep, too many, or not allowed."""
    open_counts: list[int] = [1]  # elements still to come at each depth
    at, elements, size = 0, 0, len(data)
    single = 0  # elements to be looked at one by one before another stretch is tried
    while open_counts:
        left = open_counts[-1]
        if left == 0:
            open_counts.pop()
            continue
        stretch = _SCALARS.match(data, at) if left >= _STRETCH and single <= 0 else None
        passed = _STRETCH if stretch else 1
        open_counts[-1] -= passed
        elements += passed
        if elements > limits.elements_max:
            raise NotCanonical(where=where, reason=f"more than {limits.elements_max} elements")
        if stretch:
            at = stretch.end()
            continue
        single = single - 1 if single > 0 else _STRETCH
        if at >= size:
            raise NotCanonical(where=where, reason=f"ends at byte {at} inside a value")
        at, children = _step(data, at, size, where)
        if children:
            if len(open_counts) > limits.depth_max:
                raise NotCanonical(where=where, reason=f"nested deeper than {limits.depth_max}")
            if children > size - at:
                raise NotCanonical(where=where, reason=f"declares {children} elements at byte {at}")
            open_counts.append(children)
    if at != size:
        raise NotCanonical(where=where, reason=f"{size - at} bytes after the value")


_STRETCH = 64
# So many elements of fixed size in a row (and 32 byte digests): columns are made of such. Every
# alternative starts with a byte of its own, so a match never goes back.
_SCALARS = re.compile(
    rb"(?:[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]|[\xcc\xd0].|[\xcd\xd1].{2}|[\xce\xd2].{4}"
    rb"|[\xcb\xcf\xd3].{8}|\xc4\x20.{32}){%d}" % _STRETCH,
    re.DOTALL,
)
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCB: 8}
_FIXED |= {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_CONTAINERS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def _step(data: bytes, at: int, size: int, where: str) -> tuple[int, int]:
    """Return the place after the head (and payload) at `at`, and how many children follow."""
    head = data[at]
    at += 1
    if head <= 0x7F or head >= 0xE0:
        return at, 0
    if head <= 0x8F:
        return at, 2 * (head & 0x0F)
    if head <= 0x9F:
        return at, head & 0x0F
    if head <= 0xBF:
        at, children = at + (head & 0x1F), 0
    elif head in _FIXED:
        at, children = at + _FIXED[head], 0
    elif head in _LENGTHS:
        width = _LENGTHS[head]
        at, children = at + width + int.from_bytes(data[at : at + width], "big"), 0
    elif head in _CONTAINERS:
        width, factor = _CONTAINERS[head]
        children = factor * int.from_bytes(data[at : at + width], "big")
        at += width
    else:
        raise NotCanonical(where=where, reason=f"type 0x{head:02x} at byte {at - 1} is not allowed")
    if at > size:
        raise NotCanonical(where=where, reason=f"ends inside the value at byte {at}")
    return at, children
