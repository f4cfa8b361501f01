"""The HTCondor adapter on a real pool: two partitionable slots, a schedd reached by token."""

from __future__ import annotations

import io
import os
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from site_adapters.contract import Ending, PilotRequest, PilotState, SubmitFailed
from site_adapters.htcondor import remembered
from site_adapters.htcondor.adapter import HTCondorAdapter
from site_adapters.htcondor.description import Batch
from tests.site_adapters.conformance import (
    SLEEPER,
    Conformance,
    Make,
    Submitting,
    until,
    wait_for,
)
from tests.testbed import htcondor as htcondors

pytestmark = pytest.mark.programs

STAYER = (
    "import pathlib, sys, time; pathlib.Path(sys.argv[1].replace(':', '-')).touch()\ntime.sleep(60)"
)
ONE = Batch(exclusive=False, cpus=1, memory_mib=100, vacate_s=5)


@pytest.fixture(autouse=True)
def reached(htcondor: htcondors.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in htcondor.environment.items():
        monkeypatch.setenv(name, value)


class Site(Submitting[Batch]):
    """See the base."""

    def adapter(self, batch: Batch | None = None) -> HTCondorAdapter:
        return HTCondorAdapter(self.folder / "pilots", batch or ONE, poll_s=0, limit_s=20)

    def cluster(self) -> str:
        (one,) = remembered.every(self.folder / "pilots")
        return str(one.cluster)


@pytest.fixture
def site(tmp_path: Path, htcondor: htcondors.Pool) -> Iterator[Site]:
    yield Site(tmp_path)
    for one in remembered.every(tmp_path / "pilots"):
        if not one.is_over:
            htcondor.said("condor_rm", "-forcex", str(one.cluster))
            htcondor.said("condor_rm", str(one.cluster))


class TestHTCondor(Conformance):
    """All sentences of the contract."""

    @pytest.fixture
    def make(self, site: Site) -> Make:
        return site.adapter


def test_a_pilot_removed_from_outside_is_absent_and_says_so(
    site: Site, htcondor: htcondors.Pool
) -> None:
    first, second = site.submit(SLEEPER, jobs=2)
    wait_for(site.adapter(), first, PilotState.RUNNING)
    htcondor.run("condor_rm", f"{site.cluster()}.0")
    view = wait_for(site.adapter(), first, PilotState.ABSENT)
    assert view.ending is Ending.CANCELLED
    assert "condor_rm" in view.reason
    assert wait_for(site.adapter(), second, PilotState.RUNNING).job == f"{site.cluster()}.1"
    assert site.adapter().clear(first, "")


def test_a_held_pilot_names_the_reason_and_runs_when_released(
    site: Site, htcondor: htcondors.Pool
) -> None:
    (batch_id,) = site.submit("pass", batch=replace(ONE, options=("hold = true",)))
    assert "hold code 15" in wait_for(site.adapter(), batch_id, PilotState.HELD).reason
    htcondor.run("condor_release", site.cluster())
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.COMPLETED


def test_a_pilot_that_is_held_while_it_runs_ends_and_none_comes_in_its_place(
    site: Site, htcondor: htcondors.Pool
) -> None:
    (batch_id,) = site.submit(SLEEPER)
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    htcondor.run("condor_hold", "-reason", "not now", site.cluster())
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.REQUEUED
    waiting = batch_id[:-1] + "1"
    assert site.adapter().survey()[waiting].state is PilotState.HELD
    assert "not now" in site.adapter().survey()[waiting].reason
    assert site.adapter().clear(batch_id, "")
    htcondor.run("condor_release", site.cluster())
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is not None
    until(lambda: waiting not in site.adapter().survey())
    until(lambda: not htcondor.said("condor_q", "-af", "ProcId", "-constraint", mine(site)))


def mine(site: Site) -> str:
    return f"ClusterId == {site.cluster()}"


def test_an_evicted_pilot_is_over_and_its_job_leaves_the_queue(
    site: Site, htcondor: htcondors.Pool
) -> None:
    (batch_id,) = site.submit(SLEEPER)
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    htcondor.run("condor_vacate_job", site.cluster())
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.PREEMPTED
    assert site.adapter().clear(batch_id, "")
    until(lambda: not htcondor.said("condor_q", "-af", "ProcId", "-constraint", mine(site)))


def test_what_htcondor_starts_again_is_another_pilot(site: Site, htcondor: htcondors.Pool) -> None:
    (first,) = site.submit(STAYER, batch=replace(ONE, requeue=True))
    until((site.folder / first.replace(":", "-")).exists)
    htcondor.run("condor_vacate_job", site.cluster())
    assert wait_for(site.adapter(), first, PilotState.ABSENT).ending is Ending.REQUEUED
    assert site.adapter().clear(first, "")
    again = first[:-1] + "1"
    until((site.folder / again.replace(":", "-")).exists)
    assert wait_for(site.adapter(), again, PilotState.RUNNING).ending is None
    assert site.adapter().survey()[first].state is PilotState.ABSENT


def test_a_pilot_is_cut_off_at_the_end_of_its_walltime(
    site: Site, htcondor: htcondors.Pool
) -> None:
    code = (
        "import os, pathlib, time; pathlib.Path('end').write_text("
        "str(float(os.environ['PULK_ALLOCATION_END']) - time.time())); time.sleep(60)"
    )
    (batch_id,) = site.submit(code, batch=replace(ONE, walltime_s=3))
    view = wait_for(site.adapter(), batch_id, PilotState.ABSENT)
    assert view.ending is Ending.TIME_LIMIT
    assert 1 < float((site.folder / "end").read_text()) < 4
    assert site.adapter().clear(batch_id, "")
    until(lambda: not htcondor.said("condor_q", "-af", "ProcId", "-constraint", mine(site)))


def test_a_restart_of_the_schedd_makes_nothing_gone(site: Site, htcondor: htcondors.Pool) -> None:
    (batch_id,) = site.submit(SLEEPER, batch=replace(ONE, requeue=True))
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    os.kill(htcondor.pid_of("condor_schedd"), signal.SIGKILL)
    seen: set[PilotState] = set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        view = site.adapter().survey()[batch_id]
        seen.add(view.state)
        assert view.state in (PilotState.RUNNING, PilotState.UNKNOWN), view
        assert not site.adapter().survey().keys() - {batch_id}
        time.sleep(0.3)
    assert seen == {PilotState.RUNNING, PilotState.UNKNOWN}
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    site.adapter().cancel([batch_id])
    assert wait_for(site.adapter(), batch_id, PilotState.ABSENT).ending is Ending.CANCELLED


def test_a_pool_that_does_not_answer_makes_pilots_unknown(
    site: Site, monkeypatch: pytest.MonkeyPatch, htcondor: htcondors.Pool
) -> None:
    (batch_id,) = site.submit(SLEEPER)
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    schedd = htcondor.pid_of("condor_schedd")
    os.kill(schedd, signal.SIGSTOP)
    try:
        impatient = HTCondorAdapter(site.folder / "pilots", ONE, poll_s=0, limit_s=1)
        view = impatient.survey()[batch_id]
        assert view.state is PilotState.UNKNOWN
        assert "no answer within 1 s" in view.reason
        assert "a moment ago" in impatient.survey()[batch_id].reason  # not every order waits
        assert not impatient.clear(batch_id, "")
    finally:
        os.kill(schedd, signal.SIGCONT)
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)


