"""The verdict: where a task stands, a pure total function of its facts and the clock.

Order: tombstone, pin, cancel, success, exhausted failures, lease, ready or held. Only the split
between leased and ready depends on the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bundle.fates import Fate, counts
from central.core.controls import NOTHING, Standing
from central.core.facts import AttemptFact, Pin, Verdict


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


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on. `rivals`: distinct outcomes that none of the pins decides."""

    verdict: Verdict
    outcome: bytes
    failures: int
    rivals: tuple[bytes, ...] = ()


def verdict(facts: TaskFacts, now_us: int) -> Judgement:
    """Return where a task stands at a time."""
    standing = facts.standing
    outcome, pinned, rivals = _choose(facts)
    failures = count_failures(facts)
    word = Verdict.HELD
    if standing.removed:
        word = Verdict.REMOVED
    elif pinned:
        word = Verdict.DONE
    elif standing.cancelled:
        word = Verdict.CANCELLED
    elif outcome:
        word = Verdict.DONE
    elif failures >= facts.failures_max:
        word = Verdict.FAILED
    elif facts.leased_until_us > now_us:
        word = Verdict.LEASED
    elif facts.parents_done and not standing.suspended:
        word = Verdict.READY
    return Judgement(word, outcome, failures, rivals)


def count_failures(facts: TaskFacts) -> int:
    """Return how many failures use up the retry budget; a key counts once."""
    return sum(
        counts(one.fate)
        and facts.standing.takes(one.generation)
        and one.spec_hash == facts.spec_hash
        for one in counted(facts.attempts)
    )


def counted(attempts: Sequence[AttemptFact]) -> Sequence[AttemptFact]:
    """Return the attempts whose hours count: of two contents of one key the smaller digest."""
    if len(attempts) < 2:
        return attempts
    by_key: dict[tuple[int, bytes, bytes, int], AttemptFact] = {}
    for one in attempts:
        other = by_key.get(one.key)
        if other is None or one.content < other.content:
            by_key[one.key] = one
    return list(by_key.values())


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
