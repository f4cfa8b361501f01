"""What people, machines and Slurm do to batch jobs: nothing is lost, nothing counts twice.

All days at the same time, for a minute is Slurm's shortest walltime.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from site_adapters.slurm import adapter, remembered
from tests.sites import days as playing
from tests.sites.days import DISK_FULL, Day, Days, Plan, Script
from tests.testbed import slurm as slurms

pytestmark = [pytest.mark.programs, pytest.mark.timeout(900)]

GRACE_S = 3.0  # after a node's failure, in place of the two minutes


@dataclass(slots=True, kw_only=True)
class SlurmDay(Day):
    """A day whose pilots are batch jobs of Slurm."""

    slurm: slurms.Cluster

    def array(self) -> str:
        """The id that Slurm gave to the first submission."""
        found = sorted(remembered.every(self.site.folder / "pilots"), key=lambda one: one.array)
        return str(found[0].array) if found else ""

    def state(self) -> str:
        """What accounting says of that submission."""
        return self.slurm.said("sacct", "-n", "-X", "-o", "State", "-j", self.array() or "0")

    def steps(self) -> list[psutil.Process]:
        """Slurm's own process beside that batch job."""
        found, title = [], f"slurmstepd: [{self.array()}."
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if " ".join(one.cmdline()).startswith(title):
                    found.append(one)
        return found


def cancelled(day: SlurmDay) -> Plan:
    """Pilot and node hang and hear nothing any more; then both are killed."""
    yield day.began
    hanging = [*day.steps(), *day.hang()]
    for one in hanging:
        one.suspend()
    day.slurm.run("scancel", day.array())
    for one in reversed(hanging):
        with contextlib.suppress(psutil.Error):
            one.kill()


def told_to_go(day: SlurmDay) -> Plan:
    yield day.began
    day.slurm.run("scancel", day.array())


def held(day: SlurmDay) -> Plan:
    yield lambda: day.shows("held")
    config = day.site.folder / "relay.toml"
    config.write_text(config.read_text().replace('"--hold", ', ""))
    day.slurm.run("scontrol", "release", day.array())


def requeued(day: SlurmDay) -> Plan:
    yield day.began
    day.slurm.run("scontrol", "requeue", f"{day.array()}_0")


def node_failed(day: SlurmDay) -> Plan:
    yield day.began
    day.slurm.kill_node("n4")
    for one in [*day.steps(), *day.hang()]:  # the power is cut
        with contextlib.suppress(psutil.Error):
            one.kill()
    yield lambda: "NODE_FAIL" in day.state()
    day.slurm.start_node("n4")


def controller_down(day: SlurmDay) -> Plan:
    yield day.is_alone
    day.slurm.stop_controller()
    since = time.monotonic()
    day.go()
    yield lambda: day.shows("unknown") and time.monotonic() - since > 3
    day.slurm.start_controller()


def overlong(day: SlurmDay) -> Plan:
    """The operator gave a time that the pilot does not know of (Slurm tells it from 23.02 on)."""
    yield lambda: "TIMEOUT" in day.state()


def preempted(day: SlurmDay) -> Plan:
    yield day.began
    argv = ("--parsable", "--nodelist=n3", "--cpus-per-task=4", "--mem=300", "--output=/dev/null")
    day.slurm.run("sbatch", *argv, "--partition=debug", "--wrap=sleep 3")
    yield lambda: "PREEMPTED" in day.state()


def on(node: str, *more: str) -> str:
    words = ", ".join(f'"{one}"' for one in (*more, f"--nodelist={node}"))
    return f"options = [{words}]"


SCRIPTS: dict[str, Script[SlurmDay]] = {
    "cancelled": Script(cancelled, on("n1")),
    "told-to-go": Script(told_to_go, on("n1")),
    "held": Script(held, on("n1", "--hold")),
    "requeued": Script(requeued, f"requeue = true\n{on('n2')}"),
    "node-failed": Script(node_failed, on("n4")),
    "controller-down": Script(controller_down, on("n2")),
    "overlong": Script(
        overlong,
        f"signal_s = 0\n{on('n1', '--time=1')}",
        "last_starts_s = 1\ncheckpoint_s = 0\nstop_s = 0",
        jobs=1,
    ),
    "preempted": Script(preempted, f'partition = "low"\n{on("n3")}'),
    DISK_FULL: Script(playing.disk_full, on("n2")),
    "moved": Script(playing.moved, on("n1")),
    "two-relays": Script(playing.two_relays, on("n2")),
}


@pytest.fixture(scope="module")
def days(
    slurm: slurms.Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Days[SlurmDay]]:
    """Play all days to their end."""
    root = tmp_path_factory.mktemp("days")
    make = partial(SlurmDay, slurm=slurm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "NODE_GRACE_S", GRACE_S)
        with playing.played(root, slurm.environment, SCRIPTS, make, "slurm") as found:
            yield found
            for day in found.by_name.values():
                for one in remembered.every(day.site.folder / "pilots"):
                    slurm.said("scancel", "--signal=KILL", "--full", str(one.array))


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_lost_and_nothing_counts_twice(days: Days[SlurmDay], name: str) -> None:
    days.succeeded_once(name)


def test_a_pilot_cancelled_and_killed_is_told_of(days: Days[SlurmDay]) -> None:
    assert "ended: cancelled (CANCELLED" in days.told("cancelled", "cancelled")


def test_a_pilot_that_is_told_to_go_says_so_itself(days: Days[SlurmDay]) -> None:
    days.told_to_end("told-to-go")


def test_a_held_batch_job_is_shown_with_its_reason_and_an_alarm(days: Days[SlurmDay]) -> None:
    days.held_with("held", "JobHeld")


def test_what_slurm_started_again_is_told_of(days: Days[SlurmDay]) -> None:
    (fate,) = days.fates("requeued") - {"success"}
    assert fate in ("preempted", "lost")
    assert "it uses up no try" in days.told("requeued", fate)


def test_a_failed_node_is_told_of(days: Days[SlurmDay]) -> None:
    assert "ended: node-failure (NODE_FAIL" in days.told("node-failed", "node-failure")


def test_while_the_controller_was_away_pilots_were_unknown_and_worked_on(
    days: Days[SlurmDay],
) -> None:
    days.unknown_meanwhile("controller-down")


def test_the_end_of_a_walltime_is_told_of(days: Days[SlurmDay]) -> None:
    ends = days.fates("overlong") - {"success"}
    assert ends <= {"preempted", "allocation-end"}, "it may not use up a try"
    assert "the pilot was told to end" in days.told("overlong", ends.pop())


def test_a_preempted_pilot_is_told_of(days: Days[SlurmDay]) -> None:
    assert "preempted" in days.told("preempted", "preempted")


def test_a_full_disk_costs_time_and_no_try(days: Days[SlurmDay]) -> None:
    days.cost_no_try(DISK_FULL)


def test_a_relay_that_lost_its_memory_goes_on_with_the_pilots_that_run(
    days: Days[SlurmDay],
) -> None:
    days.found_again("moved")


def test_relays_at_once_submit_no_pilot_twice(days: Days[SlurmDay]) -> None:
    assert days.fates("two-relays") == {"success"}


def test_the_pages_were_written_all_the_while(days: Days[SlurmDay]) -> None:
    days.pages_written()


def test_central_is_sound_in_the_end(days: Days[SlurmDay], tmp_path: Path) -> None:
    days.sound(tmp_path / "central")
