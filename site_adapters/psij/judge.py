"""What a look at the queue and a batch job's own marks mean for a pilot. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from site_adapters.contract import Ending, PilotState
from site_adapters.psij.records import Marks, Submission, number

GONE_US = 600 * 1_000_000  # so long not listed: it is over
AGAIN_US = 600 * 1_000_000  # began so long before a look that sees it wait: it waits again
NEVER, GONE, DONE, BROKE = "NEVER", "GONE", "COMPLETED", "FAILED"
_FINAL = frozenset({DONE, BROKE, "CANCELED"})


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the queue: PSI/J's state word and a message, by the number of the id.

    `rows` None: it did not answer, and `trouble` says why.
    """

    at_us: int
    rows: Mapping[str, tuple[str, str]] | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A batch job's state and why; `word`: with which it is over; `missing`: it is not listed."""

    state: PilotState
    reason: str = ""
    word: str = ""
    missing: bool = False


def standing(one: Submission, job: int, marks: Marks, look: Look, submits: bool) -> Standing:
    """Return how a batch job that was not over stands now; `submits`: it is being submitted.

    One that is over and not claimed has to be claimed before that is believed.
    """
    if look.rows is None:
        return Standing(PilotState.UNKNOWN, look.trouble)
    native = number(one.native.get(job, ""))
    if marks.native and number(marks.native) != native:
        return Standing(PilotState.UNKNOWN, f"{marks.native} has just begun in its place")
    if native in look.rows:
        return _listed(*look.rows[native], marks, look)
    if one.submitted_us >= look.at_us or (not native and submits):
        return Standing(PilotState.WAITING)
    if marks.status is not None:
        word = BROKE if marks.status else DONE
        return Standing(PilotState.ABSENT, f"exit status {marks.status}", word)
    if look.at_us - one.missing_us.get(job, look.at_us) < GONE_US:
        return Standing(PilotState.UNKNOWN, "not in the queue, no mark of its end", missing=True)
    word = GONE if marks.claimed else NEVER
    return Standing(PilotState.ABSENT, word, word, missing=True)


def _listed(word: str, message: str, marks: Marks, look: Look) -> Standing:
    if word in _FINAL:
        word = word if marks.claimed else NEVER
        if word == BROKE and marks.status is None:
            word = GONE  # something ended the shell itself: what, is not known
        return Standing(PilotState.ABSENT, message or word, word)
    if word == "ACTIVE":
        return Standing(PilotState.RUNNING, message)
    if word != "QUEUED":
        return Standing(PilotState.UNKNOWN, f"state {word}")
    if not marks.began_us:
        return Standing(PilotState.WAITING, message)
    if marks.began_us > look.at_us - AGAIN_US:
        return Standing(PilotState.RUNNING, message)
    return Standing(PilotState.UNKNOWN, "it began, and waits again")


def ending_of(word: str) -> Ending:
    """Return the ending that a remembered word stands for."""
    known = {
        DONE: Ending.COMPLETED,
        BROKE: Ending.FAILED,
        "CANCELED": Ending.CANCELLED,
        NEVER: Ending.NEVER_BEGAN,
    }
    return known.get(word, Ending.UNKNOWN)
