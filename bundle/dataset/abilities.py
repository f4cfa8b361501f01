"""What a step's program is able to do beside running: leave checkpoints, use more than asked for.

Neither changes what a task computes, so neither is in a spec hash. On the wire what is not declared
is left out, so a document without any has the digest that it always had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from bundle import shape

SIGNALS = ("USR1", "USR2", "TERM", "INT", "HUP", "CONT")
CHECKPOINT, ELASTIC = "checkpoint", "elastic"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Files from which a later attempt goes on; no file: the program leaves none.

    `signal` asks for them (empty: the program writes them by itself), also every `every_ms` of a
    run; 0: only when the allocation ends or the pilot is told to go.
    """

    files: tuple[str, ...] = ()
    signal: str = "USR1"
    every_ms: int = 0


@dataclass(frozen=True, slots=True)
class Elastic:
    """How much more than its request a task can use, in all; 0: no more than it asked for.

    `shrinks`: cores may be taken back while it runs. `signal` tells it that its grant changed;
    empty: it looks by itself.
    """

    cpu_milli_max: int = 0
    memory_mib_max: int = 0
    shrinks: bool = False
    signal: str = ""


NO_CHECKPOINT, NOT_ELASTIC = Checkpoint(), Elastic()
_T = TypeVar("_T")


def to_wire(checkpoint: Checkpoint, elastic: Elastic) -> dict[str, Any]:
    """Return the tables under `checkpoint` and `elastic`, without those that say nothing."""
    made: dict[str, Any] = {}
    if checkpoint != NO_CHECKPOINT:
        made[CHECKPOINT] = {
            "files": list(checkpoint.files),
            "signal": checkpoint.signal,
            "every_ms": checkpoint.every_ms,
        }
    if elastic != NOT_ELASTIC:
        made[ELASTIC] = {
            "cpu_milli_max": elastic.cpu_milli_max,
            "memory_mib_max": elastic.memory_mib_max,
            "shrinks": elastic.shrinks,
            "signal": elastic.signal,
        }
    return made


def checkpoint_from_wire(step: shape.Reader) -> Checkpoint:
    """Read what checkpoints a step leaves. Raises WrongShape."""
    if not step.has(CHECKPOINT):
        return NO_CHECKPOINT
    row = step.reader(CHECKPOINT)
    found = Checkpoint(row.texts("files"), row.text("signal"), row.count("every_ms"))
    return _not_default(row, found, NO_CHECKPOINT)


def elastic_from_wire(step: shape.Reader) -> Elastic:
    """Read how elastic a step is. Raises WrongShape."""
    if not step.has(ELASTIC):
        return NOT_ELASTIC
    row = step.reader(ELASTIC)
    found = Elastic(
        row.count("cpu_milli_max"),
        row.count("memory_mib_max"),
        row.flag("shrinks"),
        row.text("signal"),
    )
    return _not_default(row, found, NOT_ELASTIC)


def _not_default(row: shape.Reader, found: _T, default: _T) -> _T:
    if found == default:  # it is not written then, so that equal means equal bytes
        raise shape.WrongShape(where=row.where, expected="what was declared", found="the default")
    return found
