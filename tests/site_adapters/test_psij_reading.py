"""What PBS, LSF and Slurm print, read by PSI/J's parsers; the scripts that they are given."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_adapters.contract import Ending, PilotRequest, PilotState, SubmitFailed
from site_adapters.errors import SchedulerFailed
from site_adapters.psij import judge, reading, remembered
from site_adapters.psij.adapter import PsijAdapter
from site_adapters.psij.judge import GONE_US, Look, standing
from site_adapters.psij.orders import Orders
from site_adapters.psij.records import Marks, Submission, batch_id, parse_batch_id
from site_adapters.psij.script import Batch, script

PBS = {
    "timestamp": 1790000000,
    "pbs_version": "22.05.11",
    "pbs_server": "pbs1",
    "Jobs": {
        "10.pbs1": {"Job_Name": "0.submit", "job_state": "Q", "comment": "Not enough ncpus"},
        "11.pbs1": {"Job_Name": "0.submit", "job_state": "R", "resources_used": {"ncpus": 4}},
        "12.pbs1": {"Job_Name": "0.submit", "job_state": "F", "Exit_status": 0},
        "13.pbs1": {"Job_Name": "0.submit", "job_state": "F", "Exit_status": 271},
        "14.pbs1": {"Job_Name": "0.submit", "job_state": "?new?"},
        "15.pbs1": {"Job_Name": "0.submit", "job_state": "F", "Exit_status": 265},
    },
}
NO_REASONS = {"EXIT_REASON": "", "KILL_REASON": "", "SUSPEND_REASON": ""}
LSF = {
    "COMMAND": "bjobs",
    "JOBS": 6,
    "RECORDS": [
        {"JOBID": "20", "STAT": "PEND", **NO_REASONS},
        {"JOBID": "21", "STAT": "RUN", **NO_REASONS},
        {"JOBID": "22", "STAT": "DONE", **NO_REASONS},
        {"JOBID": "23", "STAT": "EXIT", **NO_REASONS, "EXIT_REASON": "TERM_RUNLIMIT: killed"},
        {"JOBID": "24", "STAT": "SOMETHING", **NO_REASONS},
        {"JOBID": "25", "ERROR": "Job <25> is not found"},
    ],
}
SLURM = (
    "JOBID               ST                  REASON\n"
    "30                  PD                  Resources\n"
    "31                  R                   None\n"
    "32                  XX                  None\n"
    "33                  PD                  Nodes required for job\n"
    "34                  CA                  None\n"
)
ONE = Submission("one", jobs=1, submitted_us=10, native={0: "7"})
REQUEST = PilotRequest("one", ("echo", "{batch_id}"), Path("/tmp"))
BEGUN = Marks(claimed=True, native="7", began_us=50)


def read(folder: Path, scheduler: str, status: int, output: str) -> dict[str, list[str]]:
    found = Orders(scheduler, folder).give("read", status=status, output=output)
    assert isinstance(found, dict)
    return found


def shown(folder: Path, batch: Batch) -> str:
    told = {"script": "/pilots/0.sh", "submit": str(folder / "0.submit"), "batch": asdict(batch)}
    return str(Orders(batch.scheduler, folder).give("show", **told))


@pytest.mark.programs
def test_one_row_that_is_not_understood_hides_no_other(tmp_path: Path) -> None:
    pbs = read(tmp_path, "pbs", 153, json.dumps(PBS))
    assert {name: word for name, (word, _) in pbs.items()} == {
        "10.pbs1": "QUEUED",
        "11.pbs1": "ACTIVE",
        "12.pbs1": "COMPLETED",
        "13.pbs1": "FAILED",
        "14.pbs1": "?",
        "15.pbs1": "CANCELED",
    }
    assert pbs["10.pbs1"][1] == "Not enough ncpus"
    lsf = read(tmp_path, "lsf", 255, json.dumps(LSF))
    words = {name: word for name, (word, _) in lsf.items()}
    assert words == {"20": "QUEUED", "21": "ACTIVE", "22": "COMPLETED", "23": "FAILED", "24": "?"}
    assert lsf["23"][1] == "TERM_RUNLIMIT: killed"
    slurm = read(tmp_path, "slurm", 0, SLURM)
    words = {name: word for name, (word, _) in slurm.items()}
    assert words == {"30": "QUEUED", "31": "ACTIVE", "32": "?", "33": "?", "34": "CANCELED"}


@pytest.mark.parametrize(
    ("scheduler", "status", "output"),
    [
        ("pbs", 111, ""),
        ("pbs", 0, "qstat: cannot connect"),
        ("pbs", 0, "[]"),
        ("lsf", 0, ""),
        ("lsf", 255, "LSF is down. Please wait ..."),
        ("lsf", 1, json.dumps(LSF)),
        ("slurm", 1, SLURM),
        ("cobalt", 1, ""),
    ],
)
def test_what_is_no_answer_is_not_taken_for_an_empty_queue(
    scheduler: str, status: int, output: str
) -> None:
    with pytest.raises(ValueError):
        list(reading.rows(scheduler, status, output))


def test_a_queue_that_knows_none_of_the_ids_is_an_answer() -> None:
    assert list(reading.rows("pbs", 153, "")) == []


@pytest.mark.programs
def test_each_scheduler_is_told_the_walltime_the_queue_and_the_cores(tmp_path: Path) -> None:
    batch = Batch("pbs", 7200, queue="long", account="ice", cpus=8, options=("pbs.m=n",))
    pbs = shown(tmp_path, batch)
    for line in ("-l walltime=2:0:0", "-q long", "-A ice", '-m "n"', "place=scatter:exclhost"):
        assert f"#PBS {line}" in pbs or line in pbs
    assert "select=1:ncpus=8" in pbs
    lsf = shown(tmp_path, replace(batch, scheduler="lsf", exclusive=False, options=()))
    for line in ("-nnodes 1", "-n 8", "-W 2:0", '-q "long"'):
        assert f"#BSUB {line}\n" in lsf
    for text in (pbs, lsf):
        assert text.count("exec /bin/sh /pilots/0.sh") == 1


@pytest.mark.programs
def test_a_batch_job_that_never_was_taken_is_claimed_and_then_starts_no_pilot(
    tmp_path: Path,
) -> None:
    remembered.write_script(tmp_path, "one", 0, "")
    files, log = remembered.files(tmp_path, "one"), tmp_path / "log"
    path = remembered.write_script(
        tmp_path, "one", 0, script(REQUEST, Batch("pbs", 60), 0, files, log)
    )
    assert remembered.claim(tmp_path, "one", 0)
    assert subprocess.run(["/bin/sh", path], check=False, capture_output=True).returncode == 75
    assert not log.exists()
    assert remembered.marks(tmp_path, "one", 0) == Marks(claimed=True)


@pytest.mark.programs
def test_a_script_that_is_started_twice_starts_one_pilot_and_marks_its_end(tmp_path: Path) -> None:
    files, log = remembered.files(tmp_path, "one"), tmp_path / "log"
    request = replace(REQUEST, argv=("sh", "-c", "echo $0; exit 3", "{batch_id}"))
    text = script(request, Batch("pbs", 60), 0, files, log)
    path = remembered.write_script(tmp_path, "one", 0, text)
    told = {"PATH": "/usr/bin:/bin", "PBS_JOBID": "12.pbs1"}
    run = [
        subprocess.run(["/bin/sh", path], env=told, check=False, capture_output=True).returncode
        for _ in range(2)
    ]
    assert run == [3, 75]
    assert log.read_text() == "psij:one:0\n"
    marks = remembered.marks(tmp_path, "one", 0)
    assert (marks.native, marks.status, marks.claimed) == ("12.pbs1", 3, True)
    assert not remembered.claim(tmp_path, "one", 0)


@pytest.mark.parametrize(
    ("word", "marks", "state", "ending"),
    [
        ("QUEUED", Marks(), PilotState.WAITING, None),
        ("QUEUED", BEGUN, PilotState.RUNNING, None),
        ("ACTIVE", BEGUN, PilotState.RUNNING, None),
        ("?", BEGUN, PilotState.UNKNOWN, None),
        ("COMPLETED", BEGUN, PilotState.ABSENT, Ending.COMPLETED),
        ("FAILED", replace(BEGUN, status=1), PilotState.ABSENT, Ending.FAILED),
        ("FAILED", BEGUN, PilotState.ABSENT, Ending.UNKNOWN),
        ("FAILED", Marks(), PilotState.ABSENT, Ending.NEVER_BEGAN),
        ("CANCELED", replace(BEGUN, status=0), PilotState.ABSENT, Ending.CANCELLED),
        ("ACTIVE", replace(BEGUN, native="8"), PilotState.UNKNOWN, None),
    ],
)
def test_what_the_queue_says_is_completed_by_the_marks(
    word: str, marks: Marks, state: PilotState, ending: Ending | None
) -> None:
    found = standing(ONE, 0, marks, Look(100, {"7": (word, "")}), submits=False)
    assert found.state is state
    assert (judge.ending_of(found.word) if found.word else None) is ending


def test_what_left_the_queue_is_gone_at_once_only_where_it_marked_its_end() -> None:
    empty = Look(100, {})
    ended = standing(ONE, 0, replace(BEGUN, status=0), empty, submits=False)
    assert (ended.state, ended.word) == (PilotState.ABSENT, judge.DONE)
    for marks, word in ((BEGUN, judge.GONE), (Marks(), judge.NEVER)):
        assert standing(ONE, 0, marks, empty, submits=False).state is PilotState.UNKNOWN
        later = replace(ONE, missing_us={0: 100})
        found = standing(later, 0, marks, Look(100 + GONE_US, {}), submits=False)
        assert (found.state, found.word) == (PilotState.ABSENT, word)


def test_an_id_is_known_whether_or_not_it_names_its_server() -> None:
    one = replace(ONE, native={0: "7.pbs1"})
    marks = replace(BEGUN, native="7.pbs1.example.org")
    look = Look(100, {"7": ("ACTIVE", "")})
    assert standing(one, 0, marks, look, submits=False).state is PilotState.RUNNING


def test_a_pilot_that_began_and_waits_again_is_unknown() -> None:
    look = Look(judge.AGAIN_US + 1000, {"7": ("QUEUED", "")})
    assert standing(ONE, 0, BEGUN, look, submits=False).state is PilotState.UNKNOWN


@given(
    st.sampled_from([Marks(), Marks(claimed=True), BEGUN, replace(BEGUN, status=1)]),
    st.booleans(),
    st.dictionaries(st.just(0), st.integers(0, 10)),
)
def test_nothing_is_gone_while_the_scheduler_does_not_answer(
    marks: Marks, submits: bool, missing: dict[int, int]
) -> None:
    one = replace(ONE, missing_us=missing)
    found = standing(one, 0, marks, Look(10 * GONE_US, None, "no answer"), submits)
    assert (found.state, found.reason) == (PilotState.UNKNOWN, "no answer")


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True), st.integers(0, 999))
def test_a_batch_id_is_read_as_it_was_made(name: str, job: int) -> None:
    assert parse_batch_id(batch_id(name, job)) == (name, job)
    assert parse_batch_id(f"slurm:{name}:{job}") is None


@pytest.mark.programs
def test_a_scheduler_whose_programs_are_not_here_is_a_failed_submission_and_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    adapter = PsijAdapter(tmp_path / "pilots", Batch("pbs", 60))
    with pytest.raises(SubmitFailed) as refused:
        adapter.submit(REQUEST)
    assert "qsub" in refused.value.text()
    assert adapter.survey() == {}
    (finding,) = adapter.examine()
    assert "qstat" in finding.found
    assert finding.remedy


@pytest.mark.programs
def test_a_program_that_never_answers_leaves_the_submission_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qsub = tmp_path / "bin" / "qsub"
    qsub.parent.mkdir()
    qsub.write_text("#!/bin/sh\nexec sleep 60\n")
    qsub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{qsub.parent}:/usr/bin:/bin")
    adapter = PsijAdapter(tmp_path / "pilots", Batch("pbs", 60), poll_s=0, limit_s=3)
    assert adapter.submit(REQUEST) == ("psij:one:0",)
    (view,) = adapter.survey().values()
    assert view.state is PilotState.UNKNOWN
    assert adapter.submit(REQUEST) == ("psij:one:0",)
    with pytest.raises(SchedulerFailed):
        Orders("pbs", tmp_path, 60).give("look", ids=["1"])


@pytest.mark.programs
def test_without_psij_each_order_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", f"{sys.base_prefix}/bin/python3")
    adapter = PsijAdapter(tmp_path / "pilots", Batch("pbs", 60))
    with pytest.raises(SubmitFailed):
        adapter.submit(REQUEST)
    (finding,) = adapter.examine()
    assert "psij-python" in finding.found
    assert "pulk[psij]" in finding.remedy
