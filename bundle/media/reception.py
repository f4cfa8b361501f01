"""Where what lies on a medium lands, who decides about it, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bundle.ids import BundleId
from bundle.intervals import IntervalSet
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.media.copy import Progress, silent
from bundle.media.facts import Facts

PARTS_BYTES_MAX = 2 * BUNDLE_BYTES_MAX
NOTHING = IntervalSet()


class Became(StrEnum):
    """What became of files on a medium."""

    LANDED = "landed"  # whole, in its folder now
    KNOWN = "known"  # dealt with before
    KEPT = "kept"  # not whole yet: its chunks wait for the rest
    ELSEWHERE = "elsewhere"  # meant for somebody else
    REFUSED = "refused"  # looks like ours and can't be used
    UNFINISHED = "unfinished"  # a copy that was broken off
    FOREIGN = "foreign"  # no bundle at all, or no file


@dataclass(frozen=True, slots=True)
class Came:
    """One bundle, or one file that is none. `missing` are the chunks that are still to come."""

    became: Became
    files: tuple[str, ...]
    facts: Facts | None = None
    path: Path | None = None
    missing: IntervalSet = NOTHING
    damaged: tuple[str, ...] = ()  # files whose chunks did not all verify
    code: str = ""
    text: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether something that looked like ours was not taken."""
        return self.became is Became.REFUSED or (self.became is Became.KEPT and bool(self.damaged))


def _no_reason(_facts: Facts) -> str:
    return ""


def _no_judge(_path: Path) -> None:
    pass


def _is_nowhere(_path: Path) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Reception:
    """Where things land, and who decides. All folders lie on one filesystem.

    `meant` returns why a bundle is not for here, or nothing. `judge` raises BundleRefused where a
    signature does not count; unless `is_strict`, a Parkable refusal lets a whole bundle land, for
    the receiver to judge. `is_whole` is asked of a copy that lacks chunks: whether what it lacks is
    here already.
    """

    into: Path
    parts: Path
    quarantine: Path
    known: Callable[[BundleId], bool]
    meant: Callable[[Facts], str] = _no_reason
    judge: Callable[[Path], None] = _no_judge
    is_whole: Callable[[Path], bool] = _is_nowhere
    is_strict: bool = False
    parts_bytes_max: int = PARTS_BYTES_MAX
    progress: Progress = field(default=silent)
