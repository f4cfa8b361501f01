"""Slurm's state words, long and short, and what they mean for a pilot. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from site_adapters.contract import Ending, PilotState

STATES = {
    "PENDING": "PD", "RUNNING": "R", "SUSPENDED": "S", "COMPLETED": "CD", "CANCELLED": "CA",
    "FAILED": "F", "TIMEOUT": "TO", "NODE_FAIL": "NF", "PREEMPTED": "PR", "BOOT_FAIL": "BF",
    "DEADLINE": "DL", "OUT_OF_MEMORY": "OOM", "COMPLETING": "CG", "CONFIGURING": "CF",
    "STAGE_OUT": "SO", "SIGNALING": "SI", "STOPPED": "ST", "REQUEUED": "RQ", "REQUEUE_FED": "RF",
    "REQUEUE_HOLD": "RH", "SPECIAL_EXIT": "SE", "RESIZING": "RS", "RESV_DEL_HOLD": "RD",
    "REVOKED": "RV", "LAUNCH_FAILED": "LF", "RECONFIG_FAIL": "RE", "UPDATE_DB": "UD",
    "POWER_UP_NODE": "PU", "EXPEDITING": "EX",
}  # fmt: skip
_LONG = {short: long for long, short in STATES.items()}
_ENDINGS = {
    "COMPLETED": Ending.COMPLETED,
    "CANCELLED": Ending.CANCELLED,
    "FAILED": Ending.FAILED,
    "TIMEOUT": Ending.TIME_LIMIT,
    "DEADLINE": Ending.TIME_LIMIT,
    "NODE_FAIL": Ending.NODE_FAILURE,
    "BOOT_FAIL": Ending.NODE_FAILURE,
    "PREEMPTED": Ending.PREEMPTED,
    "OUT_OF_MEMORY": Ending.OUT_OF_MEMORY,
}
_BUSY = frozenset(
    {"RUNNING", "SUSPENDED", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"}
)
_WAITS = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "POWER_UP_NODE"})
_HOLDS = frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"})
_SAYS_NOTHING = frozenset({"UPDATE_DB", "LAUNCH_FAILED", "RECONFIG_FAIL", "EXPEDITING"})

# Reasons with which a batch job waits until a person does something, lower case, no separators.
_HELD_REASONS = frozenset(
    {
        "jobhelduser", "jobheldadmin", "jobholdmaxrequeue", "badconstraints",
        "dependencyneversatisfied", "invalidaccount", "invalidqos", "partitiontimelimit",
        "partitionnodelimit", "launchfailedrequeuedheld", "reservationdeleted", "accountnotallowed",
        "qosnotallowed", "jobarraytasklimitheld",
    }
)  # fmt: skip

NODE_FLAGS = {
    "*": "NOT_RESPONDING", "~": "POWERED_DOWN", "#": "POWERING_UP", "!": "POWERING_DOWN",
    "%": "POWERING_DOWN", "$": "MAINTENANCE", "@": "REBOOT", "^": "REBOOT_ISSUED", "-": "PLANNED",
}  # fmt: skip


def states(text: str) -> tuple[str, ...]:
    """Return the state words of one text, upper case and long.

    Reads `CANCELLED by 1234`, `PD`, what a column cut (`OUT_OF_ME+`), and `RUNNING,COMPLETING`;
    a word never seen stays as it is.
    """
    head = text.strip().upper().split(" ")[0]
    return tuple(_whole(word) for word in head.replace("|", ",").split(",") if word)


def _whole(word: str) -> str:
    if word.endswith("+"):
        begun = [state for state in STATES if state.startswith(word[:-1])]
        return begun[0] if len(begun) == 1 else word
    return _LONG.get(word, word)


def standing(words: Iterable[str], reason: str = "") -> tuple[PilotState, Ending | None]:
    """Return what a batch job's state words say, of the controller's or accounting's last row.

    A word never seen makes it UNKNOWN, whatever stands beside it.
    """
    said = set(words) - _SAYS_NOTHING
    if not said or not said <= STATES.keys():
        return PilotState.UNKNOWN, None
    if said & {"COMPLETING", "STAGE_OUT"}:
        return PilotState.RUNNING, None
    if said & _HOLDS:
        return PilotState.HELD, None
    if said & _WAITS:
        held = said <= {"PENDING", "REQUEUED"} and is_hold(reason)
        return (PilotState.HELD if held else PilotState.WAITING), None
    for word, ending in _ENDINGS.items():
        if word in said:
            return PilotState.ABSENT, ending
    return (PilotState.RUNNING, None) if said & _BUSY else (PilotState.UNKNOWN, None)


def is_hold(reason: str) -> bool:
    """Return whether a batch job with this reason waits for a person."""
    bare = "".join(letter for letter in reason.lower() if letter.isalnum())
    return bare in _HELD_REASONS


def node_states(text: str) -> tuple[str, ...]:
    """Return a node's state and flags, upper case: `down*`, `IDLE+DRAIN`, `mixed-`."""
    words: list[str] = []
    for part in text.strip().upper().split("+"):
        bare = part.rstrip("".join(NODE_FLAGS))
        words += [bare] if bare else []
        words += [NODE_FLAGS[sign] for sign in part[len(bare) :]]
    return tuple(words)
