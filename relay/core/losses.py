"""The attempts under which a pilot died, as its journal tells."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.fates import Fate
from bundle.records.attempt import Attempt
from bundle.spool.records import Journaled
from site_adapters.contract import Ending

EVIDENCE = "the pilot was lost while the task ran, or waited in its slot"
WORD_CHARS_MAX = 60

# What took the pilot away was not its tasks: none of them is held to have taken it down. All other
# endings leave that open, and those attempts are lost.
_FATES = {
    Ending.TIME_LIMIT: Fate.ALLOCATION_END,
    Ending.PREEMPTED: Fate.PREEMPTED,
    Ending.REQUEUED: Fate.PREEMPTED,
    Ending.CANCELLED: Fate.CANCELLED,
    Ending.NODE_FAILURE: Fate.NODE_FAILURE,
}


@dataclass(frozen=True, slots=True)
class Over:
    """How a dead pilot's batch job ended. `job` and `word` are the scheduler's own."""

    ending: Ending = Ending.UNKNOWN
    job: str = ""
    word: str = ""

    def evidence(self) -> str:
        """Return one line about it."""
        if self.ending is Ending.UNKNOWN:
            return EVIDENCE
        said = "".join(c for c in self.word if c.isprintable())[:WORD_CHARS_MAX]
        job = f" {self.job}" if self.job else ""
        word = f" ({said})" if said else ""
        return f"{EVIDENCE}; its batch job{job} ended: {self.ending}{word}"


UNKNOWN = Over()


def attempts(journaled: Journaled, over: Over = UNKNOWN) -> tuple[Attempt, ...]:
    """Return all attempts of a dead pilot's journal: those that ended, then those that were lost.

    Of a lost one nothing is known but that it began, and how the batch job ended; the same journal
    and ending give the same records.
    """
    fate, evidence = _FATES.get(over.ending, Fate.LOST), over.evidence()
    lost = (
        Attempt(
            job=one.job,
            step=one.step,
            generation=one.generation,
            local=one.local,
            fate=fate,
            exit_code=-1,
            signal=0,
            started_us=one.started_us,
            started_mono_us=one.started_mono_us,
            ended_mono_us=one.started_mono_us,
            slot=one.slot,
            evidence=evidence,
        )
        for one in journaled.open
    )
    return (*journaled.attempts, *lost)
