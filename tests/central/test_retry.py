"""What central does with failures: leases that tell them, waits, poison, requests learned."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bundle import retry
from bundle.dataset.spec import Command, Dataset, Request, Step
from bundle.fates import Fate
from bundle.ids import DatasetId, LeaseId, PilotRun, Task
from bundle.records.attempt import Usage
from bundle.records.learning import Learning, Policy
from bundle.records.lease import Lease
from bundle.records.rules import DEFAULT, Maximum, RetryRules
from central import teaching
from central.core import learned
from central.core import retry as centrals
from central.core.facts import ControlWord, Place, attempt_fact
from central.core.learned import Learned
from central.fsck import fsck
from central.rebuild import rebuild
from central.store.sqlite import SqliteStore
from pilot.core.lineage import settle
from pilot.core.room import Room
from pilot.core.tries import Tries
from tests.bundle.retrying import ATTEMPTS, MAXIMA, NOW_US, REQUESTS, RULES
from tests.central.conftest import Central
from tests.central.scripted_site import Held, Played, ScriptedSite
from tests.pilot.test_agenda import lease_of

SPEC = b"s" * 32


def one_step(jobs: int = 1, failures_max: int = 3, **fields: object) -> Dataset:
    learning = fields.pop("learning", Learning())
    step = Step("only", Command(("/bin/true",)), failures_max=failures_max, **fields)  # type: ignore[arg-type]
    return Dataset("one", jobs, 1, (step,), learning=learning)  # type: ignore[arg-type]


def leased(central: Central, site: ScriptedSite) -> list[Held]:
    """Report, and fetch what there is to run."""
    central.authority.absorb(site.report(1000))
    return [one for one in site.fetch(central.authority) if one.leases]


def bring(
    central: Central,
    site: ScriptedSite,
    held: Held,
    fates: Callable[[Place, int], Fate],
    **changes: object,
) -> Played:
    """Play the only shard of a bundle, with fields of every attempt changed, and bring it."""
    played = site.play(held, held.leases[0], fate=fates)
    attempts = tuple(dataclasses.replace(one, **changes) for one in played.segment.attempts)  # type: ignore[arg-type]
    played.segment = dataclasses.replace(played.segment, attempts=attempts)
    assert central.authority.absorb(site.result([played])).outcome == "merged"
    del site.works[held.id]
    return played


def then(*fates: Fate) -> Callable[[Place, int], Fate]:
    return lambda _place, tried: fates[tried]


def test_a_lease_tells_what_was_tried_and_the_pilot_goes_on_from_there(central: Central) -> None:
    site = central.site()
    central.submit(one_step(request=Request(memory_mib=100)))
    (held,) = leased(central, site)
    assert held.leases[0].tried == ()
    used = Usage(memory_peak_mib=400)
    played = bring(central, site, held, then(Fate.OOM, Fate.LOST), usage=used)
    (again,) = leased(central, site)
    ((job, step, history),) = again.leases[0].tried
    assert (job, step) == (0, 0)
    assert history.failures == ((Fate.OOM, 1),) and history.memory_peak_mib == 400
    assert history.lost_on == {played.segment.header.pilot_run}
    dataset = one_step(request=Request(memory_mib=100))
    tries = Tries(dataset, again.leases[0], {(0, 0): history}, Room(1000, 9999), Maximum())
    assert tries.request((0, 0)) == Request(memory_mib=600)


def test_a_task_that_took_down_three_pilots_has_failed_until_it_is_reset(central: Central) -> None:
    site = central.site()
    dataset = central.submit(one_step())
    for taken_down in range(3):
        assert central.counts(dataset) == [{"ready": 1}], taken_down
        (held,) = leased(central, site)
        bring(central, site, held, then(Fate.LOST))
    assert central.counts(dataset) == [{"failed": 1}]
    told = central.authority.task(Task(dataset, 0, 0))["retry"]
    assert (told["exhausted"], told["pilots_lost"], told["failures"]) == ("poison", 3, {})
    assert not leased(central, site)
    central.fsck()
    key = {"idempotency_key": "k", "token_id": 1}
    central.authority.control(dataset, ControlWord.RESET, None, None, **key)  # type: ignore[arg-type]
    assert central.counts(dataset) == [{"ready": 1}]
    (held,) = leased(central, site)
    bring(central, site, held, then(Fate.LOST))
    assert central.counts(dataset) == [{"ready": 1}]
    central.fsck()


def test_allocations_that_end_never_make_a_task_poison(central: Central) -> None:
    site = central.site()
    dataset = central.submit(one_step(failures_max=1))
    for fate in (Fate.ALLOCATION_END, Fate.PREEMPTED) * 3:
        (held,) = leased(central, site)
        bring(central, site, held, then(fate))
    assert central.counts(dataset) == [{"ready": 1}]


def test_a_cap_of_one_class_ends_a_task_that_has_failures_left(central: Central) -> None:
    site = central.site()
    dataset = central.submit(one_step(retry=RetryRules(network_max=1)))
    (held,) = leased(central, site)
    bring(central, site, held, then(Fate.NETWORK_DENIED, Fate.PREEMPTED))
    assert central.counts(dataset) == [{"failed": 1}]
    central.fsck()


def test_a_task_that_backs_off_is_not_leased_before_its_time_and_then_it_is(
    central: Central,
) -> None:
    site = central.site()
    rules = RetryRules(backoff_ms=3_600_000, jitter_milli=0)
    dataset = central.submit(one_step(jobs=2, retry=rules))
    (held,) = leased(central, site)
    ended_us = central.clock.now_us - 1000
    bring(
        central, site, held,
        lambda place, tried: (
            Fate.SUCCESS if place[1] else (Fate.STAGE_IN, Fate.PREEMPTED)[tried]
        ),
        started_us=ended_us, started_mono_us=0, ended_mono_us=0,
    )  # fmt: skip
    assert central.counts(dataset) == [{"done": 1, "ready": 1}]
    assert not leased(central, site)
    told = central.authority.task(Task(dataset, 0, 0))["retry"]
    assert told["not_before_us"] == ended_us + 3_600_000_000
    assert (told["failures"], told["exhausted"]) == ({"stage-in": 1}, "")
    central.clock.pass_hours(0.9)
    assert not leased(central, site)
    central.clock.pass_hours(0.2)
    (again,) = leased(central, site)
    assert again.leases[0].tried[0][2].ended_us == ended_us


def test_a_site_whose_clock_is_ahead_makes_nobody_wait(central: Central) -> None:
    site = central.site()
    central.submit(one_step(retry=RetryRules(backoff_ms=3_600_000)))
    (held,) = leased(central, site)
    ahead = central.clock.now_us + 10**15
    bring(central, site, held, then(Fate.STAGE_IN, Fate.LOST), started_us=ahead)
    assert leased(central, site)


def test_failures_of_an_older_generation_are_not_told(central: Central) -> None:
    site = central.site()
    dataset = central.submit(one_step())
    (held,) = leased(central, site)
    bring(central, site, held, then(Fate.OOM, Fate.LOST))
    key = {"idempotency_key": "k", "token_id": 1}
    central.authority.control(dataset, ControlWord.RESET, None, None, **key)  # type: ignore[arg-type]
    (again,) = leased(central, site)
    assert again.leases[0].tried == () and again.leases[0].spent == ()


def taught(central: Central, policy: Policy, jobs: int = 700) -> tuple[DatasetId, Lease]:
    """Run half of a dataset whose tasks use a tenth of what they ask; return the next lease."""
    site = central.site()
    learning = Learning(policy=policy, quantile_milli=950)
    dataset = central.submit(one_step(jobs, learning=learning, request=Request(memory_mib=1000)))
    central.authority.absorb(site.report(jobs // 2))
    held = [one for one in site.fetch(central.authority) if one.leases]
    for one in held:
        played = [site.play(one, lease) for lease in one.leases]
        for part in played:
            attempts = tuple(
                dataclasses.replace(
                    a, usage=Usage(wall_ms=60_000, cpu_ms=1, memory_peak_mib=300 + a.job % 50)
                )
                for a in part.segment.attempts
            )
            part.segment = dataclasses.replace(part.segment, attempts=attempts)
        assert central.authority.absorb(site.result(played)).outcome == "merged"
        del site.works[one.id]
    central.authority.absorb(site.report(jobs))
    (after,) = [one for one in site.fetch(central.authority) if one.leases]
    return dataset, after.leases[0]


def test_learned_requests_are_offered_and_change_nothing(central: Central) -> None:
    dataset, lease = taught(central, Policy.OFFER)
    assert lease.asks == ()
    shown = central.authority.learned(dataset)
    (step,) = shown["steps"]
    assert shown["policy"] == "offer" and shown["needed"] == 59 and step["successes"] == 350
    memory = step["memory_mib"]
    assert memory["asked"] == 1000 and 347 <= memory["bound"] <= 349 * 65 / 64
    assert memory["suggested"] == -(-memory["bound"] * 1100 // 1000)
    assert "0.95 of tasks use at most" in memory["why"]
    central.fsck()


def test_applied_ones_are_what_first_tries_ask_for_within_their_bounds(central: Central) -> None:
    dataset, lease = taught(central, Policy.APPLY)
    ((step, first),) = lease.asks
    suggested = central.authority.learned(dataset)["steps"][0]["memory_mib"]["suggested"]
    assert (step, first.memory_mib) == (0, suggested) and suggested < 400
    # A minute was used of the hour that is asked: not less than a quarter of it.
    assert first.walltime_ms == 900_000
    assert first.cpu_milli == Request().cpu_milli
    # A task that does not fit gets at least what its document asks.
    known = retry.history([retry.Ended(Fate.OOM, PilotRun(bytes(8)), memory_peak_mib=1)])
    asked = Request(memory_mib=1000)
    assert retry.request_for(asked, known, DEFAULT, first=first).memory_mib == 1000
    central.fsck()


def test_a_bundle_that_arrives_twice_teaches_once_and_a_rebuild_learns_the_same(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset = central.submit(one_step(jobs=400))
    (held,) = leased(central, site)
    played = [site.play(held, lease) for lease in held.leases]
    first, second = site.result(played), site.result(played)
    for path in (first, first, second):
        central.authority.absorb(path)
    before = central.authority.learned(dataset)
    assert before["steps"][0]["successes"] == 400
    home = dataclasses.replace(central.home, root=tmp_path / "fresh")
    made = rebuild(home, central.home.archive, central.home.trust, shuffle=3, repeat=2)
    assert made["ok"], made["problems"]  # fsck learns all again from the facts and compares
    store = SqliteStore(home.database, read_only=True)
    live = central.authority._w.store.people
    for name in (f"learned/{dataset}/0", f"learned/spec/{held.leases[0].spec_hashes[0][1].hex()}"):
        assert store.people.meta(name) == live.meta(name) is not None
    store.close()


def test_fsck_finds_a_segment_that_was_learned_twice(central: Central) -> None:
    site = central.site()
    dataset = central.submit(one_step(jobs=400))
    (held,) = leased(central, site)
    central.authority.absorb(site.result([site.play(held, one) for one in held.leases]))
    central.fsck()
    workings = central.authority._w
    twice = teaching.known(workings, workings.dataset(dataset), workings.dag(held_digest(held)), 0)
    with workings.transaction():
        teaching.add(workings, dataset, 0, SPEC, twice)
    found = fsck(central.home)
    assert not found["ok"] and "what was learned" in found["problems"][0]


def held_digest(held: Held) -> bytes:
    return held.leases[0].dataset_digest


def test_what_too_few_tasks_could_teach_is_not_kept(central: Central) -> None:
    site = central.site()
    dataset = central.submit(one_step(jobs=298))
    (held,) = leased(central, site)
    central.authority.absorb(site.result([site.play(held, one) for one in held.leases]))
    shown = central.authority.learned(dataset)["steps"][0]
    assert shown["successes"] == 0 and shown["memory_mib"]["suggested"] is None
    assert shown["memory_mib"]["why"] == "only 298 tasks, 299 are needed"


@given(REQUESTS, MAXIMA, st.lists(st.integers(0, 2**40), min_size=1, max_size=400), st.booleans())
def test_a_suggestion_stays_within_its_bounds_and_only_growth_heeds_the_site(
    asked: Request, maximum: Maximum, used: list[int], tight: bool
) -> None:
    said = Learning(Policy.APPLY, quantile_milli=500 if tight else 900, confidence_milli=500)
    sketches = learned.sketch.of(used)
    found = learned.request(Learned(sketches, sketches, sketches, sketches), asked, said, maximum)
    assert (found.cpu_milli, found.gpu_milli) == (asked.cpu_milli, asked.gpu_milli)
    for name in learned.RESOURCES:
        before, after = getattr(asked, name), getattr(found, name)
        most = getattr(maximum, name)
        assert after <= 4 * before and 4 * after >= before
        assert after <= max(before, most) or not most


@given(
    st.lists(ATTEMPTS, max_size=9), st.integers(0, 9), RULES, REQUESTS, MAXIMA,
    st.integers(1, 5), st.randoms(use_true_random=False),
)  # fmt: skip
def test_pilot_and_central_decide_alike_on_the_same_history(
    attempts: list[retry.Ended],
    cut: int,
    rules: RetryRules,
    asked: Request,
    maximum: Maximum,
    failures_max: int,
    draws: random.Random,
) -> None:
    """Central sees all in any order; the pilot a lease's word, then seals, then its own tries."""
    dataset = one_step(failures_max=failures_max, retry=rules, request=asked)
    records = [(one.pilot_run, record_of(one, number)) for number, one in enumerate(attempts)]
    facts = [attempt_fact(one, LeaseId(bytes(16)), run, SPEC) for run, one in records]
    known = centrals.history(draws.sample(facts, len(facts)), (1).__eq__, SPEC)

    before = centrals.history(facts[:cut], (1).__eq__, SPEC)
    lease = dataclasses.replace(lease_of(dataset), tried=((0, 0, before),))
    sealed = (len(records) + cut) // 2
    earlier = settle(dataset, lease, records[cut:sealed])
    tries = Tries(dataset, lease, earlier.tried, Room(10**6, 2**60), maximum)
    for one in attempts[max(cut, sealed) :]:
        if one.fate is not Fate.SUCCESS:
            tries.note((0, 0), one)
    assert tries.is_spent((0, 0)) == bool(centrals.exhausted(known, rules, failures_max))
    site = maximum if maximum.memory_mib else dataclasses.replace(maximum, memory_mib=2**60)
    assert tries.request((0, 0)) == centrals.request_for(asked, known, rules, site)
    task = Task(lease.dataset, 0, 0)
    now_us = NOW_US + 10**6
    assert tries.not_before((0, 0), now_us) == centrals.not_before(known, rules, task, now_us)
    assert tries.is_suspect((0, 0)) == centrals.is_suspect(known, rules)
    assert tries.losses((0, 0)) == len(known.lost_on)


def record_of(one: retry.Ended, local: int) -> object:
    from bundle.records.attempt import Attempt

    usage = Usage(one.wall_ms, 0, one.memory_peak_mib, one.disk_peak_bytes)
    started_us = one.ended_us - 1000
    return Attempt(0, 0, 1, local, one.fate, 1, 0, started_us, 0, 1000, 0, usage)
