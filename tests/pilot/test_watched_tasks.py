"""Real tasks that take more than they should, or look as if they did, in a real pilot's slots."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from bundle.dataset.spec import Request, Step
from bundle.fates import Fate
from bundle.records import telemetry
from bundle.records.attempt import Attempt
from bundle.records.lease import Lease
from bundle.records.series import Point
from pilot import reap
from pilot.watching import processes
from pilot.watching.gpus import Gpus
from pilot.watching.memory import Memory
from pilot.watching.processes import Process, Processes
from pilot.watching.watch import Watch
from tests.pilot.alone import alone
from tests.pilot.site_folder import SiteFolder, dataset, fates, python, shell, small

pytestmark = pytest.mark.programs

MIB = 1 << 20
SHARES = """
import os, time
held = bytearray(200 << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
for child in range(10):
    if os.fork() == 0:
        sum(held[::4096]); time.sleep(1.5); os._exit(0)
for child in range(10):
    os.wait()
"""
MAPS = """
import mmap, time
with open('big', 'wb') as file:
    for piece in range(1024):
        file.write(bytes(1 << 20))
with open('big', 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as big:
    assert sum(big[::4096]) == 0
    time.sleep(1.2)
"""
SPIKES = """
import time
time.sleep(0.8)
held = bytearray(b'x') * (300 << 20); time.sleep(0.05); del held
time.sleep(1.0)
"""
RAMPS = """
import time
held = []
while True:
    held.append(b'x' * (8 << 20)); time.sleep(0.02)
"""
STORM = """
import os, sys, time
held = bytearray({shared} << 20)
for page in range(0, len(held), 4096):
    held[page] = 1
end_s = time.monotonic() + {seconds}
def storm():
    own = b'x' * ({own} << 20)
    while time.monotonic() < end_s:
        for _ in range(4):
            if os.fork() == 0: os._exit(0)
        for _ in range(4):
            os.wait()
    os._exit(0)
for number in range({processes}):
    if os.fork() == 0: storm()
for number in range({processes}):
    os.wait()
"""
HOLDS = "import time; held = b'x' * ({} << 20); time.sleep({})"


def one(code: str, **request: int) -> Step:
    return Step("one", python(code), request=small(**request), failures_max=1)


def run_one(site: SiteFolder, step: Step) -> tuple[Lease, Attempt]:
    lease = site.offered(dataset(step))
    site.run(slots=1)
    return lease, site.only(lease)


def series_of(site: SiteFolder, lease: Lease, attempt: Attempt) -> tuple[Point, ...]:
    for _, seal, segment in site.seals(lease):
        if attempt in segment.attempts:
            return telemetry.decode_series(seal.telemetry).get(attempt.local, ())
    return ()


def test_pages_that_processes_share_count_once(site: SiteFolder) -> None:
    _, attempt = run_one(site, one(SHARES, memory_mib=300))
    assert attempt.fate is Fate.SUCCESS, attempt.evidence
    assert 200 <= attempt.usage.memory_peak_mib < 300 + 64


def test_a_mapped_file_is_nobodys_memory(site: SiteFolder) -> None:
    _, attempt = run_one(site, one(MAPS, memory_mib=128, disk_bytes=2 << 30))
    assert attempt.fate is Fate.SUCCESS, attempt.evidence
    assert attempt.usage.memory_peak_mib < 300


def test_a_spike_of_50_ms_shows_in_the_peak_and_in_the_series(site: SiteFolder) -> None:
    lease, attempt = run_one(site, one(SPIKES, memory_mib=400))
    assert attempt.fate is Fate.SUCCESS
    assert 300 <= attempt.usage.memory_peak_mib < 350
    points = series_of(site, lease, attempt)
    assert max(point.memory_mib for point in points) >= 300
    assert points[-1].memory_mib < 100
    assert [point.at_ms for point in points] == sorted(point.at_ms for point in points)


def test_a_spike_of_a_child_that_is_gone_shows_in_the_peak(site: SiteFolder) -> None:
    code = f"{sys.executable} -I -c \"held = b'x' * (300 << 20)\"; sleep 0.6"
    step = Step("one", shell(code), request=small(memory_mib=400), failures_max=1)
    _, attempt = run_one(site, step)
    assert attempt.fate is Fate.SUCCESS and 300 <= attempt.usage.memory_peak_mib < 350


def test_a_task_that_ramps_is_stopped_soon_after_its_limit(site: SiteFolder) -> None:
    _, attempt = run_one(site, one(RAMPS, memory_mib=100))
    assert attempt.fate is Fate.OOM
    assert "requested 100 MiB" in attempt.evidence and "peak" in attempt.evidence
    assert 164 <= attempt.usage.memory_peak_mib < 350


@pytest.mark.parametrize("isolation", ["auto", "plain"])
def test_nobody_hides_memory_behind_processes_that_come_and_go(
    site: SiteFolder, isolation: str
) -> None:
    code = STORM.format(shared=1, own=16, processes=30, seconds=50)
    step = Step("one", python(code), request=small(memory_mib=100), failures_max=1)
    lease = site.offered(dataset(step))
    site.run(slots=1, isolation=isolation)
    attempt = site.only(lease)
    assert attempt.fate is Fate.OOM and "requested 100 MiB" in attempt.evidence, attempt.evidence
    assert 164 <= attempt.usage.memory_peak_mib < 30 * 40
    took_s = (attempt.ended_mono_us - attempt.started_mono_us) / 1e6
    assert took_s < 40  # it would go on for 50


def test_a_look_at_processes_that_fork_without_end_does_not_outlast_the_walltime(
    site: SiteFolder,
) -> None:
    """Whoever would be waited for, some reading takes long: then the look is given up."""
    code = STORM.format(shared=1, own=1, processes=60, seconds=50)
    step = Step("one", python(code), request=small(2000, walltime_ms=4000), failures_max=1)
    _, attempt = run_one(site, step)
    assert attempt.fate is Fate.TIME_LIMIT
    assert attempt.usage.wall_ms < 4000 + 5000


def test_processes_that_come_and_go_but_share_are_no_offence(site: SiteFolder) -> None:
    """Held still for a moment, they go on and end well."""
    code = STORM.format(shared=60, own=0, processes=20, seconds=6)
    step = Step("one", python(code), request=small(memory_mib=200), failures_max=1)
    _, attempt = run_one(site, step)
    assert attempt.fate is Fate.SUCCESS, attempt.evidence


def test_who_is_held_still_does_nothing_and_then_goes_on(tmp_path: Path) -> None:
    """One process in the group of the first, one that left it."""
    alone(stillness, str(tmp_path / "one"), str(tmp_path / "two"))


def stillness(*paths: str) -> None:
    """What the test above plays in a process of its own: what it holds and ends is all below it."""
    names = [Path(path) for path in paths]
    code = 'for f in "$@"; do setsid -w bash -c "while :; do echo >> $f; done" & done; wait'
    with subprocess.Popen(
        ["/bin/bash", "-c", code, "bash", *paths], start_new_session=True
    ) as process:
        try:
            _wait_for_growth(names)
            with reap.held_still(process.pid):
                sizes = [name.stat().st_size for name in names]
                time.sleep(0.3)
                assert [name.stat().st_size for name in names] == sizes
            _wait_for_growth(names)
        finally:
            for pid in Processes().look():
                os.kill(pid.pid, 9)


def _wait_for_growth(names: list[Path]) -> None:
    sizes = [name.stat().st_size if name.exists() else 0 for name in names]
    deadline_s = time.monotonic() + 20
    while any(not n.exists() or n.stat().st_size <= s for n, s in zip(names, sizes, strict=True)):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_task_borrows_what_its_neighbour_leaves_unused(site: SiteFolder) -> None:
    lender = Step("lender", python("import time; time.sleep(3)"), request=small(memory_mib=900))
    borrower = Step(
        "borrower",
        python("import time; time.sleep(0.5); held = b'x' * (400 << 20); time.sleep(1)"),
        request=small(memory_mib=100),
        failures_max=1,
    )
    lease = site.offered(dataset(lender, borrower))
    site.run(slots=2)
    assert fates(site.attempts(lease)) == [Fate.SUCCESS] * 2
    assert max(attempt.usage.memory_peak_mib for attempt in site.attempts(lease)) >= 400


def test_of_several_offenders_the_worst_goes_and_the_neighbours_live(site: SiteFolder) -> None:
    """Two borrow; what the third leaves is enough for the lesser offence alone."""
    codes = {
        "lends": (HOLDS.format(20, 4), 420),
        "mild": ("import time; time.sleep(0.4);" + HOLDS.format(330, 2.5), 200),
        "worst": ("import time; time.sleep(0.8);" + HOLDS.format(450, 30), 60),
    }
    steps = [
        Step(name, python(code), request=_thin(memory), failures_max=1)
        for name, (code, memory) in codes.items()
    ]
    lease = site.offered(dataset(*steps))
    began_s = time.monotonic()
    site.run(slots=3)
    found = {steps[one.step].name: one for one in site.attempts(lease)}
    assert {name: one.fate for name, one in found.items()} == {
        "lends": Fate.SUCCESS,
        "mild": Fate.SUCCESS,
        "worst": Fate.OOM,
    }
    assert "requested 60 MiB" in found["worst"].evidence
    assert found["worst"].usage.memory_peak_mib >= 450
    assert time.monotonic() - began_s < 25


def _thin(memory_mib: int) -> Request:
    return Request(cpu_milli=500, memory_mib=memory_mib, walltime_ms=60_000, disk_bytes=1 << 28)


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory control group of 700 MiB in which a pilot can be started."""
    folder = Path(f"/sys/fs/cgroup/memory/pulk-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(700 * MIB))
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error.strerror}")
    yield folder
    for _ in range(50):
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.1)


def test_the_kernel_never_chooses_where_memory_gets_tight(site: SiteFolder, group: Path) -> None:
    """Lenders leave enough by their requests, but the node has no more: the borrower goes."""
    lender = Step("lender", python(HOLDS.format(30, 4)), request=_thin(500), failures_max=1)
    borrower = Step("borrower", python(RAMPS), request=_thin(100), failures_max=1)
    lease = site.offered(dataset(lender, borrower))
    started = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()));"
    started += "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    argv = ["-c", "from bundle.cli.main import main; main()", "pilot", "run"]
    argv += ["--spool", str(site.spool.root), "--batch-id", "t", "--slots", "2", "--idle-s", "0"]
    subprocess.run(
        [sys.executable, "-c", started, str(group / "cgroup.procs"), *argv], check=True, timeout=60
    )
    found = {one.step: one for one in site.attempts(lease)}
    assert found[0].fate is Fate.SUCCESS
    assert found[1].fate is Fate.OOM and "the node has" in found[1].evidence, found[1].evidence
    kills = [
        int(line.split()[1])
        for line in (group / "memory.oom_control").read_text().splitlines()
        if line.startswith("oom_kill ")
    ]
    assert kills == [0]


