"""Explaining: of all that is in a task's way, which is the reason, and in what order to say it.

The first of the answer is the reason. What concerns the task itself comes before what concerns all
sites, that before the sites one by one; of sites those come first where nothing lasting is in the
way, for the task waits for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from central.core.obstacles import Code, Obstacle

PASSING = frozenset(
    {
        Code.SITE_SILENT,
        Code.NEVER_REPORTED,
        Code.WANTS_NONE,
        Code.SITE_FULL,
        Code.NODE_HOURS,
        Code.BACK_OFF,
    }
)
"""What passes without anybody changing the task or the site's rules."""


@dataclass(frozen=True, slots=True)
class SiteWay:
    """What is in the way at one site; `ahead_count`: how many datasets are served there before.

    `ahead` names the first of them, as far as who asks may know.
    """

    site: str
    obstacles: tuple[Obstacle, ...] = ()
    ahead: tuple[str, ...] = ()
    ahead_count: int = 0
    before: int = 0  # tasks of the same dataset that go first, at least


@dataclass(frozen=True, slots=True)
class Situation:
    """All that was found: of the task itself, everywhere, and by site."""

    own: tuple[Obstacle, ...] = ()
    everywhere: tuple[Obstacle, ...] = ()
    sites: tuple[SiteWay, ...] = ()


def explain(situation: Situation) -> tuple[Obstacle, ...]:
    """Return everything in the way, the reason first; never nothing."""
    if situation.own:
        return situation.own
    ways = sorted(situation.sites, key=lambda way: (_lasting(way), len(way.obstacles), way.site))
    at_sites = [one for way in ways for one in _ordered(way.obstacles)]
    if situation.everywhere:
        return (*situation.everywhere, *at_sites)
    if not ways:
        return (_no_site(),)
    free = [way for way in ways if not way.obstacles]
    if not free:
        return tuple(at_sites)
    return (*(_turn(way) for way in sorted(free, key=lambda w: (w.ahead_count, w.site))), *at_sites)


def _lasting(way: SiteWay) -> int:
    return sum(one.code not in PASSING for one in way.obstacles)


def _ordered(obstacles: Iterable[Obstacle]) -> Sequence[Obstacle]:
    """Lasting ones first: while they stand, the others do not matter."""
    return sorted(obstacles, key=lambda one: one.code in PASSING)


def _no_site() -> Obstacle:
    return Obstacle(
        Code.NO_SITE,
        "no site is enrolled",
        needs="a site",
        has="none",
        remedy="enrol one: `pulk relay init` at the site, `pulk central enrol` here",
    )


def _turn(way: SiteWay) -> Obstacle:
    """Say when it is a task's turn at a site that could run it."""
    own = f"; {way.before} tasks of its own dataset go before it" if way.before else ""
    if not way.ahead_count:
        return Obstacle(
            Code.NEXT,
            f"its dataset is next{own}; it goes with a bundle when the site asks for work",
            has="position 1",
            remedy="wait for the site's next report",
            site=way.site,
        )
    after = f", after {', '.join(way.ahead)}" if way.ahead else ""
    more = ", ..." if after and way.ahead_count > len(way.ahead) else ""
    text = f"{way.ahead_count} datasets are further behind their share and go first{own}"
    return Obstacle(
        Code.SHARE,
        text,
        needs="the least usage for its share",
        has=f"position {way.ahead_count + 1}{after}{more}",
        remedy="wait; or raise its `priority`, or the shares of its user or group in central.toml",
        site=way.site,
    )
