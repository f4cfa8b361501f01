"""Nothing is ever given twice: amounts, shares of GPUs, cores."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.dataset.spec import Request
from pilot.core.cores import Cores
from pilot.core.granted import told
from pilot.core.node import Core
from pilot.core.room import WHOLE, Grant, Need, Room, wanted

NEEDS = st.builds(
    Need,
    st.integers(1, 9000),
    st.integers(1, 9000),
    st.integers(0, 900),
    st.sampled_from([0, 0, 250, 400, 600, 1000, 1500, 2000, 5000]),
)
ROOMS = st.builds(
    Room,
    st.integers(1, 16_000),
    st.integers(1, 16_000),
    st.integers(0, 2_000),
    st.lists(st.just(WHOLE), max_size=4).map(tuple),
)


@given(ROOMS, st.lists(NEEDS, max_size=20), st.randoms(use_true_random=False))
def test_whatever_is_taken_and_given_back_no_resource_is_ever_below_nothing(
    node: Room, needs: list[Need], draws: random.Random
) -> None:
    room, grants = node, []
    for need in needs:
        if draws.random() < 0.3 and grants:
            room = room.give_back(grants.pop(draws.randrange(len(grants))))
        if not room.fits(need):
            with pytest.raises(ValueError, match="does not fit"):
                room.take(need)
            continue
        room, grant = room.take(need)
        grants.append(grant)
        assert min(room.cpu_milli, room.memory_mib, room.disk_bytes, *room.gpus, 0) == 0
        given_milli = sum(milli for _, milli in grant.shares)
        assert given_milli == need.gpu_milli or (given_milli > WHOLE and not given_milli % WHOLE)
        assert len({device for device, _ in grant.shares}) == len(grant.shares)
    for grant in grants:
        room = room.give_back(grant)
    assert room == node


def test_a_share_comes_from_the_fullest_device_so_that_whole_ones_stay_whole() -> None:
    room = Room(8000, 8000, gpus=(WHOLE, WHOLE, WHOLE))
    room, half = room.take(Need(1000, 1, gpu_milli=500))
    room, quarter = room.take(Need(1000, 1, gpu_milli=250))
    assert half.shares == ((0, 500),) and quarter.shares == ((0, 250),)
    room, pair = room.take(Need(1000, 1, gpu_milli=2000))
    assert pair.shares == ((1, WHOLE), (2, WHOLE))
    assert room.gpus == (250, 0, 0)
    assert not room.fits(Need(1000, 1, gpu_milli=251))


def test_halves_of_two_devices_are_no_whole_one() -> None:
    assert not Room(8000, 8000, gpus=(500, 500)).fits(Need(1, 1, gpu_milli=1000))


def test_too_much_is_cut_to_the_node_but_a_gpu_that_is_missing_is_missed() -> None:
    node = Room(4000, 100, 50, (WHOLE,))
    need = wanted(Request(64_000, 2000, 10**6, 10**6), node)
    assert need == Need(4000, 100, 50, 2000)
    assert not node.fits(need)


def test_a_task_sees_its_devices_by_uuid_and_without_any_none() -> None:
    gpus = ("GPU-a", "GPU-b", "GPU-c")
    seen = told(Grant(Need(1500, 77, 0, 2000), ((0, WHOLE), (2, WHOLE))), gpus)
    assert seen["CUDA_VISIBLE_DEVICES"] == seen["ROCR_VISIBLE_DEVICES"] == "GPU-a,GPU-c"
    assert (seen["PULK_CPUS"], seen["PULK_GPUS"], seen["PULK_MEMORY_MIB"]) == ("1.5", "2", "77")
    none = told(Grant(Need(1000, 1)), gpus)
    assert (none["CUDA_VISIBLE_DEVICES"], none["PULK_GPUS"]) == ("", "0")


def test_cores_are_near_each_other_and_the_small_gap_is_filled_first() -> None:
    cores = Cores(Core(n, n % 2) for n in range(6))
    assert cores.take(1000) == (0,)
    assert cores.take(2000) == (2, 4)  # what node 0 has left, exactly
    assert cores.take(3000) == (1, 3, 5)
    cores.give_back((2, 4), 2000)
    assert cores.take(500) == (2,) and cores.take(400) == (2,) and cores.take(1000) == (4,)


@given(st.integers(1, 12), st.lists(st.integers(1, 4000), max_size=20))
def test_cores_are_shared_only_where_none_is_free(count: int, asks: list[int]) -> None:
    cores, given_out, left = Cores(Core(n, n % 2) for n in range(count)), [], 1000 * count
    whole = [ask - ask % 1000 for ask in asks]
    for ask in whole:
        if not ask or ask > left:
            continue
        chosen = cores.take(ask)
        assert len(chosen) == len(set(chosen)) == ask // 1000
        given_out += chosen
        left -= ask
    assert len(given_out) == len(set(given_out))
