"""The attempts under which a pilot died, as its journal tells."""

from __future__ import annotations

from bundle.fates import Fate
from bundle.records.attempt import Attempt
from bundle.spool.records import Journaled

EVIDENCE = "the pilot was lost while the task ran, or waited in its slot"


def attempts(journaled: Journaled) -> tuple[Attempt, ...]:
    """Return all attempts of a dead pilot's journal: those that ended, then those that were lost.

    Of a lost one nothing is known but that it began; the same journal gives the same records.
    """
    lost = (
        Attempt(
            job=one.job,
            step=one.step,
            generation=one.generation,
            local=one.local,
            fate=Fate.LOST,
            exit_code=-1,
            signal=0,
            started_us=one.started_us,
            started_mono_us=one.started_mono_us,
            ended_mono_us=one.started_mono_us,
            slot=one.slot,
            evidence=EVIDENCE,
        )
        for one in journaled.open
    )
    return (*journaled.attempts, *lost)
