"""Retry decides from a history that knows no order, and only an exhausted resource grows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical, retry, shape
from bundle.dataset.spec import Request
from bundle.fates import Fate, counts
from bundle.ids import DatasetId, PilotRun, Task
from bundle.limits import SMALL_LIMITS
from bundle.records import rules as records
from bundle.records.rules import DEFAULT, NO_HISTORY, UNKNOWN, History, Maximum, RetryRules
from bundle.retry import Ended, Exhausted
from tests.bundle.retrying import ATTEMPTS, MAXIMA, NOW_US, REQUESTS, RULES

TASK = Task(DatasetId("a" * 26), 7, 1)
RUN = PilotRun(b"pilotrun")
GROWS = {
    "memory_mib": (Fate.OOM, "memory_mib_max"),
    "walltime_ms": (Fate.TIME_LIMIT, "walltime_ms_max"),
    "disk_bytes": (Fate.DISK_LIMIT, "disk_bytes_max"),
}


def failed(fate: Fate, times: int = 1, **used: int) -> History:
    return retry.history([Ended(fate, RUN, **used)] * times)


@given(st.lists(ATTEMPTS, max_size=12), st.randoms(use_true_random=False), st.integers(0, 12))
def test_a_history_is_the_same_in_any_order_and_carried_over_any_border(
    attempts: list[Ended], draws: random.Random, cut: int
) -> None:
    whole = retry.history(attempts)
    shuffled = draws.sample(attempts, len(attempts))
    carried = carry(retry.history(shuffled[:cut]))
    assert retry.history(shuffled[cut:], carried) == whole
    assert whole.count() == sum(counts(one.fate) for one in attempts)


def carry(history: History) -> History:
    raw = canonical.encode(["other", *records.history_to_wire(history)])
    row = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where="row"), "row")
    return records.history_from_wire(row, 1)


@given(RULES)
def test_rules_travel_and_only_what_differs_from_the_default_does(rules: RetryRules) -> None:
    assert not records.problem(rules)
    wire = records.rules_to_wire(rules)
    raw = canonical.encode(wire)
    read = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where="rules"), "rules")
    assert records.rules_from_wire(read) == rules
    assert not records.rules_to_wire(DEFAULT)
    assert all(value != getattr(DEFAULT, name) for name, value in wire.items())


@pytest.mark.parametrize(
    "wire",
    [
        {"unheard_of": 1},
        {"pilots_max": DEFAULT.pilots_max},  # a default: the same rules in other bytes
        {"pilots_max": -1},
        {"pilots_max": 1001},
        {"memory_milli": 999},  # it would shrink
        {"jitter_milli": 1001},
        {"backoff_ms": "1s"},
    ],
)
def test_rules_that_could_not_be_kept_are_refused(wire: dict[str, object]) -> None:
    with pytest.raises(shape.WrongShape):
        records.rules_from_wire(shape.Reader.of(wire, "rules"))


@pytest.mark.parametrize("flat", [[3], [3, 0], [3, 1, 2, 1], [3, 1, 3, 1], [14, 1]])
def test_a_history_out_of_order_or_of_unknown_fates_is_refused(flat: list[int]) -> None:
    with pytest.raises(shape.WrongShape):
        records.history_from_wire(shape.Reader.of([flat, 0, 0, 0, 0, [], 0], "row"))


@given(st.lists(ATTEMPTS, max_size=8), RULES, REQUESTS, MAXIMA, st.none() | REQUESTS)
def test_only_an_exhausted_resource_grows_and_never_beyond_a_maximum(
    attempts: list[Ended],
    rules: RetryRules,
    asked: Request,
    maximum: Maximum,
    first: Request | None,
) -> None:
    known = retry.history(attempts)
    base = first or asked
    given_ = retry.request_for(asked, known, rules, maximum, first)
    assert (given_.cpu_milli, given_.gpu_milli) == (base.cpu_milli, base.gpu_milli)
    for name, (fate, ceiling) in GROWS.items():
        value, before = getattr(given_, name), getattr(base, name)
        if not known.count(fate):
            assert value == before
            continue
        limits = [one for one in (getattr(rules, ceiling), getattr(maximum, name)) if one]
        assert value >= max(before, getattr(asked, name))
        # What was asked from the beginning may be beyond a maximum; growth never is.
        assert value <= max(before, getattr(asked, name), *limits) or not limits
    more = retry.after(known, Ended(Fate.OOM, RUN, memory_peak_mib=5))
    grown = retry.request_for(asked, more, rules, maximum, first)
    assert grown.memory_mib >= given_.memory_mib
    assert (grown.walltime_ms, grown.disk_bytes) == (given_.walltime_ms, given_.disk_bytes)


@pytest.mark.parametrize("fate", [one for one in Fate if one not in retry.RESOURCES])
def test_no_other_fate_raises_anything(fate: Fate) -> None:
    used = {"memory_peak_mib": 10_000, "wall_ms": 10**9, "disk_peak_bytes": 1 << 40}
    assert retry.request_for(Request(), failed(fate, 3, **used), DEFAULT) == Request()


def test_memory_grows_over_what_was_seen_and_by_the_factor_where_that_is_too_low() -> None:
    asked = Request(memory_mib=64)
    seen = retry.request_for(asked, failed(Fate.OOM, memory_peak_mib=300), DEFAULT)
    assert seen.memory_mib == 450
    # A sampled peak may lie below the limit that was passed (shared/data: 811 MB under 1 GB).
    sampled = retry.request_for(asked, failed(Fate.OOM, 2, memory_peak_mib=20), DEFAULT)
    assert sampled.memory_mib == 144
    assert retry.request_for(asked, failed(Fate.OOM), replace(DEFAULT, memory_milli=1000)) == asked


def test_a_task_that_outgrew_a_site_is_known_by_it() -> None:
    known = failed(Fate.OOM, memory_peak_mib=2000)
    assert retry.outgrown(known, Maximum(memory_mib=2000)) == (Fate.OOM,)
    assert not retry.outgrown(known, Maximum(memory_mib=2001))
    assert not retry.outgrown(known, UNKNOWN)


def test_the_sites_own_fates_use_up_nothing() -> None:
    known = retry.history(Ended(fate, RUN) for fate in Fate if not counts(fate) for _ in range(5))
    rules = replace(DEFAULT, pilots_max=0)
    assert retry.exhausted(known, rules, 1) is Exhausted.NOT
    assert known.count() == 0 and known.lost_on == {RUN}


@pytest.mark.parametrize(
    ("fate", "name", "word"),
    [
        (Fate.SIGNAL, "payload_max", Exhausted.PAYLOAD),
        (Fate.DISK_LIMIT, "resources_max", Exhausted.RESOURCES),
        (Fate.NETWORK_DENIED, "network_max", Exhausted.NETWORK),
        (Fate.STAGE_OUT, "staging_max", Exhausted.STAGING),
    ],
)
def test_each_class_of_fates_has_a_cap_of_its_own(fate: Fate, name: str, word: Exhausted) -> None:
    rules = replace(DEFAULT, **{name: 2})
    assert retry.exhausted(failed(fate, 1), rules, 9) is Exhausted.NOT
    assert retry.exhausted(failed(fate, 2), rules, 9) is word
    assert retry.exhausted(failed(fate, 2), DEFAULT, 9) is Exhausted.NOT
    assert retry.exhausted(failed(fate, 9), DEFAULT, 9) is Exhausted.FAILURES


def lost(*runs: int) -> History:
    return retry.history(Ended(Fate.LOST, PilotRun(bytes([run]) * 8)) for run in runs)


def test_poison_is_told_by_three_pilots() -> None:
    assert not retry.is_poison(lost(1, 2, 1, 2), DEFAULT)
    assert retry.is_suspect(lost(1, 2), DEFAULT) and not retry.is_suspect(lost(1), DEFAULT)
    thrice = retry.after(lost(1, 2), Ended(Fate.NODE_FAILURE, PilotRun(b"3" * 8)))
    assert retry.exhausted(thrice, DEFAULT, 99) is Exhausted.POISON
    assert not retry.is_poison(thrice, replace(DEFAULT, pilots_max=0))
    ended = retry.history([Ended(Fate.ALLOCATION_END, PilotRun(bytes([n]) * 8)) for n in range(3)])
    assert ended == NO_HISTORY


def test_one_pilot_that_survives_slot_after_slot_tells_it_too_but_not_at_once() -> None:
    assert not retry.is_poison(lost(*[1] * 8), DEFAULT)
    assert retry.is_suspect(lost(*[1] * 8), DEFAULT) and not retry.is_suspect(lost(1, 1), DEFAULT)
    assert retry.is_poison(lost(*[1] * 9), DEFAULT)


@given(st.integers(1, 40), RULES, st.integers(0, 2**32 - 1))
def test_back_off_grows_up_to_its_maximum_and_jitter_only_takes_off(
    failures: int, rules: RetryRules, job: int
) -> None:
    task = Task(TASK.dataset, job, 0)
    known = failed(Fate.STAGE_IN, failures, ended_us=NOW_US)
    at_us = retry.not_before(known, rules, task, NOW_US)
    assert at_us == retry.not_before(known, rules, task, NOW_US)
    if not rules.backoff_ms:
        assert not at_us
        return
    longest = retry.not_before(known, replace(rules, jitter_milli=0), task, NOW_US) - NOW_US
    assert longest <= 1000 * rules.backoff_ms_max
    assert longest >= 1000 * min(rules.backoff_ms, rules.backoff_ms_max)
    assert longest * (1000 - rules.jitter_milli) / 1000 <= at_us - NOW_US <= longest
    more = failed(Fate.STAGE_IN, failures + 1, ended_us=NOW_US)
    assert retry.not_before(more, replace(rules, jitter_milli=0), task, NOW_US) >= NOW_US + longest


def test_the_default_back_off_doubles_from_a_second_to_an_hour() -> None:
    rules = replace(DEFAULT, jitter_milli=0)
    waits = [
        (retry.not_before(failed(Fate.SIGNAL, n, ended_us=NOW_US), rules, TASK, NOW_US) - NOW_US)
        / 1_000_000
        for n in (1, 2, 3, 12, 13, 90)
    ]
    assert waits == [1, 2, 4, 2048, 3600, 3600]


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    known = failed(Fate.STAGE_IN, ended_us=NOW_US)
    due = {
        retry.not_before(known, DEFAULT, Task(TASK.dataset, job, 0), NOW_US) for job in range(99)
    }
    assert len(due) > 90


def test_what_ran_out_of_a_resource_needs_more_and_does_not_wait() -> None:
    known = failed(Fate.OOM, ended_us=NOW_US)
    assert retry.not_before(known, DEFAULT, TASK, NOW_US) == 0


def test_a_clock_that_is_wrong_makes_nobody_wait() -> None:
    known = failed(Fate.SIGNAL, ended_us=NOW_US + 10**15)
    assert retry.not_before(known, DEFAULT, TASK, NOW_US) == 0
