"""`pulk why`: obstacles planted with real facts in a real store; each is named rightly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset.asks import Account, Requires
from bundle.dataset.spec import Command, Dataset, Output, Request, Step
from bundle.fates import Fate
from bundle.ids import DatasetId, SiteName, Task
from bundle.intervals import IntervalSet
from bundle.records.profile import Gpu, Profile
from bundle.records.rules import RetryRules
from central import why
from central.absorb import absorb
from central.board import Board
from central.config import Config, QuotaSection, QuotasSection
from central.core.facts import ControlWord
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, ScriptedSite
from tests.central.test_hostile import forgetful

RUN = Command(("/bin/true",))
ROOMY = Profile(
    cpu_milli=64_000,
    memory_mib=256_000,
    disk_bytes=1 << 40,
    gpus=(Gpu("NVIDIA A100-SXM4-40GB", 40_960, 4),),
    walltime_ms=48 * 3_600_000,
    os="linux/debian/12",
    arch="x86_64",
    libc="glibc 2.36",
    software=("icetray/1.8",),
    network="site",
)


def one(jobs: int = 4, **said: Any) -> Dataset:
    """A dataset of one step. `said`: fields of the step, and `account`."""
    account = said.pop("account", Account())
    step = Step("make", RUN, outputs=(Output("made"),), **said)
    return Dataset("one", jobs, 7, (step,), account=account)


def ask(central: Central, dataset: DatasetId, job: int = 0, step: int = 0) -> dict[str, Any]:
    return central.authority.why(Task(dataset, job, step))


def reason(central: Central, dataset: DatasetId, job: int = 0, step: int = 0) -> str:
    return str(ask(central, dataset, job, step)["reason"])


def tell(central: Central, at: ScriptedSite, wanted: int = 1000, **said: Any) -> None:
    assert central.authority.absorb(at.report(wanted, **said)).outcome == "merged"


def end(central: Central, site: ScriptedSite, held: Held, **how: Any) -> None:
    """Play all of a bundle and bring the result."""
    played = [site.play(held, lease, **how) for lease in held.leases]
    assert central.authority.absorb(site.result(played)).outcome == "merged"
    del site.works[held.id]


def with_leases(found: list[Held]) -> Held:
    (held,) = [held for held in found if held.leases]
    return held


def control(central: Central, dataset: DatasetId, word: ControlWord) -> None:
    central.authority.control(dataset, word, None, None, idempotency_key=word.value, token_id=1)


def test_no_site_is_enrolled(central: Central) -> None:
    assert reason(central, central.submit(one())) == "no-site"


def test_the_site_has_never_reported(central: Central) -> None:
    central.site()
    assert reason(central, central.submit(one())) == "never-reported"


def test_the_site_is_silent(central: Central) -> None:
    tell(central, central.site())
    dataset = central.submit(one())
    central.clock.pass_hours(24 * 20)
    assert reason(central, dataset) == "site-silent"


def test_the_site_wants_no_tasks(central: Central) -> None:
    tell(central, central.site(), 0)
    assert reason(central, central.submit(one())) == "wants-none"


def test_the_site_holds_as_many_tasks_as_it_wants(central: Central) -> None:
    site, dataset = central.site(), central.submit(one(jobs=9))
    tell(central, site, 4)
    site.fetch(central.authority)
    tell(central, site, 4)
    found = ask(central, dataset, job=8)
    assert (found["reason"], found["because"][0]["has"]) == ("site-full", "4 held")


def test_the_sites_quota_is_full(central: Central) -> None:
    site, dataset = central.site(), central.submit(one(jobs=9))
    quota = replace(ROOMY, tasks_max=3)
    tell(central, site, site=quota)
    assert (
        sum(lease.count() for held in site.fetch(central.authority) for lease in held.leases) == 3
    )
    tell(central, site, site=quota)
    found = ask(central, dataset, job=8)
    assert (found["reason"], found["because"][0]["has"]) == ("site-full", "3 of 3")


def test_the_sites_node_hours_are_promised(central: Central) -> None:
    site, dataset = central.site(), central.submit(one(jobs=9))
    capped = Profile(cpu_milli=1000, node_hours_max_milli=5000)  # five tasks of one core-hour
    tell(central, site, site=capped)
    assert (
        sum(lease.count() for held in site.fetch(central.authority) for lease in held.leases) == 5
    )
    tell(central, site, site=capped)
    assert reason(central, dataset, job=8) == "node-hours"


MISMATCHES: dict[str, dict[str, Any]] = {
    "cpu": {"request": Request(cpu_milli=65_000)},
    "memory": {"request": Request(memory_mib=256_001)},
    "disk": {"request": Request(disk_bytes=(1 << 40) + 1)},
    "walltime": {"request": Request(walltime_ms=49 * 3_600_000)},
    "gpu": {"request": Request(gpu_milli=4001)},
    "gpu-model": {"request": Request(gpu_milli=1000), "requires": Requires(gpu_model="H100")},
    "gpu-memory": {"request": Request(gpu_milli=1000), "requires": Requires(gpu_memory_mib=40_961)},
    "os": {"requires": Requires(os="linux/rhel")},
    "arch": {"requires": Requires(arch="aarch64")},
    "libc": {"requires": Requires(libc="glibc 2.38")},
    "software": {"requires": Requires(software=("icetray/1.9",))},
    "network": {"requires": Requires(network="any")},
}


@pytest.mark.parametrize("code", MISMATCHES)
def test_the_sites_nodes_do_not_match(central: Central, code: str) -> None:
    tell(central, central.site(), site=ROOMY)
    dataset = central.submit(one(**MISMATCHES[code]))
    found = ask(central, dataset)
    assert found["reason"] == code
    assert [one["code"] for one in found["because"]] == [code]  # and nothing else
    assert found["because"][0]["needs"]
    assert found["because"][0]["remedy"]
    central.authority.outbox(SiteName("north"))
    assert central.counts(dataset) == [{"ready": 4}]  # nothing of it was leased


def test_what_just_fits_is_leased(central: Central) -> None:
    site = central.site()
    tell(central, site, site=ROOMY)
    request = Request(64_000, 4000, 256_000, 1 << 40, 48 * 3_600_000)
    requires = Requires(
        "linux/debian", "x86_64", "glibc 2.36", ("icetray",), "site", "A100", 40_960
    )
    dataset = central.submit(one(request=request, requires=requires))
    assert reason(central, dataset) == "next"
    site.fetch(central.authority)
    assert central.counts(dataset) == [{"leased": 4}]


LISTS: dict[str, tuple[Account, Profile]] = {
    "not-allowed": (Account(allow=("south",)), ROOMY),
    "denied": (Account(deny=("north",)), ROOMY),
    "refused-by-site": (Account(group="cosmics"), replace(ROOMY, deny=("cosmics",))),
}


@pytest.mark.parametrize("code", LISTS)
def test_a_list_keeps_the_dataset_from_the_site(central: Central, code: str) -> None:
    account, profile = LISTS[code]
    site = central.site()
    tell(central, site, site=profile)
    dataset = central.submit(one(account=account))
    assert reason(central, dataset) == code
    site.fetch(central.authority)
    assert central.counts(dataset) == [{"ready": 4}]


def test_a_task_waits_for_its_parents_and_their_reason_is_told(central: Central) -> None:
    site, dataset = central.site(), central.submit(chain(jobs=2, failures_max=1))
    tell(central, site)
    end(central, site, with_leases(site.fetch(central.authority)), fate=lambda _p, _n: Fate.OOM)
    found = ask(central, dataset, job=1, step=1)
    (first,) = found["because"]
    assert first["code"] == "parents"
    assert first["text"] == "it waits for generate of job 1"
    assert first["has"].startswith(f"{dataset}/1/0: failed")
    whole = ask(central, dataset, job=0, step=2)["because"][0]
    assert whole["text"] == "it waits for weight of job 0, weight of job 1"
    assert whole["has"].startswith(f"{dataset}/0/0: failed")  # the root of it, two steps up


def test_it_is_suspended_cancelled_removed(central: Central) -> None:
    tell(central, central.site())
    dataset = central.submit(one())
    for word, code in (
        (ControlWord.SUSPEND, "suspended"),
        (ControlWord.CANCEL, "cancelled"),
        (ControlWord.TOMBSTONE, "removed"),
    ):
        control(central, dataset, word)
        assert reason(central, dataset) == code


def test_it_failed_as_often_as_it_may_and_its_last_fates_are_told(central: Central) -> None:
    site, dataset = central.site(), central.submit(one(jobs=1, failures_max=2))
    tell(central, site)
    end(central, site, with_leases(site.fetch(central.authority)), fate=lambda _p, _n: Fate.SIGNAL)
    first = ask(central, dataset)["because"][0]
    assert (first["code"], first["has"]) == ("failed", "signal at north, signal at north")
    assert f"reset {dataset}" in first["remedy"]


def test_it_took_down_too_many_pilots(central: Central) -> None:
    site, dataset = central.site(), central.submit(one(jobs=1))
    for _ in range(3):
        tell(central, site)
        held = with_leases(site.fetch(central.authority))
        end(central, site, held, fate=lambda _p, _n: Fate.LOST)
    assert reason(central, dataset) == "poison"


def test_it_backs_off_and_until_when_is_told(central: Central) -> None:
    patient = RetryRules(backoff_ms=3_600_000, backoff_ms_max=3_600_000, jitter_milli=0)
    site, dataset = central.site(), central.submit(one(jobs=1, retry=patient))
    tell(central, site)
    held = with_leases(site.fetch(central.authority))
    played = site.play(held, held.leases[0], fate=lambda _p, _n: Fate.PAYLOAD_ERROR)
    once = replace(played.segment, attempts=played.segment.attempts[:1])
    central.authority.absorb(site.result([replace(played, segment=once)]))
    del site.works[held.id]
    central.clock.pass_hours(0.1)  # beyond the end of the attempt
    tell(central, site)
    first = ask(central, dataset)["because"][0]
    assert first["code"] == "back-off"
    assert first["until_us"] > central.clock.now_us
    assert not [held for held in site.fetch(central.authority) if held.leases]
    central.clock.pass_hours(2)
    assert reason(central, dataset) == "next"
    assert with_leases(site.fetch(central.authority))


def test_its_bundle_is_not_fetched_then_it_is_leased_then_done(central: Central) -> None:
    site, dataset = central.site(), central.submit(one())
    tell(central, site)
    central.authority.outbox(site.name)
    found = ask(central, dataset)
    assert [one["code"] for one in found["because"]] == ["not-fetched", "leased"]
    held = with_leases(site.fetch(central.authority))
    tell(central, site)
    (leased,) = ask(central, dataset)["because"]
    assert (leased["code"], leased["site"]) == ("leased", "north")
    assert leased["until_us"] > central.clock.now_us
    end(central, site, held)
    assert reason(central, dataset) == "done"


def test_who_holds_it_is_silent(central: Central, tmp_path: Path) -> None:
    patient = Central(tmp_path / "patient", lease_hours=24 * 40)
    site, dataset = patient.site(), patient.submit(one())
    tell(patient, site)
    site.fetch(patient.authority)
    tell(patient, site)
    patient.clock.pass_hours(24 * 20)
    found = ask(patient, dataset)
    assert [one["code"] for one in found["because"]] == ["site-silent", "leased"]
    patient.authority.close()


def test_other_datasets_are_further_behind_their_share(central: Central) -> None:
    site = central.site()
    served = central.submit(one(jobs=300, account=Account(user="alice")))
    tell(central, site, 100)
    end(central, site, with_leases(site.fetch(central.authority)))
    tell(central, site, 100)
    waiting = central.submit(one(jobs=300, account=Account(user="bob")))
    first = ask(central, served, job=250)["because"][0]
    assert (first["code"], first["site"]) == ("share", "north")
    assert first["has"].startswith("position 2, after one (")
    assert "of bob" in first["has"]
    assert ask(central, waiting, job=7)["because"][0]["code"] == "next"
    site.fetch(central.authority)
    assert central.counts(waiting)[0]["leased"] == 100  # and so it is


def quota(central: Central, **quotas: Any) -> None:
    central.config = Config(quotas=QuotasSection(**quotas))
    central.reopen()


def test_the_users_or_the_groups_quota_is_used_up(central: Central) -> None:
    quota(central, user=QuotaSection(tasks_out=3), group=QuotaSection(tasks_out=5))
    site = central.site()
    mine = central.submit(one(jobs=9, account=Account(user="alice", group="g")))
    theirs = central.submit(one(jobs=9, account=Account(user="bob", group="g")))
    tell(central, site)
    site.fetch(central.authority)
    assert central.counts(mine)[0]["leased"] + central.counts(theirs)[0]["leased"] == 5
    tell(central, site)
    full = {reason(central, mine, job=8), reason(central, theirs, job=8)}
    assert full == {"user-quota", "group-quota"}


def test_the_users_core_hours_are_used_up(central: Central) -> None:
    quota(central, users={"alice": QuotaSection(core_hours=0.001)})
    site, dataset = central.site(), central.submit(one(jobs=30, account=Account(user="alice")))
    tell(central, site, 20)
    end(central, site, with_leases(site.fetch(central.authority)))  # of one second each
    tell(central, site, 20)
    assert reason(central, dataset, job=29) == "user-quota"
    assert not [held for held in site.fetch(central.authority) if held.leases]


def test_the_site_demands_a_cosignature(central: Central) -> None:
    tell(central, central.site(), profile=(("cosignatures", f"1 {'ab' * 32}"),))
    assert reason(central, central.submit(one())) == "cosignature"


def test_its_inputs_are_nowhere(central: Central) -> None:
    site, dataset = central.site(), central.submit(chain(jobs=1, fan_in=False))
    tell(central, site)
    held = with_leases(site.fetch(central.authority))
    lost: Callable[[Any, int], Fate] = lambda place, _n: (  # noqa: E731
        Fate.SUCCESS if place[0] == 0 else Fate.ALLOCATION_END
    )
    end(central, site, held, fate=lost)
    assert central.counts(dataset) == [{"done": 1}, {"ready": 1}]
    assert reason(central, dataset, step=1) == "inputs-nowhere"
    tell(central, site)
    site.fetch(central.authority)  # the planner has them made again, and leases both
    assert central.counts(dataset) == [{"leased": 1}, {"leased": 1}]


def test_its_result_is_parked_and_what_for(central: Central, tmp_path: Path) -> None:
    site, dataset = central.site(), central.submit(one())
    tell(central, site)
    held = with_leases(site.fetch(central.authority))
    parts = [
        site.play(held, held.leases[0], jobs=IntervalSet.of([job]), complete=False)
        for job in (0, 1)
    ]
    first, second = site.result(parts[:1]), site.result(parts[1:])
    fresh = forgetful(central, tmp_path / "fresh")  # one restored from before the lease
    for bundle in fresh_commits(central):
        assert absorb(fresh, bundle, live=False).outcome == "merged"
    with fresh.store.transaction():
        fresh.store.bundles.enrol(site.name, site.key.public, 1)
    assert absorb(fresh, second, live=False).outcome == "parked"
    found = why.why(fresh, Board(fresh), Task(dataset, 1, 0))
    assert (found["reason"], found["because"][0]["site"]) == ("result-parked", "north")
    assert why.why(fresh, Board(fresh), Task(dataset, 0, 0))["reason"] == "never-reported"
    assert absorb(fresh, first, live=False).outcome == "merged"
    assert why.why(fresh, Board(fresh), Task(dataset, 1, 0))["reason"] == "done"
    fresh.store.close()


def fresh_commits(central: Central) -> list[Path]:
    """The archived commits of a central."""
    workings = central.authority._w
    rows = [row for row in workings.store.bundles.merged() if row.kind == "commit"]
    return [workings.archive.path(row.id) for row in rows]
