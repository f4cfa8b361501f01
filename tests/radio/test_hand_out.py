"""Handing out names of shards: each of one pilot at a time, and none forgotten."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bundle.ids import LeaseId, PilotRun
from bundle.spool.layout import ShardName
from relay.core.hand_out import TOLD_S, WANT_S, HandOut

PILOTS = [PilotRun(bytes([n]) * 8) for n in range(4)]
SHARDS = [ShardName(LeaseId(bytes([n]) * 16), 1) for n in range(5)]
PILOT = st.sampled_from(PILOTS)


def test_who_waits_longest_is_told_first() -> None:
    hand_out = HandOut()
    assert [hand_out.want(pilot, 0.0) for pilot in PILOTS] == [None] * 4
    hand_out.see(SHARDS[:2], 1.0)
    assert [pilot for pilot, _ in hand_out.pushes(1.0)] == PILOTS[:2]
    assert hand_out.waiting == 2


def test_a_pilot_that_fell_silent_waits_no_more_and_its_shard_goes_to_another() -> None:
    hand_out = HandOut()
    hand_out.see(SHARDS[:1], 0.0)
    assert hand_out.want(PILOTS[0], 0.0) == SHARDS[0]
    assert hand_out.want(PILOTS[1], 0.0) is None
    hand_out.forget(PILOTS[0])
    hand_out.see(SHARDS[:1], 1.0)
    assert hand_out.pushes(1.0) == [(PILOTS[1], SHARDS[0])]
    hand_out.want(PILOTS[2], 1.0)
    hand_out.see(SHARDS[1:2], 1.0 + WANT_S)
    assert hand_out.pushes(1.0 + WANT_S) == []


def test_what_a_pilot_passed_it_is_not_told_of_again_but_others_are() -> None:
    hand_out = HandOut()
    hand_out.see(SHARDS[:1], 0.0)
    assert hand_out.want(PILOTS[0], 0.0) == SHARDS[0]
    hand_out.took(PILOTS[0], SHARDS[0], taken=False)
    hand_out.see(SHARDS[:1], 0.1)  # it is still there
    assert hand_out.want(PILOTS[0], 0.1) is None
    assert hand_out.want(PILOTS[1], 0.1) == SHARDS[0]


class Handing(RuleBasedStateMachine):
    """Pilots that want, take, pass and die, beside others that take from the spool unasked."""

    @initialize()
    def begin(self) -> None:
        self.hand_out, self.now_s = HandOut(), 0.0
        self.offered: set[ShardName] = set()
        self.gone: set[ShardName] = set()  # a name that was claimed never comes back
        self.told: dict[ShardName, tuple[PilotRun, float]] = {}

    def hear(self, pilot: PilotRun, name: ShardName | None) -> None:
        if name is None:
            return
        other = self.told.get(name)
        assert other is None or other[1] <= self.now_s, "told to two at once"
        self.told[name] = (pilot, self.now_s + TOLD_S)

    @rule(pilot=PILOT)
    def want(self, pilot: PilotRun) -> None:
        self.hear(pilot, self.hand_out.want(pilot, self.now_s))

    @rule(names=st.sets(st.sampled_from(SHARDS)))
    def offer(self, names: set[ShardName]) -> None:
        self.offered |= names - self.gone
        self.hand_out.see(self.offered, self.now_s)
        for pilot, name in self.hand_out.pushes(self.now_s):
            self.hear(pilot, name)

    @rule(taken=st.booleans(), data=st.data())
    def answer(self, taken: bool, data: st.DataObject) -> None:
        if self.told:
            name = data.draw(st.sampled_from(sorted(self.told, key=str)))
            pilot, _ = self.told.pop(name)
            if taken:
                self.taken_from_the_spool(name)
            self.hand_out.took(pilot, name, taken=taken)

    @rule(name=st.sampled_from(SHARDS))
    def take_from_the_spool(self, name: ShardName) -> None:
        self.taken_from_the_spool(name)

    def taken_from_the_spool(self, name: ShardName) -> None:
        self.offered.discard(name)
        self.gone.add(name)

    @rule(pilot=PILOT)
    def die(self, pilot: PilotRun) -> None:
        self.hand_out.forget(pilot)
        self.told = {name: told for name, told in self.told.items() if told[0] != pilot}

    @rule(passed_s=st.floats(0, 20))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s

    @invariant()
    def a_new_pilot_gets_what_nobody_holds(self) -> None:
        """Nothing is forgotten: after a listing, all that is on offer is told to somebody."""
        if not hasattr(self, "offered"):
            return
        held = {name for name, told in self.told.items() if told[1] > self.now_s}
        self.hand_out.see(self.offered, self.now_s)
        for pilot, name in self.hand_out.pushes(self.now_s):
            self.hear(pilot, name)
            held.add(name)
        assert self.hand_out.idle == len(self.offered - held)


TestHanding = Handing.TestCase
TestHanding.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
