"""One task in a slot: what it sees, what it leaves behind, and how every bad end is told."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from bundle.dataset.seeds import seed
from bundle.dataset.spec import Generated, Input, Output, Per, Request, Step
from bundle.fates import Fate
from bundle.limits import LOG_BYTES_MAX
from bundle.records.attempt import Attempt
from pilot import stage
from tests.pilot.site_folder import (
    SiteFolder,
    command,
    dataset,
    fates,
    instant,
    python,
    shell,
    small,
)

pytestmark = pytest.mark.programs


def run_one(site: SiteFolder, step: Step, **fields: object) -> tuple[Attempt, bytes]:
    """Run a dataset of one step with one failure allowed; return its attempt and log."""
    lease = site.offered(dataset(step))
    site.run(slots=1, **fields)
    attempt = site.only(lease)
    return attempt, site.log(lease, attempt)


def step_of(run: object, *outputs: str, request: Request | None = None, **fields: object) -> Step:
    return Step(
        "one",
        run,  # type: ignore[arg-type]
        outputs=tuple(map(Output, outputs)),
        request=request or small(),
        failures_max=1,
        **fields,  # type: ignore[arg-type]
    )


def test_a_task_sees_a_clean_environment_and_its_own_directory(site: SiteFolder) -> None:
    config = site.root / "relay.toml"
    config.write_text('[tasks]\npath = "/usr/bin:/bin"\n[task_environment]\nSITE = "here"\n')
    step = step_of(
        command("env"), environment=(("GREETING", "job $(job) of $(jobs)"), ("LANG", "C"))
    )
    _, log = run_one(site, step, config=config, LEAK="must not")
    seen = dict(line.split("=", 1) for line in log.decode().splitlines())
    assert seen["GREETING"] == "job 0 of 1" and seen["SITE"] == "here" and seen["LANG"] == "C"
    assert seen["PATH"] == "/usr/bin:/bin" and seen["HOME"] == seen["TMPDIR"]
    assert seen["PULK_SEED"] == str(seed(7, 0, 0)) and seen["PULK_TASK"].endswith("/0/0")
    assert seen["PULK_TASK"] in seen["PULK_ATTEMPT"]
    assert "LEAK" not in seen


def test_outputs_lie_under_their_digest_read_only(site: SiteFolder) -> None:
    step = step_of(shell("mkdir sub; echo one > a; echo two > sub/b; echo rest > c"), "a", "sub/b")
    attempt, _ = run_one(site, step)
    assert [site.content(attempt, place) for place in (0, 1)] == [b"one\n", b"two\n"]
    for digest, size in attempt.outputs:
        path = site.spool.data(digest)
        assert hashlib.sha256(path.read_bytes()).digest() == digest and size == 4
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert not list(site.spool.folder("claimed").iterdir())


def test_inputs_come_from_parents_generated_bytes_and_the_document(site: SiteFolder) -> None:
    make = Step("make", shell("echo $PULK_JOB > out"), outputs=(Output("out"),), request=small())
    join = Step(
        "join",
        shell("cat 0/part 1/part file.txt; wc -c < noise; ./run.sh"),
        per=Per.DATASET,
        needs=(0,),
        inputs=(Input(0, 0, "part"),),
        generated=(Generated("noise", 100_000, 3),),
        files=("file.txt", "run.sh"),
        request=small(),
    )
    files = (("file.txt", b"from the document\n"), ("run.sh", b"#!/bin/sh\necho runs\n"))
    lease = site.offered(dataset(make, join, jobs=2, files=files))
    site.run()
    last = site.attempts(lease)[-1]
    assert site.log(lease, last) == b"0\n1\nfrom the document\n100000\nruns\n"


def test_a_task_cannot_spoil_an_input_for_others(site: SiteFolder) -> None:
    make = Step("make", shell("echo good > out"), outputs=(Output("out"),), request=small())
    spoil = Step(
        "spoil",
        shell("echo bad >> in"),
        needs=(0,),
        inputs=(Input(0, 0, "in"),),
        request=small(),
    )
    lease = site.offered(dataset(make, spoil))
    site.run()
    assert site.content(site.attempts(lease)[0]) == b"good\n"


def test_a_generated_input_that_finds_no_room_leaves_nothing_among_the_data(
    site: SiteFolder,
) -> None:
    child = os.fork()
    if child == 0:
        try:
            os.chdir(site.spool.folder("tmp"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
            folders = stage.open_folders(Path(), site.spool.folder("data"))
            stage.bring({"generated": [["g", 3 << 20, 1]]}, folders)
        except stage.NotStaged:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not list(site.spool.folder("data").glob("generated/*"))


def test_what_the_payload_says_of_its_software_is_recorded(site: SiteFolder) -> None:
    code = "printf 'nuflux==2.0.7\\nnot a version\\nchromo==0.11\\n' > $PULK_SOFTWARE"
    attempt, _ = run_one(site, step_of(shell(code)))
    own = [word for word in attempt.software.split() if not word.startswith("env==")]
    assert own == ["chromo==0.11", "nuflux==2.0.7"]


def test_the_directory_is_empty_again_for_the_next_task(site: SiteFolder) -> None:
    code = "ls -A; mkdir -p deep/er; touch deep/er/x; ln -s / root; chmod 000 deep"
    lease = site.offered(dataset(step_of(shell(code)), jobs=3))
    site.run(slots=1)
    assert fates(site.attempts(lease)) == [Fate.SUCCESS] * 3
    assert {site.log(lease, attempt) for attempt in site.attempts(lease)} == {b""}
    assert Path("/etc").is_dir()


def test_a_long_log_keeps_head_and_tail(site: SiteFolder) -> None:
    _, log = run_one(site, step_of(shell("echo first; yes | head -c 1000000; echo last")))
    assert log.startswith(b"first\n") and log.endswith(b"last\n")
    assert b"left out" in log and len(log) <= LOG_BYTES_MAX


def test_a_task_that_reaches_for_the_network_is_denied(site: SiteFolder) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    attempt, _ = run_one(site, step_of(python(code)))
    assert attempt.fate is Fate.NETWORK_DENIED
    assert "no route" in attempt.evidence and "Network is unreachable" in attempt.evidence


def test_a_connection_by_bash_is_denied_too_and_the_next_task_is_not_blamed(
    site: SiteFolder,
) -> None:
    tries = Step("tries", shell("echo hi > /dev/tcp/198.51.100.7/443"), failures_max=1)
    fails = Step("fails", shell("exit 9"), failures_max=1)
    lease = site.offered(dataset(tries, fails))
    site.run(slots=1)
    found = {attempt.step: attempt.fate for attempt in site.attempts(lease)}
    assert found == {0: Fate.NETWORK_DENIED, 1: Fate.PAYLOAD_ERROR}


def test_a_short_success_that_tried_the_network_does_not_put_blame_on_the_next_task(
    site: SiteFolder,
) -> None:
    code = "(echo hi > /dev/tcp/198.51.100.7/443) 2> /dev/null; exit 0"
    tries = Step("tries", shell(code), request=small())
    fails = Step("fails", shell("exit 9"), failures_max=1, needs=(0,), request=small())
    lease = site.offered(dataset(tries, fails, jobs=3))
    site.run(slots=1)
    found = {(attempt.step, attempt.fate) for attempt in site.attempts(lease)}
    assert found == {(0, Fate.SUCCESS), (1, Fate.PAYLOAD_ERROR)}


def test_loopback_works_and_the_node_is_out_of_sight(site: SiteFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            "import socket; s = socket.create_server(('127.0.0.1', 0));"
            "socket.create_connection(s.getsockname()).close(); print('loopback');"
            f"socket.create_connection(('127.0.0.1', {port}))"
        )
        attempt, log = run_one(site, step_of(python(code)))
    assert b"loopback\n" in log
    assert attempt.fate is Fate.PAYLOAD_ERROR and b"refused" in log


def test_a_daemonised_child_dies_with_its_task(site: SiteFolder) -> None:
    code = "(setsid sleep 300 & echo $! > pid; setsid setsid sleep 301 &) ; sleep 0.05"
    attempt, _ = run_one(site, step_of(shell(code), "pid"), isolation="plain")
    assert attempt.fate is Fate.SUCCESS
    assert not Path(f"/proc/{int(site.content(attempt))}").exists()


def test_a_task_that_takes_too_much_memory_is_stopped(site: SiteFolder) -> None:
    code = "import time; held = b'x' * (300 << 20); time.sleep(30)"
    began_s = time.monotonic()
    attempt, _ = run_one(site, step_of(python(code), request=small(memory_mib=64)))
    assert attempt.fate is Fate.OOM and "requested 64 MiB" in attempt.evidence
    assert attempt.usage.memory_peak_mib > 64
    assert time.monotonic() - began_s < 10


def test_a_task_that_runs_too_long_is_stopped_with_its_children(site: SiteFolder) -> None:
    step = step_of(shell("sleep 60 & sleep 60"), request=small(walltime_ms=300))
    attempt, _ = run_one(site, step)
    assert attempt.fate is Fate.TIME_LIMIT and "300 ms" in attempt.evidence
    assert 300 <= attempt.usage.wall_ms < 3000


def test_a_task_that_fills_the_disk_is_stopped(site: SiteFolder) -> None:
    code = "for i in 1 2 3 4; do head -c 2000000 /dev/zero > $i; done; sleep 30"
    attempt, _ = run_one(site, step_of(shell(code), request=small(disk_bytes=3 << 20)))
    assert attempt.fate is Fate.DISK_LIMIT and "bytes of disk" in attempt.evidence


def test_one_file_larger_than_the_disk_request_ends_its_writer(site: SiteFolder) -> None:
    step = step_of(command("dd", "if=/dev/zero", "of=big", "bs=1M", "count=64"))
    attempt, _ = run_one(site, Step(**_with(step, request=small(disk_bytes=4 << 20))))
    assert attempt.fate is Fate.DISK_LIMIT


def _with(step: Step, **fields: object) -> dict[str, object]:
    return {name: fields.get(name, getattr(step, name)) for name in Step.__slots__}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("true", "missing"),
        ("ln -s /etc/passwd out", "no plain file"),
        ("mkdir out", "no plain file"),
        ("mkfifo out", "no plain file"),
    ],
)
def test_an_output_that_is_no_file_of_the_task_fails_stage_out(
    site: SiteFolder, code: str, reason: str
) -> None:
    attempt, _ = run_one(site, step_of(shell(code), "out"))
    assert attempt.fate is Fate.STAGE_OUT and reason in attempt.evidence
    assert not attempt.outputs and not list(site.spool.folder("data").iterdir())


def test_an_output_behind_a_linked_folder_is_refused(site: SiteFolder) -> None:
    outside = site.root / "outside"
    outside.mkdir()
    (outside / "out").write_text("not the task's")
    attempt, _ = run_one(site, step_of(shell(f"ln -s {outside} sub"), "sub/out"))
    assert attempt.fate is Fate.STAGE_OUT
    assert (outside / "out").exists()


def test_an_output_with_a_second_name_is_copied(site: SiteFolder) -> None:
    outside = site.root / "second-name"
    step = step_of(shell(f"echo one > out; ln out {outside}"), "out")
    attempt, _ = run_one(site, step, isolation="plain")
    outside.write_text("changed afterwards")
    assert site.content(attempt) == b"one\n"


def test_a_program_that_is_not_there_is_said(site: SiteFolder) -> None:
    attempt, _ = run_one(site, step_of(command("no-such-program")))
    assert attempt.fate is Fate.PAYLOAD_ERROR and attempt.exit_code == 127
    assert "no such program" in attempt.evidence


def test_exit_status_and_signal_are_told_apart(site: SiteFolder) -> None:
    exits = Step("exits", shell("echo why >&2; exit 7"), failures_max=1)
    dies = Step("dies", shell("kill -SEGV $$"), failures_max=1)
    lease = site.offered(dataset(exits, dies))
    site.run()
    first, second = sorted(site.attempts(lease), key=lambda one: one.step)
    assert (first.fate, first.exit_code, first.signal) == (Fate.PAYLOAD_ERROR, 7, 0)
    assert first.evidence == "exit 7: why"
    assert (second.fate, second.exit_code, second.signal) == (Fate.SIGNAL, -1, 11)


def test_a_missing_or_damaged_input_fails_stage_in(site: SiteFolder) -> None:
    make = Step("make", shell("echo $PULK_JOB > out"), outputs=(Output("out"),), request=small())
    use = Step("use", command("true"), needs=(0,), inputs=(Input(0, 0, "in"),), failures_max=1)
    bundle, (first, second) = site.work(
        dataset(make, use, jobs=1), [_block(0), _block(1)], needs={1: [0]}
    )
    site.offer(bundle, first)
    site.run()
    path = site.spool.data(site.only(first).outputs[0][0])
    path.chmod(0o600)
    path.write_bytes(b"7\n")
    site.offer(bundle, second)
    site.run()
    attempt = site.only(second)
    assert attempt.fate is Fate.STAGE_IN and "damaged" in attempt.evidence


def _block(step: int) -> list[object]:
    from bundle.intervals import IntervalSet
    from bundle.records.lease import Block

    return [Block(1, IntervalSet.of([0]), (step,))]


def test_a_synthetic_task_uses_what_it_says_and_writes_the_same_bytes_anywhere(
    site: SiteFolder,
) -> None:
    first = step_of(instant(1000, 3_000_000, cpu_ms=100, wall_ms=300, memory_mib=50), "a", "sub/b")
    second = Step(
        "two",
        instant(10),
        needs=(0,),
        inputs=(Input(0, 0, "x"),),
        outputs=(Output("o"),),
        request=small(),
    )
    leases = []
    for _ in range(2):
        leases.append(site.offered(dataset(first, second)))
        site.run()
    one, two = (site.attempts(lease) for lease in leases)
    assert [attempt.outputs for attempt in one] == [attempt.outputs for attempt in two]
    assert [size for _, size in one[0].outputs] == [1000, 3_000_000]
    usage = one[0].usage
    assert usage.cpu_ms >= 100 and 300 <= usage.wall_ms < 2000 and usage.memory_peak_mib >= 50
    assert usage.written_bytes >= 3_001_000 and usage.disk_peak_bytes >= 3_001_000


def test_a_synthetic_task_appends_to_the_ledger(site: SiteFolder) -> None:
    ledger = site.root / "ledger"
    lease = site.offered(dataset(step_of(instant()), jobs=5))
    site.run(PULK_LEDGER=str(ledger))
    rows = [line.split() for line in ledger.read_text().splitlines()]
    assert len(rows) == 5 and {status for _, status in rows} == {"0"}
    assert {key.rsplit(":", 1)[1] for key, _ in rows} == {
        str(attempt.local) for attempt in site.attempts(lease)
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_gets_a_namespace_too_or_a_reason(site: SiteFolder) -> None:
    import subprocess

    code = "import os; from pilot import linux, offline; os.setgid(65534); os.setuid(65534);"
    code += "linux._libc.prctl(4, 1, 0, 0, 0);"  # as after the exec that a login does
    code += "w = offline.enter(); n = offline.NoRoutes().count(); print(w, os.getuid(), n)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert found.stdout.startswith(("namespace 65534 0", "none: "))
