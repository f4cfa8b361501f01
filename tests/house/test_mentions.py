"""What code and pages tell people to do can be done: commands, links and codes exist."""

from __future__ import annotations

import pytest

from tests.house.mentions import Mention, in_code, in_pages, wrong


def guilty(mentions: list[Mention]) -> list[tuple[str, str, str]]:
    """Return which of the commands can't be typed, and why."""
    return [(one.place, one.text, why) for one in mentions if (why := wrong(one))]


def test_every_command_that_a_text_in_the_programs_names_exists() -> None:
    found = list(in_code())
    assert len(found) > 100
    assert not guilty(found)


def test_every_command_on_the_pages_exists_and_has_its_arguments() -> None:
    found = list(in_pages())
    assert sum(one.is_typed for one in found) > 30
    assert not guilty(found)


@pytest.mark.parametrize(
    ("text", "is_typed", "is_fine"),
    [
        ("pulk relay tick", False, True),
        ("pulk relay tick", True, False),
        ("pulk relay drain --end", False, False),
        ("pulk narrate", False, False),
        ("pulk central presume-lost SITE", False, False),
        ("pulk central presume-lost DIR SITE", False, True),
        ("pulk relay tick DIR --until-idle", True, False),
        ("pulk central --config FILE serve DIR --port 0", True, True),
        ("pulk bundle verify A B C --trust T", True, True),
        ("pulk relay tick A B", False, False),
        ("pulk central", False, True),
        ("pulk --version", True, True),
    ],
)
def test_the_comparison_knows_right_from_wrong(text: str, is_typed: bool, is_fine: bool) -> None:
    assert (wrong(Mention("", text, is_typed)) == "") is is_fine