def test_a_task_with_eight_threads_under_one_core_is_recorded_not_killed(site: SiteFolder) -> None:
    code = """
import threading, time, zlib
block = bytes(1 << 20)
def work():
    while time.process_time() < 2: zlib.crc32(block)
threads = [threading.Thread(target=work) for _ in range(8)]
[one.start() for one in threads]; [one.join() for one in threads]
"""
    lease, attempt = run_one(site, one(code))
    assert attempt.fate is Fate.SUCCESS
    assert attempt.usage.cpu_ms > 500
    assert max(point.cpu_milli for point in series_of(site, lease, attempt)) > 100


def test_too_many_processes_end_a_task_with_their_number(site: SiteFolder) -> None:
    code = "for ((i = 0; i < 1100; i++)); do sleep 60 & done; wait"
    step = Step("one", shell(code), request=small(memory_mib=4000), failures_max=1)
    began_s = time.monotonic()
    _, attempt = run_one(site, step)
    assert attempt.fate is Fate.PAYLOAD_ERROR and time.monotonic() - began_s < 40
    assert "processes at once, at most 1024 are allowed" in attempt.evidence


def test_a_process_that_uses_up_its_cpu_time_is_ended_by_the_kernel(site: SiteFolder) -> None:
    """The pilot's own limit is a minute beyond what all cores give, so a site's lower one is it."""
    code = "ulimit -S -t 1; while :; do :; done"
    _, attempt = run_one(site, Step("one", shell(code), failures_max=1))
    assert attempt.fate is Fate.TIME_LIMIT and "cpu time" in attempt.evidence
    assert 500 <= attempt.usage.cpu_ms < 3000  # the kernel counts in ticks


