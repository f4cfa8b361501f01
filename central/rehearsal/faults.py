"""Which fault meets which bundle, and whom a random kill meets: pure decisions from a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What the courier does with one result bundle that it is handed."""

    NONE = "carried"
    TWICE = "delivered twice"
    HELD = "held back, to arrive after the next one"
    LOST = "lost on the way"
    RELAY_KILLED = "relay killed between collecting and sending"


DEMO_FAULTS: dict[int, Fault] = {
    0: Fault.RELAY_KILLED,
    1: Fault.TWICE,
    2: Fault.HELD,
    4: Fault.LOST,
}
"""By the order in which the courier first sees result bundles; 3 is what 2 waits for."""


class Target(StrEnum):
    """Whom a random SIGKILL meets."""

    CENTRAL = "central"
    RELAY = "relay"
    PILOT = "pilot"
    SLOT = "slot"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: whom, and how many seconds after the dataset was submitted."""

    target: Target
    after_s: float


def random_kills(seed: int, count: int, within_s: float) -> tuple[Kill, ...]:
    """Return `count` kills spread over `within_s` seconds, the same for the same seed."""
    kills = []
    for number in range(count):
        drawn = hashlib.sha256(f"kill {seed} {number}".encode()).digest()
        target = tuple(Target)[drawn[0] % len(Target)]
        share = int.from_bytes(drawn[1:5], "big") / 2**32
        kills.append(Kill(target, share * within_s))
    return tuple(sorted(kills, key=lambda kill: kill.after_s))
