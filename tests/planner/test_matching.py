"""Matching: what a step asks for against what a site's nodes are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical, shape
from bundle.dataset.asks import Requires
from bundle.dataset.spec import Request
from bundle.limits import SMALL_LIMITS
from bundle.records import profile as profiles
from bundle.records import report as reports
from bundle.records.profile import UNKNOWN, Gpu, Profile
from bundle.records.report import Report
from central.core.matching import Needs, fits, mismatches
from central.core.obstacles import Code

names = st.sampled_from(["", "linux", "linux/debian", "linux/debian/12", "rhel9"])
sizes = st.integers(0, 10)
gpus = st.none() | st.lists(st.builds(Gpu, st.sampled_from("AB"), sizes, sizes), max_size=2).map(
    tuple
)
softwares = st.lists(st.sampled_from(["a", "a/1", "b"]), max_size=2, unique=True).map(tuple)
profiled = st.builds(
    Profile,
    sizes, sizes.map(lambda n: n * 1000), sizes, sizes, gpus, sizes,
    names, st.sampled_from(["", "x86_64", "aarch64"]), st.sampled_from(["", "glibc 2.36"]),
    st.none() | softwares, st.sampled_from(["", "none", "site", "any"]),
)  # fmt: skip
requests = st.builds(
    Request,
    *(sizes.map(lambda n: n * 500), sizes.map(lambda n: n * 500)),
    *(sizes, sizes, sizes),
)
requirements = st.builds(
    Requires,
    names, st.sampled_from(["", "x86_64"]), st.sampled_from(["", "glibc 2.17", "glibc 2.40"]),
    softwares, st.sampled_from(["", "none", "site", "any"]), st.sampled_from(["", "A"]), sizes,
)  # fmt: skip
needed = st.builds(Needs, requests, requirements)


@given(profiled)
def test_a_profile_survives_its_way_and_a_report_without_one_has_the_old_bytes(
    profile: Profile,
) -> None:
    raw = canonical.encode(profiles.to_wire(profile))
    value = canonical.decode(raw, SMALL_LIMITS, where="profile")
    assert profiles.from_wire(shape.Reader.of(value, "profile")) == profile
    told = Report(1, 2, 3, 4, site=profile)
    assert reports.decode(reports.encode(told)) == told
    assert b"site" not in reports.encode(replace(told, site=None))


@given(needed)
def test_what_a_site_does_not_tell_keeps_nothing_away(needs: Needs) -> None:
    assert fits(needs, UNKNOWN)


@given(needed, profiled)
def test_a_larger_node_takes_whatever_a_smaller_one_takes(needs: Needs, profile: Profile) -> None:
    larger = replace(
        profile,
        cpu_milli=profile.cpu_milli and profile.cpu_milli + 1000,
        memory_mib=profile.memory_mib and profile.memory_mib + 1,
        disk_bytes=profile.disk_bytes and profile.disk_bytes + 1,
        walltime_ms=profile.walltime_ms and profile.walltime_ms + 1,
        gpus=profile.gpus and (*profile.gpus, Gpu("C", 9, 1)),
        software=None if profile.software is None else (*profile.software, "c"),
    )
    assert kinds(needs, larger) <= kinds(needs, profile)


@pytest.mark.parametrize(("asked_s", "goes"), [(3480, True), (3481, False), (3600, False)])
def test_a_pilots_start_and_end_are_no_part_of_what_a_task_may_ask_for(
    asked_s: int, goes: bool
) -> None:
    needs = Needs(Request(walltime_ms=1000 * asked_s))
    profile = Profile(walltime_ms=3_600_000, margin_ms=120_000)
    assert fits(needs, profile) is goes
    for one in mismatches(needs, profile):
        assert one.code is Code.WALLTIME
        assert "60 minutes at most, of which 2 minutes go to a pilot's start and end" in one.text
        assert "to 3480 s or less" in one.remedy
    assert fits(needs, replace(profile, walltime_ms=0))
    assert not fits(needs, replace(profile, walltime_ms=60_000))  # no more than a start and an end


def kinds(needs: Needs, profile: Profile) -> set[Code]:
    """What is missing; which of a GPU's properties is said first depends on what else there is."""
    gpus = {Code.GPU, Code.GPU_MODEL, Code.GPU_MEMORY}
    found = {one.code for one in mismatches(needs, profile)}
    return {Code.GPU if one in gpus else one for one in found}


@given(needed, profiled)
def test_each_mismatch_has_words_two_sides_and_a_remedy(needs: Needs, profile: Profile) -> None:
    found = mismatches(needs, profile)
    assert len({one.code for one in found}) == len(found)
    for one in found:
        assert one.text
        assert one.needs
        assert one.has
        assert one.remedy
        assert set(one.plain()) >= {"code", "text", "needs", "has", "remedy"}


def test_gpus_are_counted_among_those_of_the_right_model_and_memory() -> None:
    node = Profile(gpus=(Gpu("NVIDIA A100-SXM4-40GB", 40_960, 2), Gpu("Tesla V100", 16_384, 4)))

    def code(milli: int, model: str = "", memory: int = 0) -> list[Code]:
        asked = Requires(gpu_model=model, gpu_memory_mib=memory)
        return [one.code for one in mismatches(Needs(Request(gpu_milli=milli), asked), node)]

    assert code(6000) == []
    assert code(6001) == [Code.GPU]
    assert code(2000, "a100") == []
    assert code(2500, "a100") == [Code.GPU_MODEL]
    assert code(2000, "", 20_000) == []
    assert code(3000, "", 20_000) == [Code.GPU_MEMORY]
    assert code(1000, "v100", 20_000) == [Code.GPU_MEMORY]