def test_the_kernel_knows_every_limit_that_nobody_needs_to_watch(site: SiteFolder) -> None:
    # Two of them are put on the process that has just begun.
    code = "until test $(ulimit -t) != unlimited; do :; done; "
    code += "ulimit -c; ulimit -f; ulimit -t; ulimit -n"
    step = Step("one", shell(code), request=small(disk_bytes=64 << 20, walltime_ms=90_000))
    lease, attempt = run_one(site, step)
    cores, file_kib, cpu_s, open_files = site.log(lease, attempt).split()[:4]
    assert (cores, int(file_kib)) == (b"0", 64 << 10)
    assert int(cpu_s) == 90 * (os.cpu_count() or 1) + 60
    assert int(open_files) <= 4096


@pytest.mark.parametrize(
    ("code", "request_of", "fate", "words"),
    [
        (RAMPS, {"memory_mib": 100}, Fate.OOM, "requested 100 MiB"),
        ("open('big', 'wb').write(bytes(9 << 20))", {"disk_bytes": 8 << 20}, Fate.DISK_LIMIT, ""),
        ("import time; time.sleep(60)", {"walltime_ms": 1000}, Fate.TIME_LIMIT, "1000 ms"),
        (
            "import time\nfor n in range(20): open(str(n), 'wb').write(bytes(1 << 20))\n"
            "time.sleep(60)",
            {"disk_bytes": 8 << 20},
            Fate.DISK_LIMIT,
            f"requested {8 << 20}",
        ),
    ],
    ids=["memory", "one-file", "time", "disk"],
)
def test_who_passes_a_limit_goes_and_the_neighbour_does_not_notice(
    site: SiteFolder, code: str, request_of: dict[str, int], fate: Fate, words: str
) -> None:
    innocent = "import time; held = b'x' * (40 << 20); time.sleep(3); open('o', 'w').write('x')"
    steps = (
        Step("innocent", python(innocent), request=small()),
        Step("guilty", python(code), request=small(**request_of), failures_max=1),
    )
    lease = site.offered(dataset(*steps))
    site.run(slots=2)
    found = {steps[one.step].name: one for one in site.attempts(lease)}
    assert found["innocent"].fate is Fate.SUCCESS
    assert found["guilty"].fate is fate and words in found["guilty"].evidence, found["guilty"]


