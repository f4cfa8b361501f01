"""How a batch job ended decides what became of the tasks under its pilot, once and for all."""

from __future__ import annotations

import pytest

from bundle.fates import Fate
from bundle.spool.records import Begun, Journaled
from relay import claims, salvage
from relay.core.losses import EVIDENCE, WORD_CHARS_MAX, Over, attempts
from site_adapters.contract import Ending, PilotState, PilotView
from tests.relay.world import World

BEGUN = Begun(1, 0, 0, 0, 0, 1, 1)


def fate_of(over: Over) -> tuple[Fate, str]:
    (one,) = attempts(Journaled(None, (), {}, (), (BEGUN,)), over)
    return one.fate, one.evidence


@pytest.mark.parametrize(
    ("ending", "fate"),
    [
        (Ending.CANCELLED, Fate.CANCELLED),
        (Ending.TIME_LIMIT, Fate.ALLOCATION_END),
        (Ending.PREEMPTED, Fate.PREEMPTED),
        (Ending.REQUEUED, Fate.PREEMPTED),
        (Ending.NODE_FAILURE, Fate.NODE_FAILURE),
        (Ending.COMPLETED, Fate.LOST),
        (Ending.FAILED, Fate.LOST),
        (Ending.OUT_OF_MEMORY, Fate.LOST),
        (Ending.NEVER_BEGAN, Fate.LOST),
        (Ending.UNKNOWN, Fate.LOST),
    ],
)
def test_what_took_the_pilot_away_is_what_ended_the_attempt(ending: Ending, fate: Fate) -> None:
    found, evidence = fate_of(Over(ending, "12_0", "CANCELLED by 0"))
    assert found is fate
    assert evidence.startswith(EVIDENCE)
    if ending is not Ending.UNKNOWN:
        assert f"its batch job 12_0 ended: {ending} (CANCELLED by 0)" in evidence


def test_where_nothing_is_known_the_attempt_is_lost() -> None:
    assert fate_of(Over()) == (Fate.LOST, EVIDENCE)


def test_a_schedulers_word_stays_on_its_line() -> None:
    _, evidence = fate_of(Over(Ending.FAILED, "", "bad\nword\x1b[2J" + "x" * 1000))
    assert evidence.isprintable() and len(evidence) < len(EVIDENCE) + WORD_CHARS_MAX + 60


def test_the_first_tick_that_looks_decides_for_all(world: World) -> None:
    pilot = world.pilot(batch_id="slurm:x:0:0:0")
    claim = claims.read(world.spool, pilot.run)
    assert claim is not None

    def said(ending: Ending) -> dict[str, PilotView]:
        view = PilotView("x", claim.batch_id, PilotState.ABSENT, 1, ending, "WORD", "12_0")
        return {claim.batch_id: view}

    first = salvage._over(world.home, claim, said(Ending.CANCELLED))
    assert first == Over(Ending.CANCELLED, "12_0", "WORD")
    assert salvage._over(world.home, claim, said(Ending.COMPLETED)) == first
    assert salvage._over(world.home, claim, {}) == first
    other = claims.read(world.spool, world.pilot().run)
    assert other is not None
    assert salvage._over(world.home, other, {}) == Over()  # started by hand: nobody knows
