"""Bytes that are like others are kept as what they differ in, and come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.canonical import NotCanonical
from central.core.alike import LIKE_BYTES_MAX, PATTERN_BYTES_MAX, difference, restored

PATTERN = bytes(range(256))


@given(st.binary(max_size=600), st.binary(max_size=600), st.binary(max_size=40))
def test_what_differs_brings_the_bytes_back(pattern: bytes, head: bytes, own: bytes) -> None:
    for raw in (head + own, own + pattern, pattern[:200] + own + pattern[200:]):
        differs = difference(raw, pattern)
        assert differs is None or restored(differs, pattern) == raw


def test_bytes_much_like_others_take_little_room() -> None:
    differs = difference(PATTERN[:100] + b"sixteen bytes of" + PATTERN[100:], PATTERN)
    assert differs is not None
    assert len(differs) < 40


def test_what_is_not_alike_or_too_large_is_kept_whole() -> None:
    assert difference(PATTERN[::-1], PATTERN) is None
    assert difference(PATTERN, b"") is None
    assert difference(b"", PATTERN) is None
    assert difference(PATTERN, bytes(PATTERN_BYTES_MAX + 1)) is None
    assert difference(bytes(LIKE_BYTES_MAX + 1), PATTERN) is None
    largest = difference(bytes(LIKE_BYTES_MAX), PATTERN)
    assert largest is not None
    assert restored(largest, PATTERN) == bytes(LIKE_BYTES_MAX)


def test_damage_is_told() -> None:
    differs = difference(PATTERN, PATTERN)
    assert differs is not None
    for damaged in (differs[:-1], b"", b"\xff" * 9):
        with pytest.raises(NotCanonical):
            restored(damaged, PATTERN)
