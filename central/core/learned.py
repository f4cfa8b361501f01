"""What a step's successes used, and the request that follows from it.

Only successes teach: what ran out of something says that it needs more, not how much. It succeeds
later with more, and teaches then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from bundle.dataset.spec import Request
from bundle.fates import Fate
from bundle.records.learning import Learning
from bundle.records.rules import UNKNOWN, Maximum
from central.core import sketch
from central.core.facts import AttemptFact
from central.core.sketch import NOTHING, Sketch

if TYPE_CHECKING:
    import numpy as np

RESOURCES = ("memory_mib", "walltime_ms", "disk_bytes")  # of a request, that are learned


@dataclass(frozen=True, slots=True)
class Learned:
    """Sketches of what successes of one step used; each success once."""

    memory_mib: Sketch = NOTHING
    walltime_ms: Sketch = NOTHING
    cpu_ms: Sketch = NOTHING
    disk_bytes: Sketch = NOTHING

    def __add__(self, other: Learned) -> Learned:
        """Return what both taught."""
        return Learned(*(a + b for a, b in zip(self.all(), other.all(), strict=True)))

    def all(self) -> tuple[Sketch, ...]:
        """Return the sketches in the order of the fields."""
        return tuple(getattr(self, one.name) for one in fields(Learned))


UNTAUGHT = Learned()


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned of one resource: the bound (None while too few), and what follows."""

    resource: str
    asked: int
    count: int
    bound: int | None
    suggested: int


def of_facts(facts: Iterable[AttemptFact]) -> Learned:
    """Return what attempts at one step teach; each is given once."""
    used = [
        (one.memory_peak_mib, one.wall_ms, one.cpu_ms, one.disk_peak_bytes)
        for one in facts
        if one.fate is Fate.SUCCESS
    ]
    return Learned(*map(sketch.of, zip(*used, strict=True))) if used else UNTAUGHT


def of_columns(
    memory_peak_mib: np.ndarray[Any, Any],
    wall_ms: np.ndarray[Any, Any],
    cpu_ms: np.ndarray[Any, Any],
    disk_peak_bytes: np.ndarray[Any, Any],
) -> Learned:
    """Return what successes of one step teach, a number of each column for each of them."""
    columns = (memory_peak_mib, wall_ms, cpu_ms, disk_peak_bytes)
    return Learned(*map(sketch.of_array, columns)) if len(wall_ms) else UNTAUGHT


def encode(learned: Learned) -> bytes:
    """Return the bytes that are kept: some hundreds to some thousands, however many successes."""
    return sketch.encode(learned.all())


def decode(raw: bytes | None, where: str = "learned") -> Learned:
    """Read what was kept; None is nothing learned. Raises WrongShape."""
    return UNTAUGHT if raw is None else Learned(*sketch.decode(raw, where))


def lessons(
    learned: Learned, asked: Request, learning: Learning, maximum: Maximum = UNKNOWN
) -> tuple[Lesson, ...]:
    """Return what is learned of each resource of a request.

    Args:
        learned: of the step.
        asked: the step's request, as its document says.
        learning: how sure, and how far from that.
        maximum: what the site has; a suggestion above what was asked stays within it.
    """
    found = []
    for name in RESOURCES:
        said, most = getattr(asked, name), getattr(maximum, name)
        of: Sketch = getattr(learned, name)
        bound = sketch.suggest(of, learning.quantile_milli / 1000, learning.confidence_milli / 1000)
        suggested = said
        if bound is not None:
            wanted = -(-bound * learning.margin_milli // 1000)
            least = max(1, -(-said * learning.least_milli // 1000))
            suggested = min(max(wanted, least), said * learning.most_milli // 1000)
            if most and suggested > said:
                suggested = max(said, min(suggested, most))
        found.append(Lesson(name, said, of.count, bound, suggested))
    return tuple(found)


def request(
    learned: Learned, asked: Request, learning: Learning, maximum: Maximum = UNKNOWN
) -> Request:
    """Return what a first try should ask for; cpu and gpu stay, they change what a task does."""
    found = lessons(learned, asked, learning, maximum)
    return replace(asked, **{one.resource: one.suggested for one in found})