def test_a_submission_whose_answer_was_never_written_down_is_found_by_its_name(
    site: Site,
) -> None:
    (batch_id,) = site.submit(SLEEPER)
    folder = site.folder / "pilots"
    (one,) = remembered.every(folder)
    remembered.save(folder, replace(one, cluster=0, submitter=(0, 0)))
    assert wait_for(site.adapter(), batch_id, PilotState.RUNNING).job == f"{one.cluster}.0"
    assert site.cluster() == str(one.cluster)
    assert site.adapter().submit(PilotRequest(site.name, ("x",), site.folder)) == (batch_id,)


def test_pilots_are_found_again_where_all_files_are_lost(site: Site) -> None:
    ids = site.submit(STAYER, jobs=2)
    until(lambda: len(list(site.folder.glob("htcondor-*"))) == 2)  # their script was read
    cluster = site.cluster()
    for path in (site.folder / "pilots").iterdir():
        path.unlink()
    assert set(site.adapter().survey()) == set(ids)
    assert site.cluster() == cluster


def test_whole_slots_are_asked_for_where_nothing_else_is_said(
    site: Site, htcondor: htcondors.Pool
) -> None:
    (batch_id,) = site.submit(SLEEPER, batch=Batch(vacate_s=5))
    wait_for(site.adapter(), batch_id, PilotState.RUNNING)
    shown = ("condor_status", "-af", "SlotType", "Cpus", "Memory")
    until(lambda: "Dynamic 2 2048" in htcondor.said(*shown).splitlines())


