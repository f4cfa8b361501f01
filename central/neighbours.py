"""What other processes of one central committed: several servers share one database and archive.

Each transaction leaves a line with the number of its commit and the datasets that it stirred, so
that the others read again what changed and nothing else. Only the newest lines are kept: who is
further behind, or finds a commit without a line, reads all again. Lines are no facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bundle import canonical
from bundle.limits import STATE_LIMITS
from central.store.protocol import Store

NAME = "neighbours.lines"
LINES_MAX = 128
NAMED_MAX = 64  # datasets that one line names


@dataclass(frozen=True, slots=True)
class Told:
    """What was committed after some commit, up to `version`.

    `stirred` is None where it is not known which datasets changed; `changed` is False where none of
    it matters to a planner.
    """

    version: int
    stirred: frozenset[int] | None
    changed: bool


@dataclass(frozen=True, slots=True)
class _Line:
    version: int
    changed: bool
    stirred: list[int] | None


def tell(store: Store, version: int, stirred: Iterable[int], *, changed: bool) -> None:
    """Leave the line of the commit that gets number `version`; inside its transaction."""
    named = sorted(stirred)
    line = _Line(version, changed, named if len(named) <= NAMED_MAX else None)
    lines = [*_lines(store), line][-LINES_MAX:]
    rows = [[one.version, one.changed, one.stirred] for one in lines]
    store.people.set_meta(NAME, canonical.encode(rows))


def heard(store: Store, seen: int, version: int) -> Told:
    """Return what was committed after `seen`, at least up to `version`."""
    fresh = [line for line in _lines(store) if line.version > seen]
    last = fresh[-1].version if fresh else seen
    if last < version or [line.version for line in fresh] != list(range(seen + 1, last + 1)):
        return Told(version, None, changed=True)
    named = [line.stirred for line in fresh]
    known = None not in named
    stirred = frozenset(no for some in named for no in some or ()) if known else None
    return Told(last, stirred, any(line.changed for line in fresh))


def _lines(store: Store) -> list[_Line]:
    raw = store.people.meta(NAME)
    rows = canonical.decode(raw, STATE_LIMITS, where=NAME) if raw else ()
    return [_Line(*row) for row in rows]
