"""What a look at queue, history and event log means for the pilots of a submission. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from site_adapters.contract import Ending, PilotState, PilotView
from site_adapters.htcondor import codes
from site_adapters.htcondor.jobs import Job
from site_adapters.htcondor.records import Ended, Submission, batch_id

GONE_US = 600 * 1_000_000  # so long missing from queue and history: it is over
INPUT_S = 600  # a job whose input has not come for so long never gets it
LEASE_S = 2_400  # HTCondor's own, where a job does not tell
GRACE_S = 120  # beside the lease, for clocks and for the time that killing takes

Id = tuple[int, int]  # cluster, number in it


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the pool. `queue` None: it did not answer, and `trouble` says why.

    `past` holds jobs that left the queue, from its history or their event log.
    """

    at_us: int
    queue: Mapping[Id, Job] | None
    past: Mapping[Id, Job] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be remembered, the pilots, and batch jobs that have no use in the queue."""

    one: Submission
    views: list[PilotView]
    useless: list[str]


@dataclass(frozen=True, slots=True)
class _Standing:
    """One batch job now. `again`: its first start that may still live."""

    state: PilotState
    reason: str = ""
    again: int = 0
    over: Ended | None = None
    is_useless: bool = False


def by_id(jobs: Iterable[Job]) -> dict[Id, Job]:
    """Return jobs by their numbers; of several rows of one the last counts."""
    return {(job.cluster, job.proc): job for job in jobs}


def missing(one: Submission, look: Look) -> list[int]:
    """Return which batch jobs the history is to be asked for."""
    if look.queue is None or _is_newer(one, look):
        return []
    return [
        at for at in range(one.jobs) if at not in one.ended and (one.cluster, at) not in look.queue
    ]


def judge(one: Submission, look: Look) -> Judged:
    """Return what a look means for a submission."""
    ended, gone, again = dict(one.ended), dict(one.missing_us), dict(one.again)
    views: list[PilotView] = []
    useless: list[str] = []
    for at in range(one.jobs):
        if at not in ended:
            now = _standing(one, at, look, gone)
            if now.over is not None:
                ended[at] = now.over
                gone.pop(at, None)
            else:
                again.update({at: now.again} if now.again else {})
                views += _views(one, at, now.again, now.state, None, now.reason)
        if at in ended:
            last = ended[at]
            views += _views(one, at, last.start, PilotState.ABSENT, last.ending, last.word)
            job = (look.queue or {}).get((one.cluster, at))
            if job is not None and job.status in (codes.UNEXPANDED, codes.IDLE, codes.HELD):
                useless.append(job.id)
    known = replace(one, ended=ended, missing_us=gone, again=again)
    return Judged(known, views, useless)


def _standing(one: Submission, at: int, look: Look, gone: dict[int, int]) -> _Standing:
    again = one.again.get(at, 0)
    if look.queue is None:
        return _Standing(PilotState.UNKNOWN, look.trouble, again)
    job = look.queue.get((one.cluster, at))
    if job is not None:
        gone.pop(at, None)
        return in_queue(job, again, look.at_us // 1_000_000, requeue=one.requeue)
    if _is_newer(one, look):
        return _Standing(PilotState.WAITING, "", again)
    job = look.past.get((one.cluster, at))
    if job is not None:
        return _Standing(PilotState.ABSENT, over=_ended(job, again))
    since = gone.setdefault(at, look.at_us)
    if look.at_us - since < GONE_US:
        return _Standing(PilotState.UNKNOWN, "neither in the queue nor in the history", again)
    at_s = look.at_us // 1_000_000
    if not one.cluster:
        over = Ended(0, Ending.NEVER_BEGAN, "no queue ever knew it", at_s)
    else:
        over = Ended(again, Ending.UNKNOWN, "it left queue and history", at_s)
    return _Standing(PilotState.ABSENT, over=over)


def in_queue(job: Job, again: int, now_s: int, *, requeue: bool) -> _Standing:
    """Return how a job stands that is in the queue; `again` is what was known before."""
    if job.status is None:
        return _Standing(PilotState.UNKNOWN, f"state {job.word}", again)
    if job.is_placed or codes.has_process(job.status):
        # What is held or removed has processes until its node was given back.
        again = max(again, job.starts - 1)
        return _Standing(PilotState.RUNNING, _running_reason(job), again)
    if job.status in (codes.COMPLETED, codes.REMOVED):
        return _Standing(PilotState.ABSENT, over=_ended(job, again))
    if job.status == codes.HELD and codes.over(job.hold_code, job.hold_subcode):
        return _Standing(PilotState.ABSENT, over=_ended(job, again))
    again = max(again, job.starts)
    if job.status == codes.HELD:
        if job.hold_code == codes.SPOOLING and not again:
            is_old = now_s - job.entered_s > INPUT_S
            over = Ended(0, Ending.NEVER_BEGAN, "its input never came", now_s)
            return _Standing(PilotState.WAITING, "its input comes", over=over if is_old else None)
        return _Standing(PilotState.HELD, hold_text(job), again)
    if again and not requeue:
        return _Standing(PilotState.ABSENT, over=_evicted(job, again - 1))
    return _Standing(PilotState.WAITING, "", again)


def hold_text(job: Job) -> str:
    """Return why a job is held, in HTCondor's words and number."""
    return f"{job.hold_reason or 'held'} (hold code {job.hold_code})"


