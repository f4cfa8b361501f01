"""One value has one encoding, and reading any other costs no more than its bytes."""

from __future__ import annotations

import math
import time
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.canonical import NotCanonical, NotEncodable
from bundle.limits import ParseLimits

LIMITS = ParseLimits(1 << 20, 65_536)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=70) | st.dictionaries(st.text(max_size=9), inner, max_size=20)
    ),
    max_leaves=200,
)


@given(VALUES)
def test_what_is_encoded_is_read_back(value: Any) -> None:
    raw = canonical.encode(value)
    assert canonical.decode(raw, LIMITS) == value
    assert canonical.encode(canonical.decode(raw, LIMITS)) == raw


@given(st.dictionaries(st.text(max_size=9), st.integers(), max_size=9), st.randoms())
def test_the_order_in_which_a_map_was_made_does_not_show(value: Any, order: Any) -> None:
    value = {name: number for name, number in value.items() if -(2**63) <= number < 2**64}
    names = list(value)
    order.shuffle(names)
    assert canonical.encode({name: value[name] for name in names}) == canonical.encode(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_canonical_or_refused(raw: bytes) -> None:
    try:
        value = canonical.decode(raw, LIMITS)
    except NotCanonical:
        return
    assert canonical.encode(value) == raw


@given(VALUES, st.integers(0, 10_000), st.integers(1, 255))
def test_altered_bytes_are_another_value_or_refused(value: Any, at: int, mask: int) -> None:
    raw = bytearray(canonical.encode(value))
    raw[at % len(raw)] ^= mask
    try:
        other = canonical.decode(bytes(raw), LIMITS)
    except NotCanonical:
        return
    assert canonical.encode(other) == raw


@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.binary(min_size=32, max_size=32)))
def test_long_columns_are_counted_to_the_element(column: list[Any]) -> None:
    column = column * 5
    raw = canonical.encode(column)
    assert canonical.decode(raw, ParseLimits(len(raw), len(column) + 1)) == column
    with pytest.raises(NotCanonical, match="elements"):
        canonical.decode(raw, ParseLimits(len(raw), len(column)))
    if column:
        with pytest.raises(NotCanonical):
            canonical.decode(raw[:-1], LIMITS)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\xcc\x01", "one in two bytes"),
        (b"\xcd\x00\x01", "one in three bytes"),
        (b"\xd0\x01", "a positive number as a signed one"),
        (b"\xd0\xff", "minus one in two bytes"),
        (b"\xd9\x01a", "a short text with a long head"),
        (b"\xda\x00\x01a", "a short text with a longer head"),
        (b"\xc5\x00\x01a", "short bytes with a long head"),
        (b"\xdc\x00\x01\x01", "a short array with a long head"),
        (b"\xde\x00\x01\xa1a\x01", "a short map with a long head"),
        (b"\x82\xa1b\x01\xa1a\x01", "keys out of order"),
        (b"\x82\xa1a\x01\xa1a\x02", "a key twice"),
        (b"\x81\x01\x01", "a key that is a number"),
        (b"\x81\xc4\x01a\x01", "a key that is bytes"),
        (b"\xca\x3f\x80\x00\x00", "a float of four bytes"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "not a number"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "infinity"),
        (b"\xd4\x01\x01", "an ext type"),
        (b"\xc7\x01\x01\x01", "an ext type with a length"),
        (b"\xd6\xff\x00\x00\x00\x00", "a timestamp"),
        (b"\xc1", "the byte that is never used"),
        (b"\xa1\xff", "a text that is not UTF-8"),
        (b"\xa3\xed\xa0\x80", "a text with half a surrogate"),
        (b"\x01\x01", "a second value"),
        (b"", "no value"),
        (b"\x91", "an array without its element"),
        (b"\xa5abc", "a text that is cut"),
        (b"\x91" * 17 + b"\x01", "nested too deep"),
    ],
)
def test_every_other_encoding_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(NotCanonical) as caught:
        canonical.decode(raw, LIMITS, where="x")
    assert caught.value.where == "x", why


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, {1: 2}, {b"a": 1}, 2**64, -(2**63) - 1, object(), "\ud800"]
)
def test_what_has_no_encoding_is_refused(value: Any) -> None:
    with pytest.raises(NotEncodable):
        canonical.encode(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xdd\xff\xff\xff\xff" * 16,
        b"\xdf\x7f\xff\xff\xff" * 16,
        b"\xdd\x00\x0f\xff\xff" + b"\x80" * (1 << 20),
        b"\xdd\x00\x0f\xff\xff" + b"\x90" * (1 << 20),
        b"\xc6\xff\xff\xff\xff" + b"a" * 100,
        b"\x9f" * 100_000,
        b"\x81\xa1a" * 100_000,
    ],
)
def test_amplification_is_refused_before_objects_are_made(raw: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(NotCanonical):
            canonical.decode(raw, ParseLimits(2 << 20, 65_536))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_depth_sixteen_is_read() -> None:
    raw = b"\x91" * 16 + b"\x01"
    assert canonical.encode(canonical.decode(raw, LIMITS)) == raw


def test_bytes_beyond_the_limit_are_not_even_looked_at() -> None:
    with pytest.raises(NotCanonical, match="at most 10"):
        canonical.decode(b"\xc1" * 11, ParseLimits(10, 10))


def test_a_stretch_that_nearly_fits_again_and_again_is_still_linear() -> None:
    raw = msgpack.packb(([*([1] * 63), []]) * 3000)
    started = time.perf_counter()
    canonical.decode(raw, ParseLimits(1 << 20, 1 << 20))
    assert time.perf_counter() - started < 2
