"""Canonical msgpack: one value has exactly one encoding.

Maps have string keys in ascending order of their UTF-8 bytes, integers are minimal, floats are
float64 and finite, there are no ext types. `decode` refuses every other encoding, so that a
digest over the bytes is a digest over the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import chain
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
    if len(data) <= _SHORT_BYTES:
        value = _quickly(data, limits)
        if value is not None:
            return value
    elements = _survey(data, limits, where)
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
    except Exception as error:  # msgpack raises ValueError, UnicodeDecodeError and its own kinds
        raise NotCanonical(where=where, reason=str(error) or type(error).__name__) from error
    try:
        counted = _counted(value)
    except NotEncodable as error:
        raise NotCanonical(where=where, reason=str(error.fields["reason"])) from error
    if counted != elements:
        raise NotCanonical(where=where, reason="a map has a key twice")
    return value


_SHORT_BYTES = 64 << 10  # of which no decoder makes more than some megabytes


def _quickly(data: bytes, limits: ParseLimits) -> Any:
    """Return the value of short bytes that are canonical; None leaves the last word to the survey.

    What is encoded again to the very same bytes has minimal forms and no key twice; order, depth,
    number and kinds of elements are looked at.
    """
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
        if (
            type(value) not in (dict, list)
            or _counted(value, limits.depth_max) > limits.elements_max
        ):
            return None
        again = msgpack.packb(value, use_bin_type=True, strict_types=True)
    except Exception:  # of whatever kind: the survey finds it again, and says what it is
        return None
    return value if again == data else None


_PLAIN = frozenset({int, str, bytes, bool, type(None)})  # exactly these: no order, no check
_TEXT = frozenset({str})
_LISTS = frozenset({list})


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            _check_keys(value)
            keys = sorted(value)
            return {
                key: one if type(one := value[key]) in _PLAIN else _ordered(one) for key in keys
            }
        case list() | tuple():
            if _PLAIN.issuperset(map(type, value)):  # most columns: no step per element
                return list(value)
            if _are_rows(value):
                return list(value)
            return [_ordered(one) for one in value]
        case float() if not math.isfinite(value):
            raise NotEncodable(reason=f"{value} is not finite")
        case _:
            return value


def _counted(value: Any, depth_left: int = 1 << 10) -> int:
    """Return how many elements a value that was read has; of a key that is repeated one is left.

    Nothing is copied: what `decode` holds is what the value itself takes. Raises NotEncodable where
    the order is not the canonical one, or where it is nested deeper.
    """
    match value:
        case dict():
            keys = list(value)
            _check_keys(keys)
            if keys != sorted(keys):
                raise NotEncodable(reason="keys out of order")
            count, inner = 1 + len(keys), list(value.values())
        case list():
            count, inner = 1, value
        case float() if not math.isfinite(value):
            raise NotEncodable(reason=f"{value} is not finite")
        case _:
            return 1
    if _PLAIN.issuperset(map(type, inner)):
        return count + len(inner)
    if depth_left <= 1:
        raise NotEncodable(reason="nested too deep")
    if _are_rows(inner):
        return count + len(inner) + sum(map(len, inner))
    for one in inner:
        count += _counted(one, depth_left - 1)
    return count


def _are_rows(values: Iterable[Any]) -> bool:
    """Return whether all are lists of nothing but plain values: runs of numbers, most of all."""
    return _LISTS.issuperset(map(type, values)) and _PLAIN.issuperset(
        map(type, chain.from_iterable(values))
    )


def _check_keys(keys: Iterable[Any]) -> None:
    """Raise NotEncodable unless all are text. Texts compare as their bytes in UTF-8 do."""
    if not _TEXT.issuperset(map(type, keys)) and not all(isinstance(key, str) for key in keys):
        raise NotEncodable(reason="a map key is not text")


def _survey(data: bytes, limits: ParseLimits, where: str) -> int:
    """Walk the bytes without making objects, and return how many elements there are.

    What is too deep, too many, not allowed or in a form that is not the shortest is refused.
    """
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
    return elements


_STRETCH = 64
# So many elements of fixed size in a row (and 32 byte digests, and short texts), each in its
# shortest form: columns are made of such. Every alternative starts with a byte of its own, so a
# match never goes back. What is empty is among them, for a file of nothing else must not take long.
_TEXTS = b"|".join(b"\\x%02x.{%d}" % (0xA0 + length, length) for length in range(1, 32))
_SCALARS = re.compile(
    rb"(?:[\x00-\x80\x90\xa0\xc0\xc2\xc3\xe0-\xff]"
    rb"|\xcc[\x80-\xff]|\xcd[\x01-\xff].|\xce(?!\x00\x00).{4}|\xcf(?!\x00{4}).{8}"
    rb"|\xd0[\x80-\xdf]|\xd1(?!\xff[\x80-\xff])[\x80-\xff]."
    rb"|\xd2(?!\xff\xff[\x80-\xff])[\x80-\xff].{3}|\xd3(?!\xff{4}[\x80-\xff])[\x80-\xff].{7}"
    rb"|\xcb.{8}|\xc4\x20.{32}|%s|\xd9\x40.{64}){%d}" % (_TEXTS, _STRETCH),
    re.DOTALL,
)
_BARE = frozenset({0xC0, 0xC2, 0xC3})
_FLOAT = 0xCB
# By head: bytes of the number that follows, and from where on (negative: down from where) it is
# the shortest form.
_NUMBERS = {0xCC: (1, 1 << 7), 0xCD: (2, 1 << 8), 0xCE: (4, 1 << 16), 0xCF: (8, 1 << 32)}
_NUMBERS |= {0xD0: (1, -33), 0xD1: (2, -129), 0xD2: (4, -(1 << 15) - 1), 0xD3: (8, -(1 << 31) - 1)}
_LENGTHS = {0xC4: (1, 0), 0xC5: (2, 1 << 8), 0xC6: (4, 1 << 16)}
_LENGTHS |= {0xD9: (1, 32), 0xDA: (2, 1 << 8), 0xDB: (4, 1 << 16)}
_CONTAINERS = {0xDC: (2, 16, 1), 0xDD: (4, 1 << 16, 1), 0xDE: (2, 16, 2), 0xDF: (4, 1 << 16, 2)}


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
    is_shortest, children = True, 0
    if head <= 0xBF:
        at += head & 0x1F
    elif head in _BARE:
        pass
    elif head == _FLOAT:
        at += 8
    elif head in _NUMBERS:
        width, least = _NUMBERS[head]
        number = int.from_bytes(data[at : at + width], "big", signed=least < 0)
        is_shortest = number <= least if least < 0 else number >= least
        at += width
    elif head in _LENGTHS:
        width, least = _LENGTHS[head]
        length = int.from_bytes(data[at : at + width], "big")
        is_shortest = length >= least
        at += width + length
    elif head in _CONTAINERS:
        width, least, factor = _CONTAINERS[head]
        count = int.from_bytes(data[at : at + width], "big")
        is_shortest, children = count >= least, factor * count
        at += width
    else:
        raise NotCanonical(where=where, reason=f"type 0x{head:02x} at byte {at - 1} is not allowed")
    if not is_shortest:
        raise NotCanonical(where=where, reason=f"not the shortest form before byte {at}")
    if at > size:
        raise NotCanonical(where=where, reason=f"ends inside the value at byte {at}")
    return at, children
