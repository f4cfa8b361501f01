"""What people, machines and HTCondor do to pilots: nothing is lost, nothing counts twice."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from site_adapters.htcondor import codes, judge, remembered
from tests.sites import days as playing
from tests.sites.days import DISK_FULL, Day, Days, Plan, Script
from tests.testbed import htcondor as htcondors

pytestmark = [pytest.mark.programs, pytest.mark.timeout(900)]

GRACE_S = 3  # after a lost node's lease, in place of the two minutes
LEASE = "job_lease_duration = 5"  # in place of the pool's 40 minutes
WALLTIME = (  # as the relay asks for it, but shorter
    "periodic_hold = JobStatus == 2 && time() - JobCurrentStartExecutingDate > 8",
    f"periodic_hold_subcode = {codes.WALLTIME_SUBCODE}",
)
STARTER = "condor_starter"


@dataclass(slots=True, kw_only=True)
class CondorDay(Day):
    """A day whose pilots are jobs of a pool."""

    pool: htcondors.Pool

    def cluster(self) -> str:
        """The number that the pool gave to the first submission."""
        found = sorted(remembered.every(self.site.folder / "pilots"), key=lambda one: one.cluster)
        return str(found[0].cluster) if found else ""

    def kill_slot(self) -> None:
        """End all that runs in the slot of a pilot, as when a part of the machine dies."""
        starters = {one.pid: one for one in psutil.process_iter() if one.name() == STARTER}
        for one in sorted(psutil.process_iter(), key=lambda one: one.pid):
            with contextlib.suppress(psutil.Error):
                if self.is_pilot(one):
                    above = [up for up in one.parents() if up.pid in starters]
                    for each in (*above, one):
                        each.kill()


def removed(day: CondorDay) -> Plan:
    """The pilot hangs and hears nothing any more."""
    yield day.began
    day.hang()
    day.pool.run("condor_rm", day.cluster())


def told_to_go(day: CondorDay) -> Plan:
    yield day.began
    day.pool.run("condor_rm", day.cluster())


def held(day: CondorDay) -> Plan:
    yield day.began
    day.pool.run("condor_hold", "-reason", "not now", day.cluster())
    yield lambda: day.shows("held")
    day.pool.run("condor_release", day.cluster())


def vacated(day: CondorDay) -> Plan:
    yield day.began
    day.pool.run("condor_vacate_job", day.cluster())


def requeued(day: CondorDay) -> Plan:
    yield from vacated(day)
    yield (
        lambda: (
            day.look() and any(one["batch_id"].endswith(":0:1") for one in day.seen[-1]["pilots"])
        )
    )


def node_lost(day: CondorDay) -> Plan:
    yield day.began
    day.kill_slot()
    yield lambda: day.ended("node-failure")


def schedd_down(day: CondorDay) -> Plan:
    """The schedd dies, and for a while nobody starts it again."""
    yield day.is_alone
    master = day.pool.pid_of("condor_master")
    os.kill(master, signal.SIGSTOP)
    try:
        os.kill(day.pool.pid_of("condor_schedd"), signal.SIGKILL)
        yield lambda: day.shows("unknown")
    finally:
        os.kill(master, signal.SIGCONT)


def overlong(day: CondorDay) -> Plan:
    """The operator gave a time that the pilot does not know of."""
    yield lambda: day.ended("time-limit")


def options(*lines: str) -> str:
    words = ", ".join(f"'{one}'" for one in lines)
    return f"options = [{words}]"


SCRIPTS: dict[str, Script[CondorDay]] = {
    "removed": Script(removed, "signal_s = 2"),
    "told-to-go": Script(told_to_go),
    "held": Script(held),
    "requeued": Script(requeued, "requeue = true"),
    "evicted": Script(vacated),
    "node-lost": Script(node_lost, options(LEASE)),
    "schedd-down": Script(schedd_down, "requeue = true"),
    "overlong": Script(overlong, options(*WALLTIME), jobs=1),
    DISK_FULL: Script(playing.disk_full),
    "moved": Script(playing.moved),
    "two-relays": Script(playing.two_relays),
}


@pytest.fixture(scope="module")
def days(
    htcondor: htcondors.Pool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Days[CondorDay]]:
    """Play all days to their end."""
    root = tmp_path_factory.mktemp("days")
    make = partial(CondorDay, pool=htcondor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "GRACE_S", GRACE_S)
        with playing.played(
            root, htcondor.environment, SCRIPTS, make, "htcondor", htcondor.small
        ) as found:
            yield found
            for day in found.by_name.values():
                for one in remembered.every(day.site.folder / "pilots"):
                    htcondor.said("condor_rm", "-forcex", str(one.cluster))
                    htcondor.said("condor_rm", str(one.cluster))


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_lost_and_nothing_counts_twice(days: Days[CondorDay], name: str) -> None:
    days.succeeded_once(name)


def test_a_pilot_removed_and_killed_is_told_of(days: Days[CondorDay]) -> None:
    assert "ended: cancelled (via condor_rm" in days.told("removed", "cancelled")


@pytest.mark.parametrize("name", ["told-to-go", "held", "requeued", "evicted", "overlong"])
def test_a_pilot_that_is_told_to_go_says_so_itself(days: Days[CondorDay], name: str) -> None:
    assert days.fates(name) == {"preempted", "success"}
    days.told_to_end(name)


def test_a_held_pilot_is_shown_with_its_reason_and_an_alarm(days: Days[CondorDay]) -> None:
    days.held_with("held", "not now")


def test_what_htcondor_started_again_is_another_pilot(days: Days[CondorDay]) -> None:
    shown = {one["batch_id"] for seen in days.by_name["requeued"].seen for one in seen["pilots"]}
    (again,) = [one for one in shown if one.endswith(":0:1")]
    before = f"{again[:-1]}0"
    assert f"in {before}, lease" in days.told("requeued", "preempted")
    assert f"in {before}, lease" not in days.told("requeued", "success")


def test_a_lost_node_is_told_of(days: Days[CondorDay]) -> None:
    assert "ended: node-failure (its node was lost" in days.told("node-lost", "node-failure")


def test_while_the_schedd_was_away_pilots_were_unknown_and_worked_on(
    days: Days[CondorDay],
) -> None:
    days.unknown_meanwhile("schedd-down")


def test_a_full_disk_costs_time_and_no_try(days: Days[CondorDay]) -> None:
    days.cost_no_try(DISK_FULL)


def test_a_relay_that_lost_its_memory_goes_on_with_the_pilots_that_run(
    days: Days[CondorDay],
) -> None:
    days.found_again("moved")


def test_relays_at_once_submit_no_pilot_twice(days: Days[CondorDay]) -> None:
    assert days.fates("two-relays") == {"success"}


def test_the_pages_were_written_all_the_while(days: Days[CondorDay]) -> None:
    days.pages_written()


def test_central_is_sound_in_the_end(days: Days[CondorDay], tmp_path: Path) -> None:
    days.sound(tmp_path / "central")
