"""HTCondor's numbers for states and holds, and what they mean for a pilot. Pure."""

from __future__ import annotations

from site_adapters.contract import Ending

IDLE, RUNNING, REMOVED, COMPLETED, HELD, SENDING, SUSPENDED = range(1, 8)
UNEXPANDED = 0  # how old queues called a job that never ran

SPOOLING = 16  # held until its input has come: no failure

# Holds after which a pilot is over and nobody has to do anything.
OVER = {
    34: Ending.OUT_OF_MEMORY,
    46: Ending.TIME_LIMIT,  # allowed_job_duration
    47: Ending.TIME_LIMIT,  # allowed_execute_duration
}

# Our own policy's hold at the walltime's end: HTCondor does not enforce allowed_execute_duration
# for a job that began to execute in the second in which its shadow did.
POLICY, WALLTIME_SUBCODE = 3, 4747

_LETTERS = {
    "U": UNEXPANDED,
    "I": IDLE,
    "R": RUNNING,
    "X": REMOVED,
    "C": COMPLETED,
    "H": HELD,
    ">": SENDING,
    "<": RUNNING,
    "S": SUSPENDED,
}
KNOWN = frozenset(range(8))


def status(value: object) -> int | None:
    """Return a job's state from a number, a text of one, or condor_q's letter; None: never seen."""
    if isinstance(value, str):
        text = value.strip()
        if text in _LETTERS:
            return _LETTERS[text]
        value = int(text) if text.isdecimal() else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in KNOWN else None


def over(hold_code: int, hold_subcode: int) -> Ending | None:
    """Return how a job ended that is held and has no use any more; None where a person decides."""
    if (hold_code, hold_subcode) == (POLICY, WALLTIME_SUBCODE):
        return Ending.TIME_LIMIT
    return OVER.get(hold_code)


def has_process(state: int) -> bool:
    """Return whether a job in this state may have processes on a node."""
    return state in (RUNNING, SENDING, SUSPENDED)