def test_limits_and_findings_are_the_pools(
    site: Site, tmp_path: Path, htcondor: htcondors.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = site.adapter().limits()
    assert limits is not None
    assert (limits.nodes, limits.cpus, limits.memory_mib, limits.gpus) == (2, 2, 2048, ())
    assert not [one for one in site.adapter().examine() if one.remedy]
    wrong = HTCondorAdapter(tmp_path / "other", ONE, schedd="nobody@", limit_s=20).examine()
    assert [one.name for one in wrong if one.remedy] == ["htcondor"]
    for name in ("COLLECTOR_HOST", "SCHEDD_HOST", "CONDOR_HOST"):
        monkeypatch.setenv(f"_CONDOR_{name}", "")
    where = (f"127.0.0.1:{htcondor.port}", "testbed@")
    named = HTCondorAdapter(tmp_path / "other", ONE, *where, limit_s=20).examine()
    assert not [one for one in named if one.remedy], named


def test_who_has_no_token_is_told_so(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("_CONDOR_SEC_TOKEN_DIRECTORY", str(tmp_path / "none"))
    with pytest.raises(SubmitFailed):
        site.submit(SLEEPER)
    assert "a token" in site.adapter().examine()[0].remedy
    assert not list(remembered.every(site.folder / "pilots"))


SEALER = (
    "import os, signal, sys, time\n"
    "def seal(*_): open('spool/sealed/x', 'w').write(sys.argv[1]); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, seal)\n"
    "open('spool/claimed/begun', 'w').write(open('spool/data/given').read())\n"
    "open('spool/data/made', 'w').close(); time.sleep(float(sys.argv[2])); seal()\n"
)
CARRIED = replace(ONE, carries=True, vacate_s=10)


def send(site: Site, batch: Batch, lasts_s: float) -> str:
    parcel = site.folder / "parcel.tar"
    with tarfile.open(parcel, "w") as tar:
        for name, text in (("inputs", "given\n"), ("spool/data/given", "hello")):
            about = tarfile.TarInfo(name)
            about.size = len(text)
            tar.addfile(about, io.BytesIO(text.encode()))
    argv = (sys.executable, "-I", "-c", SEALER, "{batch_id}", str(lasts_s))
    request = PilotRequest(site.name, argv, site.folder, parcel=parcel)
    (batch_id,) = site.adapter(batch).submit(request)
    parcel.unlink()
    return batch_id


@pytest.mark.parametrize(
    ("deed", "walltime_s", "ending"),
    [
        ((), 0, Ending.COMPLETED),
        ((), 3, Ending.TIME_LIMIT),
        (("condor_rm",), 0, Ending.CANCELLED),
        (("condor_vacate_job",), 0, Ending.PREEMPTED),
    ],
)
def test_what_a_pilot_made_comes_back_without_a_shared_filesystem(
    site: Site, htcondor: htcondors.Pool, deed: tuple[str, ...], walltime_s: int, ending: Ending
) -> None:
    batch = replace(CARRIED, walltime_s=walltime_s)
    batch_id = send(site, batch, 60 if deed or walltime_s else 0.5)
    assert site.adapter(batch).survey()[batch_id].state in (PilotState.WAITING, PilotState.RUNNING)
    if deed:
        wait_for(site.adapter(batch), batch_id, PilotState.RUNNING)
        time.sleep(1.5)
        htcondor.run(*deed, site.cluster())
    assert site.adapter(batch).returned(batch_id) is None
    assert wait_for(site.adapter(batch), batch_id, PilotState.ABSENT).ending is ending
    assert not site.adapter(batch).clear(batch_id, "")
    back: list[Path] = []
    until(lambda: back.extend(filter(None, [site.adapter(batch).returned(batch_id)])) or back)
    files = {str(one.relative_to(back[0])): one for one in back[0].rglob("*") if one.is_file()}
    assert set(files) == {"sealed/x", "claimed/begun", "data/made"}
    assert files["sealed/x"].read_text() == batch_id
    assert files["claimed/begun"].read_text() == "hello"
    assert site.adapter(batch).clear(batch_id, "")
    until(lambda: not htcondor.said("condor_q", "-af", "ProcId", "-constraint", mine(site)))
    site.adapter(batch).forget(batch_id)
    assert not site.adapter(batch).survey()


def test_a_pilot_that_was_killed_at_once_has_nothing_to_bring(
    site: Site, htcondor: htcondors.Pool
) -> None:
    batch_id = send(site, CARRIED, 60)
    wait_for(site.adapter(CARRIED), batch_id, PilotState.RUNNING)
    htcondor.run("condor_vacate_job", "-fast", site.cluster())
    wait_for(site.adapter(CARRIED), batch_id, PilotState.ABSENT)
    until(lambda: site.adapter(CARRIED).returned(batch_id))
    until(lambda: site.adapter(CARRIED).clear(batch_id, ""))
    assert not list((site.folder / "pilots").glob("*.back/*"))
