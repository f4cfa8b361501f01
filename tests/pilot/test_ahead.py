"""What is brought ahead of its task, without files: bounds, order, nobody left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilot.core.ahead import HOP_BYTES_MIN, PASSED_MAX, Ahead, moves_ahead, with_files
from pilot.core.packing import Packing
from pilot.core.ranks import Plan
from pilot.core.room import Need, Room

GIB = 1 << 30
NODE = Room(4000, 8000, 100 * GIB, (1000,))
NEEDS = st.builds(
    Need,
    st.integers(1, 4000),
    st.integers(1, 8000),
    st.integers(HOP_BYTES_MIN, 100 * GIB),
    st.sampled_from([0, 0, 500, 1000]),
)


@given(st.lists(st.tuples(NEEDS, st.floats(0, 1), st.booleans()), max_size=60))
def test_any_task_ahead_can_start_beside_the_files_of_the_others(
    asked: list[tuple[Need, float, bool]],
) -> None:
    ahead, held = Ahead(NODE, slots=8), {}
    for number, (need, share, leaves) in enumerate(asked):
        size = int(need.disk_bytes * share)
        free_bytes = NODE.disk_bytes - ahead.size_bytes
        if ahead.admits(need, size, free_bytes, is_best=True):
            ahead.take(number, need, size)
            held[number] = need, size
        elif not held:
            raise AssertionError("a task that comes alone must be let")
        room = NODE.disk_bytes - sum(size for _, size in held.values())
        assert ahead.size_bytes <= NODE.disk_bytes and len(ahead) <= 16
        assert all(with_files(*one).disk_bytes <= room for one in held.values())
        if leaves and held:
            first = next(iter(held))
            assert ahead.let_go(first) == held.pop(first)[1]
    for number in [*held]:
        ahead.let_go(number)
    assert not len(ahead) and ahead.size_bytes == 0


def test_a_line_for_the_gpu_keeps_no_other_task_from_coming() -> None:
    ahead = Ahead(NODE, slots=8)
    gpu, plain = Need(100, 100, GIB, 1000), Need(100, 100, GIB)
    for number in range(2):
        assert ahead.admits(gpu, GIB, 99 * GIB, is_best=True)
        ahead.take(number, gpu, GIB)
    assert not ahead.admits(gpu, GIB, 98 * GIB, is_best=True)
    assert ahead.admits(plain, GIB, 98 * GIB, is_best=False)


def test_the_best_one_is_passed_only_so_often() -> None:
    ahead = Ahead(NODE, slots=8)
    large, tiny = Need(4000, 8000, GIB), Need(10, 10, GIB)
    for number in range(2):
        ahead.take(number, large, GIB)
        ahead.let_go(number)
    for _ in range(PASSED_MAX):
        assert ahead.admits(tiny, GIB, 90 * GIB, is_best=False)
    assert not ahead.admits(tiny, GIB, 90 * GIB, is_best=False)
    assert ahead.admits(large, GIB, 90 * GIB, is_best=True)
    assert ahead.admits(tiny, GIB, 90 * GIB, is_best=False)


def test_bytes_ahead_are_bounded_but_one_task_always_comes() -> None:
    ahead, need = Ahead(NODE, slots=8, bytes_max=GIB), Need(100, 100, 50 * GIB)
    assert ahead.admits(need, 3 * GIB, 99 * GIB, is_best=True)
    ahead.take(0, need, 3 * GIB)
    assert not ahead.admits(need, HOP_BYTES_MIN, 90 * GIB, is_best=True)


def test_small_inputs_and_those_beyond_the_request_stay_with_the_slot() -> None:
    need = Need(1, 1, 10 * HOP_BYTES_MIN)
    assert moves_ahead(need, HOP_BYTES_MIN)
    assert not moves_ahead(need, HOP_BYTES_MIN - 1) and not moves_ahead(need, 0)
    assert not moves_ahead(need, 10 * HOP_BYTES_MIN + 1)


def packing_of(*needs: Need) -> Packing:
    packing, steps = Packing(NODE, stages=True), len(needs)
    plan = Plan(
        kinds=[("d", step) for step in range(steps)],
        needs=[*needs],
        walltimes_us=[1_000_000] * steps,
        children=[[] for _ in range(steps)],
        order=[*range(steps)],
        levels=[0] * steps,
        left=[3] * steps,
    )
    packing.add(1, plan)
    return packing


def test_what_lacks_files_does_not_start_and_comes_in_the_order_of_starting() -> None:
    need = Need(1000, 100, GIB)
    packing = packing_of(need)
    for job in (2, 0, 1):
        packing.push(1, 0, job, need, 1_000_000, 0, suspect=False, lacks_files=True)
    assert packing.next(NODE, 0) is None and packing.may_start(1, 0)
    assert packing.more(need, lambda *_: True, 0) is None
    first = packing.next_to_bring(lambda *_: True, 0)
    assert first == (1, 0, 0) and packing.lacking == 2
    packing.push(1, 0, 0, with_files(need, 1 << 20), 1_000_000, 0, suspect=False)
    assert packing.next(NODE, 0) == (1, 0, 0)
    assert packing.next_to_bring(lambda *_: False, 0) is None and packing.lacking == 2
    packing.drop(1)
    assert packing.lacking == 0


def test_one_without_room_ahead_is_told_from_those_that_pass_it() -> None:
    needs = Need(4000, 100, GIB), Need(10, 100, GIB)
    packing = packing_of(*needs)
    for step, need in enumerate(needs):
        packing.push(1, step, step, need, 1_000_000, 0, suspect=False, lacks_files=True)
    asked: list[tuple[int, bool]] = []

    def may(chosen: tuple[int, int, int], need: Need, is_best: bool) -> bool:
        asked.append((chosen[1], is_best))
        return need == needs[1]

    assert packing.next_to_bring(may, 0) == (1, 1, 1)
    assert asked == [(0, True), (1, False)]
