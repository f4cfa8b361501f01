"""What a look at queue and accounting means for the pilots of a submission. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from site_adapters.contract import Ending, PilotState, PilotView
from site_adapters.slurm import words
from site_adapters.slurm.jobs import Job
from site_adapters.slurm.records import Ended, Submission
from site_adapters.slurm.script import batch_id

GONE_US = 600 * 1_000_000  # so long missing from queue and accounting: it is over
NEVER = "NEVER"  # the word for what no queue and no accounting ever knew

Element = tuple[int, int]  # an array's id, an index in it


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the site. `queue` None: it did not answer, and `trouble` says why.

    `accounting` holds an element's rows, the oldest first; None: it was not asked or did not
    answer.
    """

    at_us: int
    queue: Mapping[Element, Job] | None
    accounting: Mapping[Element, Sequence[Job]] | None = None
    trouble: str = ""


def by_element(jobs: Iterable[Job]) -> dict[Element, list[Job]]:
    """Return rows of batch jobs by element of an array, in their order; steps are left out."""
    found: dict[Element, list[Job]] = {}
    for job in jobs:
        if not job.id.step:
            for task in job.id.elements():
                if task is not None:
                    found.setdefault((job.id.job, task), []).append(job)
    return found


def missing(one: Submission, look: Look) -> list[int]:
    """Return which elements accounting is to be asked for."""
    if look.queue is None:
        return []
    return [
        at
        for at in range(one.jobs)
        if at not in one.ended and (one.array, at) not in look.queue and not _is_newer(one, look)
    ]


def judge(one: Submission, look: Look) -> tuple[Submission, list[PilotView]]:
    """Return what is to be remembered of a submission, and its pilots."""
    ended, gone, restarts = dict(one.ended), dict(one.missing_us), dict(one.again)
    views: list[PilotView] = []
    for at in range(one.jobs):
        if at in ended and _is_back(ended[at], (look.queue or {}).get((one.array, at))):
            del ended[at]  # somebody started again what had ended
        if at not in ended:
            state, reason, again, over = _element(one, at, look, gone)
            if over is not None:
                ended[at] = over
                gone.pop(at, None)
            else:
                again = max(again, restarts.get(at, 0))
                restarts.update({at: again} if again else {})
                views += _views(one, at, again, state, None, reason)
        if at in ended:
            last = ended[at]
            ending = ending_of(last.word)
            views += _views(one, at, last.restarts, PilotState.ABSENT, ending, last.word)
    return replace(one, ended=ended, missing_us=gone, again=restarts), views


def ending_of(word: str) -> Ending:
    """Return the ending that a remembered word stands for."""
    if word == NEVER:
        return Ending.NEVER_BEGAN
    return words.standing([word])[1] or Ending.UNKNOWN


def _element(
    one: Submission, at: int, look: Look, gone: dict[int, int]
) -> tuple[PilotState, str, int, Ended | None]:
    """Return state, reason and restarts of an element, or how it ended."""
    if look.queue is None:
        return PilotState.UNKNOWN, look.trouble, 0, None
    job = look.queue.get((one.array, at))
    if job is not None:
        gone.pop(at, None)
        return _seen(job, job.restarts or 0)
    if _is_newer(one, look):
        return PilotState.WAITING, "", 0, None
    rows = (look.accounting or {}).get((one.array, at), ())
    if rows:
        state, reason, again, over = _seen(rows[-1], max(len(rows) - 1, rows[-1].restarts or 0))
        if over is not None:
            gone.pop(at, None)
            return state, reason, again, over
    since = gone.setdefault(at, look.at_us)
    if look.at_us - since < GONE_US:
        return PilotState.UNKNOWN, "neither in the queue nor ended in accounting", 0, None
    word = NEVER if not one.array else "GONE"
    return PilotState.ABSENT, word, 0, Ended(0, word, look.at_us // 1_000_000)


def _seen(job: Job, again: int) -> tuple[PilotState, str, int, Ended | None]:
    state, ending = words.standing(job.states, job.reason)
    if state is PilotState.ABSENT:
        word = next(one for one in job.states if words.standing([one])[1] is ending)
        return state, word, again, Ended(again, word, job.ended_s or 0)
    if state is PilotState.UNKNOWN:
        return state, f"state {' '.join(job.states)}", again, None
    return state, job.reason, again, None


def _is_back(last: Ended, job: Job | None) -> bool:
    return job is not None and (job.restarts or 0) > last.restarts


def _is_newer(one: Submission, look: Look) -> bool:
    """Return whether the submission was made, or is being made, since the look."""
    return one.submitted_us >= look.at_us


def _views(
    one: Submission, at: int, restarts: int, state: PilotState, ending: Ending | None, reason: str
) -> list[PilotView]:
    job = f"{one.array}_{at}" if one.array else ""
    found = []
    for node in range(one.nodes):
        for again in range(restarts + 1):
            name = batch_id(one.name, at, node, again)
            if name in one.forgotten:
                continue
            view = PilotView(one.name, name, state, one.submitted_us, ending, reason, job)
            if again < restarts:  # the scheduler started it again: this start is over
                view = replace(view, state=PilotState.ABSENT, ending=Ending.REQUEUED)
            found.append(view)
    return found
