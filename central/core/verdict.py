"""The verdict: where a task stands, a pure total function of its facts and the clock.

Order: tombstone, pin, cancel, success, exhausted retries or poison, lease, ready or held. Only the
split between leased and ready depends on the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bundle.fates import Fate
from bundle.records.rules import DEFAULT, History, RetryRules
from central.core import retry
from central.core.controls import NOTHING, Standing
from central.core.facts import AttemptFact, Pin, Verdict
from central.core.retry import counted

__all__ = ["Judgement", "TaskFacts", "counted", "history", "verdict"]


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """Everything known of one task.

    `lineage` is the digest over the canonical outcomes of its parents, or None while one of them
    has none; `parents_done` says whether all parents are done. `leased_until_us` is 0 where no
    live lease covers the task at its generation.
    """

    spec_hash: bytes
    failures_max: int
    lineage: bytes | None
    parents_done: bool
    attempts: Sequence[AttemptFact] = ()
    pins: Sequence[Pin] = ()
    standing: Standing = NOTHING
    leased_until_us: int = 0
    rules: RetryRules = DEFAULT


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on.

    `rivals`: distinct outcomes that none of the pins decides. `exhausted`: why a task that has no
    success is not tried again.
    """

    verdict: Verdict
    outcome: bytes
    failures: int
    rivals: tuple[bytes, ...] = ()
    exhausted: retry.Exhausted = retry.Exhausted.NOT


def verdict(facts: TaskFacts, now_us: int) -> Judgement:
    """Return where a task stands at a time."""
    standing = facts.standing
    outcome, pinned, rivals = _choose(facts)
    known = history(facts)
    exhausted = retry.exhausted(known, facts.rules, facts.failures_max)
    word = Verdict.HELD
    if standing.removed:
        word = Verdict.REMOVED
    elif pinned:
        word = Verdict.DONE
    elif standing.cancelled:
        word = Verdict.CANCELLED
    elif outcome:
        word = Verdict.DONE
    elif exhausted:
        word = Verdict.FAILED
    elif facts.leased_until_us > now_us:
        word = Verdict.LEASED
    elif facts.parents_done and not standing.suspended:
        word = Verdict.READY
    return Judgement(word, outcome, known.count(), rivals, exhausted)


def history(facts: TaskFacts) -> History:
    """Return what of a task's attempts its retry rests on; a key counts once."""
    return retry.history(facts.attempts, facts.standing.takes, facts.spec_hash)


def _choose(facts: TaskFacts) -> tuple[bytes, bool, tuple[bytes, ...]]:
    """Return the canonical outcome (or nothing), whether a pin says so, and undecided rivals."""
    if facts.lineage is None or not (facts.attempts or facts.pins):
        return b"", False, ()
    takes = facts.standing.takes
    matching = {
        one.outcome
        for one in facts.attempts
        if one.fate is Fate.SUCCESS
        and takes(one.generation)
        and one.lineage == facts.lineage
        and one.spec_hash == facts.spec_hash
    }
    pins = [pin for pin in facts.pins if takes(pin.generation)]
    for pin in sorted(pins, key=lambda pin: (pin.epoch, pin.commit, pin.outcome)):
        # A pin whose attempt has not arrived is central's own word. One whose attempt was made from
        # other parents (a fork of central's history) decides nothing.
        if pin.outcome in matching or not _is_known(pin, facts.attempts):
            return pin.outcome, True, ()
    if not matching:
        return b"", False, ()
    return min(matching), False, tuple(sorted(matching)) if len(matching) > 1 else ()


def _is_known(pin: Pin, attempts: Sequence[AttemptFact]) -> bool:
    return any(one.outcome == pin.outcome for one in attempts)
