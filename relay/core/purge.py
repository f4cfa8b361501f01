"""When a site clears its scratch: what is warned of, and when no more work is taken. Pure.

Files are never touched to look newer. What must be out before the day is told in time; what
cannot be back in time is not begun.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_US = 86_400_000_000
NEVER_US = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What the site does.

    `after_us`: a file not touched for so long goes; 0: none. `at_us`: when all goes; 0: never.
    `warn_us`: so long before it is told. `needs_us`: how long work that is taken now takes until
    its results are safe: an allocation and a trip.
    """

    after_us: int = 0
    at_us: int = 0
    warn_us: int = 3 * DAY_US
    needs_us: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """`goes_us`: when the first of what is not safe goes, NEVER_US: nothing does."""

    goes_us: int
    is_near: bool
    takes_work: bool


def outlook(rules: Rules, oldest_us: int, now_us: int) -> Outlook:
    """Return how things stand.

    Args:
        rules: the site's.
        oldest_us: when the oldest file that is not safe elsewhere was written; 0: there is none.
        now_us: this clock.
    """
    by_age = oldest_us + rules.after_us if rules.after_us and oldest_us else NEVER_US
    whole = rules.at_us or NEVER_US
    is_over = rules.at_us and now_us >= rules.at_us  # the day is past: a new one is to be named
    goes_us = by_age if is_over else min(by_age, whole)
    takes_work = bool(is_over) or whole - now_us > rules.needs_us
    fits = not rules.after_us or rules.after_us > rules.needs_us
    return Outlook(goes_us, goes_us - now_us <= rules.warn_us, takes_work and fits)
