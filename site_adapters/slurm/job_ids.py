"""How Slurm names batch jobs: `123`, `123_4`, `123_[0-9%2]`, `123+1`, `123_4.batch`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bundle.intervals import IntervalSet

INDEX_MAX = 4_000_001  # Slurm's own bound of an array's indices
_ID = re.compile(
    r"(?P<job>\d+)(?:_(?:(?P<task>\d+)|\[(?P<tasks>[^\]]*)\]|\*))?(?:\+(?P<part>\d+))?"
    r"(?:\.(?P<step>[^;]+))?(?:;(?P<cluster>\S*))?",
    re.ASCII,
)


NONE = IntervalSet()


@dataclass(frozen=True, slots=True)
class JobId:
    """A batch job, an element of an array, some elements that wait, or a step of one.

    `tasks`: the elements that one line stands for; empty where it is no such line. `is_cut`: the
    line stands for more than it names.
    """

    job: int
    task: int | None = None
    tasks: IntervalSet = NONE
    is_cut: bool = False
    part: int | None = None
    step: str = ""
    cluster: str = ""

    def elements(self) -> tuple[int | None, ...]:
        """Return the elements that this stands for; (None,) for no array."""
        return tuple(self.tasks) if self.tasks else (self.task,)


def job_id(text: str) -> JobId:
    """Read an id as squeue, sacct or `sbatch --parsable` print it. Raises ValueError."""
    found = _ID.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no id of a batch job")
    tasks, is_cut = indices(found["tasks"]) if found["tasks"] else (IntervalSet(), False)
    return JobId(
        job=int(found["job"]),
        task=None if found["task"] is None else int(found["task"]),
        tasks=tasks,
        is_cut=is_cut,
        part=None if found["part"] is None else int(found["part"]),
        step=found["step"] or "",
        cluster=found["cluster"] or "",
    )


def indices(text: str) -> tuple[IntervalSet, bool]:
    """Read `1-3,7,10-20:5%4`, and whether it was cut (`1,3,...`). Raises ValueError."""
    bare = text.partition("%")[0]
    is_cut = bare.endswith("...")
    spans: list[tuple[int, int]] = []
    for part in bare.removesuffix("...").strip(",").split(","):
        if not part:
            continue
        span, _, step = part.partition(":")
        first, dash, last = span.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal() and not is_cut):
            raise ValueError(f"{text!r} are no indices of an array")
        begin, end = int(first), int(last) if last.isdecimal() else int(first)
        if end > INDEX_MAX or (step and not step.isdecimal()):
            raise ValueError(f"{text!r} are no indices of an array")
        if step and int(step) > 1:
            spans += [(one, one + 1) for one in range(begin, end + 1, int(step))]
        else:
            spans.append((begin, end + 1))
    return IntervalSet.spanning(spans), is_cut
