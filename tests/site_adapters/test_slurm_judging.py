"""What looks at queue and accounting mean, what sbatch is given, and programs that misbehave."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_adapters.contract import Ending, PilotRequest, PilotState, SubmitFailed
from site_adapters.errors import SchedulerFailed
from site_adapters.slurm import commands, judge, remembered
from site_adapters.slurm.adapter import SlurmAdapter
from site_adapters.slurm.job_ids import JobId
from site_adapters.slurm.jobs import Job
from site_adapters.slurm.judge import GONE_US, Look
from site_adapters.slurm.records import Ended, Submission
from site_adapters.slurm.script import Batch, batch_id, options, parse_batch_id, script
from tests.site_adapters.conformance import until

ONE = Submission("one", jobs=1, nodes=1, submitted_us=10, array=7)
FIRST = "slurm:one:0:0:0"


def row(*states: str, restarts: int | None = None, reason: str = "") -> Job:
    return Job(JobId(7, 0), states, "one", reason=reason, restarts=restarts)


def look(*rows: Job, at_us: int = 100, past: Sequence[Job] | None = None) -> Look:
    accounting = None if past is None else judge.by_element(past)
    return Look(at_us, {at: each[-1] for at, each in judge.by_element(rows).items()}, accounting)


def seen(one: Submission, at: Look) -> tuple[Submission, dict[str, tuple[PilotState, str]]]:
    now, views = judge.judge(one, at)
    return now, {view.batch_id: (view.state, view.reason) for view in views}


def test_what_is_not_in_the_queue_is_unknown_until_accounting_tells_its_end() -> None:
    now, views = seen(ONE, look())
    assert views[FIRST][0] is PilotState.UNKNOWN
    now, views = seen(now, look(past=[row("RUNNING")]))
    assert views[FIRST][0] is PilotState.UNKNOWN
    now, views = seen(now, look(past=[row("OUT_OF_MEMORY")]))
    assert views[FIRST][0] is PilotState.ABSENT
    assert judge.ending_of(now.ended[0].word) is Ending.OUT_OF_MEMORY
    assert seen(now, Look(200, None, None, "down"))[1] == views  # and stays so, come what may


def test_what_nobody_knows_for_ten_minutes_is_gone_and_what_comes_back_is_not() -> None:
    now, _ = seen(ONE, look(at_us=100))
    now, views = seen(now, look(at_us=99 + GONE_US, past=[]))
    assert views[FIRST][0] is PilotState.UNKNOWN
    back, views = seen(now, look(row("RUNNING"), at_us=100 + GONE_US))
    assert views[FIRST][0] is PilotState.RUNNING
    assert seen(back, look(at_us=101 + GONE_US))[1][FIRST][0] is PilotState.UNKNOWN
    gone, views = seen(now, look(at_us=100 + GONE_US))
    assert views[FIRST][0] is PilotState.ABSENT
    assert judge.ending_of(gone.ended[0].word) is Ending.UNKNOWN
    never, _ = seen(replace(now, array=0), look(at_us=100 + GONE_US))
    assert judge.ending_of(never.ended[0].word) is Ending.NEVER_BEGAN


def test_a_scheduler_that_does_not_answer_makes_nothing_gone_however_long() -> None:
    now = ONE
    for at_us in (100, 100 + GONE_US, 100 + 9 * GONE_US):
        now, views = seen(now, Look(at_us, None, None, "squeue failed"))
        assert views[FIRST] == (PilotState.UNKNOWN, "squeue failed")
    assert now == ONE


def test_a_submission_newer_than_the_look_waits() -> None:
    assert seen(ONE, look(at_us=10))[1][FIRST][0] is PilotState.WAITING
    assert not judge.missing(ONE, look(at_us=10))
    assert judge.missing(ONE, look(at_us=11)) == [0]


def test_each_start_of_a_batch_job_is_a_pilot_of_its_own() -> None:
    now, views = seen(ONE, look(row("PENDING", restarts=2)))
    states = [views[f"slurm:one:0:0:{again}"][0] for again in range(3)]
    assert states == [PilotState.ABSENT, PilotState.ABSENT, PilotState.WAITING]
    now, views = seen(now, Look(200, None, None, "down"))  # nor is that forgotten
    assert [one[0] for one in views.values()].count(PilotState.ABSENT) == 2
    rows = [row("PREEMPTED"), row("NODE_FAIL"), row("COMPLETED")]
    now, views = seen(ONE, look(past=rows))
    assert len(views) == 3
    assert now.ended[0] == Ended(2, "COMPLETED", 0)
    again, views = seen(now, look(row("RUNNING", restarts=3)))
    assert views["slurm:one:0:0:3"][0] is PilotState.RUNNING
    assert not again.ended


def test_a_held_one_names_its_reason_and_an_unknown_word_is_told() -> None:
    assert seen(ONE, look(row("PENDING", reason="JobHeldAdmin")))[1][FIRST] == (
        PilotState.HELD,
        "JobHeldAdmin",
    )
    assert seen(ONE, look(row("HIBERNATING")))[1][FIRST] == (
        PilotState.UNKNOWN,
        "state HIBERNATING",
    )


@given(st.lists(st.sampled_from(["PENDING", "RUNNING", "COMPLETED", "", "x", "down"]), max_size=8))
def test_an_end_once_seen_stays_whatever_looks_follow(words: list[str]) -> None:
    now, ended = ONE, False
    for number, word in enumerate(words):
        at = 100 + number
        if word == "down":
            now, views = seen(now, Look(at, None, None, word))
        else:
            now, views = seen(now, look(*([row(word)] if word else []), at_us=at))
        ended = ended or word == "COMPLETED"
        assert (views[FIRST][0] is PilotState.ABSENT) == ended


@given(st.text("abc.-_9", min_size=1), *[st.integers(0, 9999)] * 3)
def test_a_batch_id_is_read_back(name: str, job: int, node: int, restart: int) -> None:
    assert parse_batch_id(batch_id(name, job, node, restart)) == (name, job, node, restart)


def request(*argv: str, jobs: int = 1) -> PilotRequest:
    return PilotRequest("one", argv, Path("/somewhere"), (("ODD", "a 'b'"),), jobs)


def test_sbatch_is_told_what_the_operator_decided() -> None:
    batch = Batch(
        nodes=2, walltime_s=3601, partition="long", account="acc", qos="low", constraint="a&b",
        gres="gpu:2", signal_s=90, options=("--nice=5",),
    )  # fmt: skip
    told = options(request("x", jobs=3), batch, "said", "/log.%a")
    assert {
        "--time=61", "--partition=long", "--account=acc", "--qos=low", "--constraint=a&b",
        "--gres=gpu:2", "--array=0-2", "--nodes=2", "--ntasks-per-node=1", "--signal=TERM@90",
        "--exclusive", "--mem=0", "--no-requeue", "--no-kill", "--comment=said", "--nice=5",
    } <= set(told)  # fmt: skip
    single = options(request("x"), Batch(exclusive=False, requeue=True), "", "")
    assert {"--signal=B:TERM@60", "--requeue"} <= set(single)
    assert not [one for one in single if one.startswith(("--time", "--mem", "--excl", "--part"))]


WORD = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)


@given(st.lists(WORD, min_size=1, max_size=4))
def test_the_script_gives_a_pilot_its_words_whatever_is_in_them(words: list[str]) -> None:
    words = [word.replace("{batch_id}", "") for word in words]
    show = "import sys; sys.stdout.buffer.write('\\0'.join(sys.argv[1:]).encode())"
    text = script(request("/usr/bin/env", "python3", "-c", show, *words, "{batch_id}"), Batch())
    told = subprocess.run(
        ["/bin/sh"],
        input=text.encode(),
        env={"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "4", "LANG": "C.UTF-8"},
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert told.stdout.decode().split("\0") == [*words, "slurm:one:4:0:0"]


@pytest.mark.parametrize(("told", "end_s"), [({}, 0), ({"SLURM_JOB_END_TIME": "77"}, 77)])
def test_a_pilot_learns_the_end_of_its_allocation_from_any_slurm(
    told: dict[str, str], end_s: int
) -> None:
    text = script(request("/usr/bin/env", "printenv", "SLURM_JOB_END_TIME"), Batch(walltime_s=600))
    now_s = time.time()
    done = subprocess.run(
        ["/bin/sh"],
        input=text.encode(),
        env={"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "0", **told},
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert 0 <= int(done.stdout) - (end_s or int(now_s) + 600) < 20


def test_the_script_of_several_nodes_starts_one_step_with_a_pilot_on_each() -> None:
    text = script(request("/pilot", "{batch_id}"), Batch(nodes=3, cpus=8))
    (line,) = [line for line in text.splitlines() if line.startswith("srun ")]
    assert "--ntasks=3 --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0" in line
    assert "--cpus-per-task=8" in line
    step = text[text.index("srun ") : text.index(" &\n")]
    assert shlex.split(step)[-1].splitlines()[-1] == 'exec /pilot "$PULK_BATCH_ID"'
    assert (
        subprocess.run(["/bin/sh", "-n"], input=text.encode(), timeout=9, check=False).returncode
        == 0
    )


# ---- programs that misbehave: small scripts in place of Slurm's


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is looked into first; each program there is counted in NAME.runs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho run >> {folder}/{name}.runs\n{body}\n")
    path.chmod(0o755)


def runs(folder: Path, name: str) -> int:
    path = folder / f"{name}.runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def adapter(tmp_path: Path, poll_s: float = 0) -> SlurmAdapter:
    return SlurmAdapter(tmp_path / "pilots", Batch(), poll_s=poll_s, limit_s=5)


def test_a_refused_submission_says_why_and_leaves_nothing(tmp_path: Path, programs: Path) -> None:
    program(programs, "sbatch", "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1")
    with pytest.raises(SubmitFailed, match="QOSMaxSubmitJobPerUserLimit"):
        adapter(tmp_path).submit(request("x"))
    assert not list(remembered.every(tmp_path / "pilots"))


@pytest.mark.parametrize(
    "body",
    [
        "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1",
        "echo 'Welcome to the machine'",
        "exec sleep 60",
    ],
)
def test_a_submission_in_doubt_is_not_made_twice(tmp_path: Path, programs: Path, body: str) -> None:
    program(programs, "sbatch", body)
    quick = SlurmAdapter(tmp_path / "pilots", Batch(), poll_s=0, limit_s=1)
    assert quick.submit(request("x")) == quick.submit(request("x")) == (FIRST,)
    assert runs(programs, "sbatch") == 1
    program(programs, "squeue", "printf '31_0\\037RUNNING\\0370\\037None\\037' ; "
            "printf 'Unknown\\037Unknown\\037%s\\037one\\036\\n' \"$(cat comment)\"")  # fmt: skip
    program(programs, "sacct", "")
    assert quick.survey()[FIRST].state is PilotState.UNKNOWN  # another's, by the same name
    said = f"pulk:{quick._home}:1x1"
    text = (programs / "squeue").read_text().replace('"$(cat comment)"', said)
    (programs / "squeue").write_text(text)
    assert quick.survey()[FIRST].job == "31_0"


def test_the_queue_is_asked_once_for_all_and_not_again_before_its_time(
    tmp_path: Path, programs: Path
) -> None:
    program(programs, "sbatch", "echo '31;north'")
    program(programs, "squeue", "")
    program(programs, "sacct", "")
    slow = adapter(tmp_path, poll_s=60)
    assert slow.survey() == {}
    assert [view.state for view in map(slow.survey().get, slow.submit(request("x"))) if view] == []
    assert slow.survey()[FIRST].state is PilotState.WAITING  # the look is older
    assert (runs(programs, "squeue"), runs(programs, "sacct")) == (1, 0)


def test_a_queue_that_does_not_answer_is_asked_more_rarely(tmp_path: Path, programs: Path) -> None:
    program(programs, "sbatch", "echo 31")
    program(programs, "squeue", "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1")
    patient = adapter(tmp_path, poll_s=0.2)
    patient.submit(request("x"))
    began = time.monotonic()
    while time.monotonic() - began < 2:
        view = patient.survey()[FIRST]
        assert view.state is PilotState.UNKNOWN
        assert "Unable to contact" in view.reason
        time.sleep(0.02)
    assert 1 < runs(programs, "squeue") <= 4


@pytest.mark.parametrize("body", ["echo nonsense", "printf '31_0\\037'", "head -c 100 /dev/zero"])
def test_a_queue_that_prints_nonsense_makes_pilots_unknown(
    tmp_path: Path, programs: Path, body: str
) -> None:
    program(programs, "sbatch", "echo 31")
    program(programs, "squeue", body)
    here = adapter(tmp_path)
    here.submit(request("x"))
    view = here.survey()[FIRST]
    assert view.state is PilotState.UNKNOWN
    assert "line 1" in view.reason


def test_a_program_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, programs: Path
) -> None:
    program(programs, "slow", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(SchedulerFailed, match="no answer within 1 s"):
        commands.run(["slow"], 1.0)
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    until(lambda: not child.exists() or child.read_text().split(") ")[1][0] in "ZX")
    with pytest.raises(SchedulerFailed, match="No such file"):
        commands.run(["no-such-program"], 1.0)


def test_programs_see_nothing_that_could_change_them_or_leak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {"SBATCH_PARTITION": "x", "SQUEUE_FORMAT": "x", "https_proxy": "x", "SLURM_JOB_ID": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_CONF", "/conf")
    assert not told.keys() & commands.environment().keys()
    assert commands.environment()["SLURM_CONF"] == "/conf"


def test_a_pilot_on_a_failed_node_is_given_time_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "pilots"
    now_s = int(time.time())
    remembered.begin(folder, ONE)
    for word, at_s, left in (("NODE_FAIL", now_s, False), ("NODE_FAIL", 1, True),
                             ("TIMEOUT", now_s, True)):  # fmt: skip
        remembered.save(folder, replace(ONE, ended={0: Ended(0, word, at_s)}))
        assert adapter(tmp_path).clear(FIRST, "") is left


def test_a_damaged_file_is_passed_over_and_what_is_written_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "pilots"
    whole = replace(ONE, host="h", submitter=(3, 4), ended={0: Ended(1, "FAILED", 9)},
                    missing_us={1: 5}, again={0: 2}, forgotten=frozenset({"x"}))  # fmt: skip
    assert remembered.begin(folder, whole)
    assert not remembered.begin(folder, ONE)
    (folder / "two.submission").write_text("{")
    assert list(remembered.every(folder)) == [whole]
