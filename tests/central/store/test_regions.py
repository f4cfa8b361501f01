"""Regions of controls come back as they were, and are read once while there is room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.ids import JOB_MAX
from bundle.intervals import IntervalSet
from central.store import regions
from central.store.regions import KeptRegions

JOBS = st.sets(st.integers(0, 99), min_size=1).map(IntervalSet.of)
REGIONS = st.none() | st.dictionaries(st.integers(0, 9), JOBS).map(lambda one: (*one.items(),))


@given(REGIONS)
def test_regions_come_back_as_they_were(some: regions.Regions) -> None:
    raw = KeptRegions().encode(some)
    assert KeptRegions().decode(raw) == some


def test_regions_up_to_the_last_job_there_can_be_and_those_of_before_are_read() -> None:
    every = ((0, IntervalSet(((0, 1), (5, JOB_MAX + 1)))), (3, IntervalSet()))
    assert KeptRegions().decode(KeptRegions().encode(every)) == every
    old = canonical.encode([[step, jobs.to_wire()] for step, jobs in every])
    assert KeptRegions().decode(old) == every


def test_what_was_read_is_kept_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [KeptRegions().encode(((step, IntervalSet(((1, 9),))),)) for step in range(3)]
    monkeypatch.setattr(regions, "KEPT_BYTES_MAX", 2 * len(raws[0]))
    kept = KeptRegions()
    first = kept.decode(raws[0])
    assert kept.decode(raws[0]) is first
    second = kept.decode(raws[1])
    kept.decode(raws[2])
    assert kept.decode(raws[1]) is second
    again = kept.decode(raws[0])
    assert again == first
    assert again is not first