def test_a_program_that_ignores_the_signal_for_a_full_file_is_told_all_the_same(
    site: SiteFolder,
) -> None:
    code = "file = open('big', 'wb')\nwhile True: file.write(bytes(1 << 20))"
    _, attempt = run_one(site, one(code, disk_bytes=4 << 20))
    assert attempt.fate is Fate.DISK_LIMIT
    assert f"a file grew to the disk request of {4 << 20} bytes" in attempt.evidence


def test_a_short_task_has_no_series_and_a_long_one_tells_what_moved(site: SiteFolder) -> None:
    code = """
import time
file = open('out', 'wb')
for _ in range(12):
    file.write(bytes(2 << 20)); file.flush(); time.sleep(0.1)
"""
    lease, attempt = run_one(site, one(code))
    points = series_of(site, lease, attempt)
    assert max(point.written_kib_s for point in points) > 1000
    assert max(point.disk_mib for point in points) >= 8
    lease, attempt = run_one(site, one("pass"))
    assert series_of(site, lease, attempt) == ()


def test_a_look_sees_the_whole_tree_and_keeps_few_files_open() -> None:
    """Processes that run below the tests anyway, as a pool's do, are none of this tree."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    looks = Processes()
    others = {one.pid for one in looks.look()}
    code = "for ((i = 0; i < 20; i++)); do (sleep 30 & wait) & done; wait"

    def look(spared: Collection[int] = ()) -> list[Process]:
        return [one for one in looks.look(spared) if one.pid not in others]

    with subprocess.Popen(["/bin/bash", "-c", code], start_new_session=True) as process:
        try:
            deadline_s = time.monotonic() + 20
            while not _all_sleep(family := look()) and time.monotonic() < deadline_s:
                time.sleep(0.05)
            assert len(family) == 41 and all(one.is_alive for one in family), _names(family)
            assert {one.pid for one in look()} == {one.pid for one in family}
            assert len(look(spared={process.pid})) == 40
            scanned = Processes()
            scanned._can_list = False
            found = {one.pid for one in scanned.look()} - others
            assert found == {one.pid for one in family}
            scanned.close()
            memory = Memory(suspicious_bytes=0)
            assert 0 < memory.look(family, look) < sum(one.resident_bytes for one in family)
        finally:
            os.killpg(process.pid, 9)
    assert look() == []
    looks.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def _all_sleep(family: list[Process]) -> bool:
    return sum(name == "sleep" for name in _names(family)) == 20


def _names(family: list[Process]) -> list[str]:
    """Return what each runs now: a fork that has not executed yet bears its parent's name."""
    names = []
    for one in family:
        with contextlib.suppress(OSError):
            names.append(Path(f"/proc/{one.pid}/comm").read_text().strip())
    return names


