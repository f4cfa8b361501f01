"""Of all forms that a value has in msgpack exactly one is read: told by encoding it again."""

from __future__ import annotations

import random
import struct
from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.limits import MANIFEST_LIMITS

NUMBERS = st.sampled_from(
    [base + step for base in (0, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**63) for step in (-1, 0)]
    + [-(2**n) - step for n in (5, 7, 15, 31, 62) for step in (0, 1)]
)


def form(value: Any, rng: random.Random) -> bytes:
    """Encode in one of the forms that msgpack allows; mostly in the shortest."""
    wide = rng.random() < 0.02
    match value:
        case bool() | None | float():
            return bytes(msgpack.packb(value))
        case int():
            return number(value, wide)
        case bytes():
            return length(len(value), wide, (None, 0xC4, 0xC5, 0xC6), 0) + value
        case str():
            raw = value.encode()
            return length(len(raw), wide, (0xA0, 0xD9, 0xDA, 0xDB), 0x20) + raw
        case list():
            rows = b"".join(form(one, rng) for one in value)
            return length(len(value), wide, (0x90, None, 0xDC, 0xDD), 0x10) + rows
        case dict():
            fields = sorted(value.items(), key=lambda one: one[0].encode())
            if rng.random() < 0.05:
                rng.shuffle(fields)
            if fields and rng.random() < 0.05:
                fields.append(fields[-1])
            rows = b"".join(form(key, rng) + form(one, rng) for key, one in fields)
            return length(len(fields), wide, (0x80, None, 0xDE, 0xDF), 0x10) + rows
    raise AssertionError(value)


def number(value: int, wide: bool) -> bytes:
    heads = ((0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"))
    if value < 0:
        heads = ((0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"))
    forms = [bytes([value & 0xFF])] if -32 <= value < 128 else []
    for head, name in heads:
        try:
            forms.append(bytes([head]) + struct.pack(name, value))
        except struct.error:
            continue
    return forms[1 if wide and len(forms) > 1 else 0]


def length(count: int, wide: bool, heads: tuple[int | None, ...], fixed_below: int) -> bytes:
    forms = [bytes([heads[0] | count])] if heads[0] is not None and count < fixed_below else []
    for head, width in zip(heads[1:], (1, 2, 4), strict=True):
        if head is not None and count < 256**width:
            forms.append(bytes([head]) + count.to_bytes(width, "big"))
    return forms[1 if wide and len(forms) > 1 else 0]


VALUES = st.recursive(
    NUMBERS | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([b"", b"d" * 32, b"x" * 256, "", "é" * 20, "t" * 31, "t" * 256])
    | st.lists(NUMBERS | st.just(b"d" * 32), min_size=60, max_size=110),
    lambda inner: st.lists(inner, max_size=20)
    | st.dictionaries(st.sampled_from(["", "a", "b", "é", "\uffff", "\U00010000"]), inner),
    max_leaves=30,
)  # fmt: skip


@given(VALUES, st.integers())
def test_a_form_is_read_if_and_only_if_encoding_gives_it_again(value: Any, seed: int) -> None:
    raw = form(value, random.Random(seed))
    again = canonical.encode(msgpack.unpackb(raw, raw=False, strict_map_key=True))
    try:
        assert canonical.decode(raw, MANIFEST_LIMITS) == value
        is_read = True
    except canonical.NotCanonical:
        is_read = False
    assert is_read is (again == raw)


@given(VALUES)
def test_elements_are_counted_to_the_one(value: Any) -> None:
    raw = canonical.encode(value)
    count = elements(value)
    exactly = MANIFEST_LIMITS._replace(elements_max=count)
    assert canonical.decode(raw, exactly) == value
    try:
        canonical.decode(raw, exactly._replace(elements_max=count - 1))
        raise AssertionError("read")
    except canonical.NotCanonical:
        pass


def elements(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + elements(one) for one in value.values())
    return 1 + sum(map(elements, value)) if isinstance(value, list) else 1
