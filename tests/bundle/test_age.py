"""Ages in words."""

import pytest

from bundle.age import age


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"),
        (7200, "2 hours"), (172_799, "47 hours"), (172_800, "2 days"), (10**9, "11574 days"),
    ],
)  # fmt: skip
def test_an_age_has_one_unit_and_is_rounded_down(seconds: int, words: str) -> None:
    assert age(seconds) == words
