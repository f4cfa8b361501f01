"""Growing and shrinking: never over the node, longest first, taken back where that is possible."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pilot.core.grants import CORE_MILLI, Stretch, grown, returnable, taken_back
from pilot.core.room import Need, Room


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Room, list[Stretch]]:
    """A node and elastic tasks that fit into it with what they have; and the room beside them."""
    node = Room(1000 * draw(st.integers(1, 64)), draw(st.integers(64, 4096)))
    left, tasks = node, []
    for slot in range(draw(st.integers(0, 6))):
        need = Need(draw(st.integers(1, 8000)), draw(st.integers(1, 512)))
        extra = Need(1000 * draw(st.integers(0, 4)), draw(st.integers(0, 256)))
        both = Need(need.cpu_milli + extra.cpu_milli, need.memory_mib + extra.memory_mib)
        if not left.fits(both):
            break
        left, _ = left.take(both)
        tasks.append(
            Stretch(
                slot,
                need,
                draw(st.integers(0, 64_000)),
                draw(st.integers(0, 4096)),
                draw(st.booleans()),
                draw(st.integers(0, 10**12)),
                extra.cpu_milli,
                extra.memory_mib,
            )
        )
    return left, tasks


@given(worlds(), st.booleans())
def test_what_is_given_away_was_free_and_no_task_gets_more_than_it_can_use(
    world: tuple[Room, list[Stretch]], keeps: bool
) -> None:
    room, tasks = world
    before = {one.slot: one for one in tasks}
    after = grown(room, tasks, keeps=keeps)
    cpu = sum(one.cpu_milli - before[one.slot].cpu_milli for one in after)
    memory = sum(one.memory_mib - before[one.slot].memory_mib for one in after)
    assert 0 <= cpu <= room.cpu_milli and 0 <= memory <= room.memory_mib
    for one in after:
        had = before[one.slot]
        more = one.cpu_milli - had.cpu_milli
        assert more >= 0 and more % CORE_MILLI == 0
        assert not more or one.in_all[0] <= one.cpu_milli_max
        assert one.memory_mib == had.memory_mib or one.in_all[1] <= one.memory_mib_max
        if not keeps:
            assert one.shrinks and one.memory_mib == had.memory_mib
    assert (
        grown(Room(room.cpu_milli - cpu, room.memory_mib - memory), _as(tasks, after), keeps=keeps)
        == []
    )


@given(worlds(), st.integers(1, 70_000))
def test_a_new_task_gets_back_what_can_be_had_and_no_more_than_a_core_too_much(
    world: tuple[Room, list[Stretch]], missing_milli: int
) -> None:
    _, tasks = world
    before = {one.slot: one for one in tasks}
    after = taken_back(missing_milli, tasks)
    given_back = sum(before[one.slot].cpu_milli - one.cpu_milli for one in after)
    assert given_back >= min(missing_milli, returnable(tasks))
    assert given_back < missing_milli + CORE_MILLI
    for one in after:
        assert one.shrinks and 0 <= one.cpu_milli < before[one.slot].cpu_milli
        assert one.memory_mib == before[one.slot].memory_mib


@given(worlds())
def test_what_was_given_beyond_need_comes_back_to_the_last_core(
    world: tuple[Room, list[Stretch]],
) -> None:
    room, tasks = world
    plain = [replace(one, cpu_milli=0, memory_mib=0, shrinks=True) for one in tasks]
    after = _as(plain, grown(room, plain, keeps=False))
    back = _as(after, taken_back(returnable(after), after))
    assert back == plain


def test_the_task_with_the_longest_time_left_grows_first_and_shrinks_last() -> None:
    need = Need(1000, 100)
    short, long = (Stretch(n, need, 4000, 0, True, left) for n, left in enumerate((5, 9)))
    assert [one.slot for one in grown(Room(3000, 0), [short, long], keeps=False)] == [1]
    both = [replace(one, cpu_milli=2000) for one in (short, long)]
    assert [(one.slot, one.cpu_milli) for one in taken_back(1500, both)] == [(0, 0)]


def _as(before: list[Stretch], after: list[Stretch]) -> list[Stretch]:
    changed = {one.slot: one for one in after}
    return [changed.get(one.slot, one) for one in before]