def _running_reason(job: Job) -> str:
    if job.status == codes.REMOVED:
        return "being removed"
    if job.status == codes.HELD:
        return "being held"
    if job.status == codes.SUSPENDED:
        return "suspended"
    return "its node is not reached" if job.disconnected_s else ""


def _ended(job: Job, again: int) -> Ended:
    """Return how a job ended that is over, by its state and, before that, by its exit."""
    start = max(again, job.starts - 1, 0)
    at_s = job.completed_s or job.entered_s
    if job.status == codes.HELD:
        ending = codes.over(job.hold_code, job.hold_subcode) or Ending.UNKNOWN
        return Ended(start, ending, hold_text(job), at_s)
    # A finished job that was fetched and removed is a removed one, but it did end by itself.
    if job.status == codes.REMOVED and not job.completed_s:
        word = job.remove_reason or "removed"
        return Ended(start, Ending.CANCELLED, word, at_s, _alone_s(job))
    if job.exit_signal is not None:
        return Ended(start, Ending.FAILED, f"signal {job.exit_signal}", at_s)
    ending = Ending.FAILED if job.exit_code else Ending.COMPLETED
    word = "completed" if job.exit_code is None else f"exit status {job.exit_code}"
    return Ended(start, ending, word, at_s)


def _evicted(job: Job, start: int) -> Ended:
    lost = job.disconnected_s > 0
    ending = Ending.NODE_FAILURE if lost else Ending.PREEMPTED
    word = "its node was lost" if lost else "evicted"
    return Ended(start, ending, word, job.entered_s, _alone_s(job))


def _alone_s(job: Job) -> int:
    """Return until when a node that nobody reaches may run the pilot: as long as its lease."""
    if not job.disconnected_s:
        return 0
    return job.disconnected_s + (job.lease_s or LEASE_S) + GRACE_S


def _is_newer(one: Submission, look: Look) -> bool:
    """Return whether the submission was made, or is being made, since the look."""
    return one.submitted_us >= look.at_us


def _views(
    one: Submission, at: int, last: int, state: PilotState, ending: Ending | None, reason: str
) -> list[PilotView]:
    job = f"{one.cluster}.{at}" if one.cluster else ""
    found = []
    for start in range(last + 1):
        name = batch_id(one.name, at, start)
        if name in one.forgotten:
            continue
        view = PilotView(one.name, name, state, one.submitted_us, ending, reason, job)
        if start < last:  # it was put back into the queue since: this start is over
            view = replace(view, state=PilotState.ABSENT, ending=Ending.REQUEUED)
        found.append(view)
    return found