def test_what_a_task_is_granted_is_told_with_the_next_look() -> None:
    alone(grants)


def grants() -> None:
    """What the test above plays in a process of its own."""
    request = {"local": 3, "memory_mib": 100, "disk_bytes": 1 << 30, "env": {}}
    watch = Watch(request, Processes())
    assert watch.news() is None and not watch.has_looked
    watch.look(0)
    assert watch.news() == [3, 0, 0, 100 * MIB, [], 0]
    watch.look(0)
    assert watch.news() is None
    watch.allow(300)
    watch.look(0)
    assert watch.news() == [3, 0, 0, 300 * MIB, [], 0]


def test_a_process_that_is_gone_has_no_figures() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert processes.split(process.pid) is None
    assert processes.shares(process.pid) is None
    assert processes.moved_bytes([process.pid]) == (0, 0)


def test_devices_are_asked_once_for_all(tmp_path: Path) -> None:
    """A program that speaks as nvidia-smi does, for nodes without a device."""
    program = tmp_path / "smi"
    program.write_text(
        "#!/bin/sh\nwhile :; do echo 'GPU-a, 40, 100'; echo 'GPU-b, 7, 3'; sleep 0.05; done\n"
    )
    program.chmod(0o755)
    gpus = Gpus(str(program))
    deadline_s = time.monotonic() + 10
    while len(gpus.latest()) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert gpus.latest() == {"GPU-a": (400, 100), "GPU-b": (70, 3)}
    gpus.close()
    assert Gpus(str(tmp_path / "none")).latest() == {}
