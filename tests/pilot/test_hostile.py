"""Hostile payloads: each does its worst, is contained and named, and the pilot goes on.

Every test runs a real pilot as root and as an ordinary user; behind the hostile task an honest one
runs in the same slot.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundle.dataset.asks import Requires
from bundle.dataset.spec import Output, Request, Step
from bundle.fates import Fate
from bundle.records.attempt import Attempt
from tests.pilot.site_folder import ROOT, SiteFolder, dataset, python, shell, small

pytestmark = pytest.mark.programs

SECRET = "the site's key"  # noqa: S105
PRELUDE = """
import ctypes, os, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def refused(*acts):
    words = set()
    for act in acts:
        try:
            found = act()
        except OSError as error:
            words.add(error.strerror)
        else:
            sys.exit(f"not refused: {found!r}")
    sys.exit("refused: " + ", ".join(sorted(words)))
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return name
"""
AFTER = """
left = [n for n in (*os.listdir('.'), *os.listdir('/dev/shm')) if n not in {known!r}]
others = [p for p in os.listdir('/proc') if p.isdecimal() and p not in ('1', str(os.getpid()))]
sys.exit(f"left: {{left}} {{others}}" if left or others else 0)
"""


class Site(SiteFolder):
    """A site folder whose pilots run as root or as an ordinary user."""

    as_root = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.home = root / "relay"
        self.home.mkdir()
        self.key = self.home / "site.key"
        self.key.write_text(SECRET)
        self.config = self.home / "relay.toml"
        self.config.write_text('[tasks]\nisolation = "required"\nprocesses_max = 400\n')

    def before(self) -> Sequence[str]:
        if self.as_root or os.geteuid() != 0:
            return ()
        return (sys.executable, "-m", "tests.pilot.as_nobody", str(self.root))


@pytest.fixture(params=["root", "ordinary user"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("only root runs as root")
    site = Site(tmp_path)
    site.as_root = request.param == "root"
    return site


def suffer(
    site: Site, code: str, *outputs: str, request: Request | None = None, lang: str = "python"
) -> tuple[Attempt, str]:
    """Run a hostile task, then an honest one in its slot; return the attempt and its log."""
    run = python(PRELUDE + code) if lang == "python" else shell(code)
    asks = request or small()  # both ask for the same: then the first step starts first
    bad = Step("bad", run, outputs=tuple(map(Output, outputs)), request=asks, failures_max=1)
    known = [Path(site.root).parts[2]] if site.root.is_relative_to("/tmp") else []
    known += ROOT.parts[2:3]
    after = python(PRELUDE + AFTER.format(known=known))
    good = Step("good", after, request=asks, failures_max=1)
    lease = site.offered(dataset(bad, good))
    with site.start(slots=1, config=site.config, before=site.before()) as process:
        assert process.wait(60) == 0, "the pilot did not survive"
    first, second = site.attempts(lease)
    assert first.step == 0, "the hostile task runs first"
    assert second.fate is Fate.SUCCESS, second.evidence
    ((*_, segment), *_) = site.seals(lease)
    assert segment.header.host.isolation == "isolated"
    assert not running(lease.dataset), "something of the task still runs"
    assert not list(site.spool.folder("claimed").iterdir()), "the pilot left its folder"
    return first, site.log(lease, first).decode(errors="replace")


def running(dataset_id: str) -> list[str]:
    """Return the processes whose environment names a dataset."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if dataset_id.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def is_refused(attempt: Attempt, *words: str) -> None:
    """Check that a task told in its last line that all it tried was refused."""
    assert attempt.fate is Fate.PAYLOAD_ERROR and "exit 1: refused" in attempt.evidence, attempt
    assert any(word in attempt.evidence for word in words) or not words, attempt.evidence


def short(**fields: int) -> Request:
    return small(walltime_ms=1500, **fields)


def test_a_fork_bomb_finds_no_more_processes(hostile: Site) -> None:
    code = """
while True:
    try:
        os.fork()
    except OSError as error:
        print(error.strerror, flush=True)
        time.sleep(0.2)
"""
    request = small(memory_mib=4000, walltime_ms=3000)
    attempt, log = suffer(hostile, code, request=request)
    assert attempt.fate is Fate.TIME_LIMIT and "Resource temporarily unavailable" in log


def test_a_bomb_whose_first_process_ends_is_swept(hostile: Site) -> None:
    code = """
os.close(1), os.close(2)
if os.fork():
    time.sleep(0.5)
    os._exit(0)
while True:
    try:
        os.fork(), os.setsid()
    except OSError:
        time.sleep(0.05)  # spares who shares this machine
"""
    attempt, log = suffer(hostile, code, request=small(memory_mib=4000))
    if attempt.fate is Fate.SUCCESS:  # it ended before anybody counted
        assert "left behind were killed" in log
    else:
        assert "processes at once" in attempt.evidence


def test_ignoring_term_ends_in_kill(hostile: Site) -> None:
    code = "trap '' TERM; while true; do sleep 1; done"
    attempt, _ = suffer(hostile, code, request=short(), lang="shell")
    assert attempt.fate is Fate.TIME_LIMIT and attempt.signal == 9
    assert "ran longer than 1500 ms" in attempt.evidence


def test_a_daemon_dies_with_its_task_and_is_told(hostile: Site) -> None:
    code = "(setsid sleep 300 &); setsid setsid sleep 301 & disown; sleep 0.1"
    attempt, log = suffer(hostile, code, lang="shell")
    assert attempt.fate is Fate.SUCCESS and "process(es) left behind were killed" in log


def test_nothing_of_another_process_can_be_read(hostile: Site) -> None:
    code = """
others = [p for p in os.listdir('/proc') if p.isdecimal() and int(p) != os.getpid()]
assert others == ['1'] and os.getppid() == 0, (others, os.getppid())
refused(*(lambda name=name: open(f'/proc/1/{name}', 'rb').read(1) for name in ('environ', 'mem')),
        *(lambda n=n: open(f'/proc/1/fd/{n}', 'rb') for n in range(64)),
        *(lambda name=name: os.listdir(f'/proc/1/{name}') for name in ('map_files', 'cwd', 'root')))
"""
    is_refused(suffer(hostile, code)[0], "Permission denied")


def test_the_slots_socket_cannot_be_reached(hostile: Site) -> None:
    code = """
def take(number):
    pidfd = os.pidfd_open(1)
    found = libc.syscall(438, pidfd, number, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
mine = [n for n in range(3, 5000) if os.path.lexists(f'/proc/self/fd/{n}')]
assert not mine, mine
refused(*(lambda n=n: take(n) for n in range(3, 20)),
        *(lambda n=n: os.write(n, b'x') for n in range(4, 200)))
"""
    is_refused(suffer(hostile, code)[0], "Operation not permitted")


def test_slot_and_pilot_cannot_be_traced_or_killed(hostile: Site) -> None:
    code = """
for pid in range(1, 70000):
    if pid != os.getpid():
        for number in (signal.SIGKILL, signal.SIGSTOP):
            try:
                os.kill(pid, number)
            except OSError:
                pass
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
refused(lambda: call('ptrace', 16, 1, 0, 0), lambda: call('ptrace', 0x4206, 1, 0, 0))
"""
    is_refused(suffer(hostile, code)[0], "Operation not permitted")


def test_the_sites_key_is_not_there(hostile: Site) -> None:
    code = f"""
refused(lambda: open({str(hostile.key)!r}).read(), lambda: os.listdir({str(hostile.home)!r})[0],
        lambda: open('../../../../../relay/site.key').read())
"""
    code = code.replace("[0]", " or open('/nothing')")  # an empty folder is as good as none
    is_refused(suffer(hostile, code)[0], "No such file")


def test_the_neighbours_files_are_not_there(hostile: Site) -> None:
    neighbour = shell("echo mine > secret; sleep 2")
    spy = python(
        PRELUDE
        + """
time.sleep(1)
here = os.getcwd()
seen = [os.path.join(a, n) for a, _, names in os.walk(os.path.dirname(here)) for n in names]
assert not seen, seen
refused(*(lambda n=n: open(f'../{n}/secret').read() for n in range(4)))
"""
    )
    steps = [
        Step(name, run, request=small(), failures_max=1)
        for name, run in (("n", neighbour), ("s", spy))
    ]
    lease = hostile.offered(dataset(*steps))
    with hostile.start(slots=2, config=hostile.config, before=hostile.before()) as process:
        assert process.wait(60) == 0
    first, second = sorted(hostile.attempts(lease), key=lambda one: one.step)
    assert first.fate is Fate.SUCCESS
    is_refused(second, "No such file")


def test_the_spool_cannot_be_written(hostile: Site) -> None:
    spool = hostile.spool.root
    before = {name: sorted((spool / name).iterdir()) for name in ("data", "tmp", "out")}
    code = f"""
spool = {str(spool)!r}
refused(lambda: open(spool + '/claimable/x', 'w'), lambda: open(spool + '/trust', 'w'),
        lambda: os.mkdir(spool + '/data'), lambda: os.rename(spool, spool + '2'),
        lambda: open('/etc/pulk-was-here', 'w'), lambda: open('/pulk-was-here', 'w'))
"""
    is_refused(suffer(hostile, code)[0], "Read-only file system", "No such file")
    assert {name: sorted((spool / name).iterdir()) for name in before} == before
    assert hostile.spool.trust.stat().st_size > 0


def test_a_flood_of_output_is_cut(hostile: Site) -> None:
    attempt, log = suffer(hostile, "yes flood", request=small(disk_bytes=8 << 20), lang="shell")
    assert attempt.fate is Fate.DISK_LIMIT and len(log) < 2 << 20


def test_a_full_disk_is_the_tasks_own(hostile: Site) -> None:
    code = """
for n in range(10**6):
    with open(f'f{n}', 'wb') as file:
        file.write(bytes(1 << 20))
    time.sleep(0.01)
"""
    attempt, _ = suffer(hostile, code, request=small(disk_bytes=8 << 20))
    assert attempt.fate is Fate.DISK_LIMIT and "bytes of disk" in attempt.evidence


def test_many_empty_files_count_as_disk(hostile: Site) -> None:
    code = """
for n in range(10**6):
    os.close(os.open(f'f{n}', os.O_CREAT | os.O_WRONLY))
time.sleep(30)
"""
    attempt, _ = suffer(hostile, code, request=small(disk_bytes=8 << 20))
    assert attempt.fate is Fate.DISK_LIMIT and "bytes of disk" in attempt.evidence


def test_closing_every_descriptor_hurts_nobody(hostile: Site) -> None:
    attempt, _ = suffer(hostile, "os.closerange(0, 5000); os._exit(5)")
    assert attempt.fate is Fate.PAYLOAD_ERROR and attempt.exit_code == 5


@pytest.mark.parametrize(
    "code",
    [
        "ln -s /etc/passwd out",
        "ln -s . sub; echo x > out",
        "mkfifo out",
        "mkdir out",
        "ln -s /dev/zero out",
    ],
)
def test_an_output_that_is_no_file_of_the_task_is_refused(hostile: Site, code: str) -> None:
    name = "sub/out" if "sub" in code else "out"
    attempt, _ = suffer(hostile, code, name, lang="shell")
    assert attempt.fate is Fate.STAGE_OUT and "no plain file" in attempt.evidence


def test_a_hard_link_to_something_outside_cannot_be_made(hostile: Site) -> None:
    code = f"""
refused(lambda: os.link('/etc/passwd', 'out'), lambda: os.link({str(hostile.key)!r}, 'out'),
        lambda: os.mknod('out', 0o60600, os.makedev(254, 0)))
"""
    is_refused(suffer(hostile, code, "out")[0])


def test_an_output_that_is_swapped_without_end_is_hashed_in_peace(hostile: Site) -> None:
    code = """
def swap(n):
    with open('new', 'w') as file:
        file.write(str(n) * 100_000)
    os.rename('new', 'out')
swap(0)
if os.fork():
    time.sleep(0.3)
    os._exit(0)
os.setsid()
n = 0
while True:
    swap(n := n + 1)
"""
    attempt, log = suffer(hostile, code, "out")
    assert attempt.fate is Fate.SUCCESS and "1 process(es) left behind" in log
    assert hashlib.sha256(hostile.content(attempt)).digest() == attempt.outputs[0][0]


def test_locked_and_bottomless_folders_are_emptied(hostile: Site) -> None:
    code = """
os.makedirs('a/b/c'); open('a/b/c/f', 'w').close()
for name in ('a/b/c', 'a/b', 'a'):
    os.chmod(name, 0)
here = os.getcwd()
for _ in range(3000):
    os.mkdir('d'); os.chdir('d')
open('f', 'w').close()
os.chmod(here, 0)
"""
    try:
        attempt, _ = suffer(hostile, code)
    finally:  # pytest could not remove what a broken pilot leaves here
        subprocess.run(["rm", "-rf", hostile.spool.folder("claimed")], check=False)
    assert attempt.fate is Fate.SUCCESS, attempt.evidence


def test_new_rights_cannot_be_had(hostile: Site) -> None:
    code = f"""
def mine():
    call('unshare', 0x10000000 | 0x20000)
    for path in ({str(hostile.home)!r}, {str(hostile.spool.root)!r}, '/proc', '/run'):
        assert libc.umount2(path.encode(), 2) < 0, path
    libc.mount(b'none', b'/', None, 32 | 4096, None)
    return open({str(hostile.key)!r}).read()
status = [line for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapBnd'))]
assert all(int(line.split()[1], 16) == 0 for line in status), status
refused(lambda: os.setuid(1), lambda: os.setgid(1), lambda: call('sethostname', b'x', 1),
        lambda: os.chown('/tmp', 1, 1), lambda: open('/proc/sys/kernel/core_pattern', 'w'),
        lambda: open('/dev/kmsg', 'rb'), lambda: os.sched_setscheduler(0, 1, os.sched_param(50)),
        mine)
"""
    is_refused(suffer(hostile, code)[0], "No such file")


def test_nothing_can_be_mounted_or_unmounted(hostile: Site) -> None:
    code = """
refused(lambda: call('mount', b'none', b'/tmp', b'tmpfs', 0, None),
        lambda: call('mount', b'none', b'/', None, 32 | 4096, None),
        lambda: call('umount2', b'/run', 2), lambda: call('umount2', b'/proc', 2),
        lambda: call('pivot_root', b'.', b'.') if hasattr(libc, 'pivot_root') else open('/none'),
        lambda: os.chroot('.'))
"""
    is_refused(suffer(hostile, code)[0], "Operation not permitted")


def test_memory_kept_in_shared_memory_counts_and_goes(hostile: Site) -> None:
    code = """
for n in range(400):
    with open(f'/dev/shm/{n}', 'wb') as file:
        file.write(bytes(1 << 20))
    time.sleep(0.005)
time.sleep(30)
"""
    attempt, _ = suffer(hostile, code)
    assert attempt.fate is Fate.OOM and "in files of /tmp or /dev/shm" in attempt.evidence


def test_a_task_that_stops_itself_ends_at_its_walltime(hostile: Site) -> None:
    code = (
        "if os.fork(): os.kill(os.getpid(), signal.SIGSTOP)\nos.kill(os.getpid(), signal.SIGSTOP)"
    )
    attempt, _ = suffer(hostile, code, request=short())
    assert attempt.fate is Fate.TIME_LIMIT and "ran longer" in attempt.evidence


def test_a_flood_of_zombies_is_bounded_and_swept(hostile: Site) -> None:
    code = """
for n in range(100000):
    try:
        if os.fork() == 0:
            os._exit(0)
    except OSError as error:
        sys.exit(f'refused: {error.strerror} after {n}')
"""
    is_refused(suffer(hostile, code)[0], "Resource temporarily unavailable")


def test_descriptors_run_out_for_the_task_alone(hostile: Site) -> None:
    code = "files = []\nwhile True: files.append(open('/dev/null'))"
    attempt, _ = suffer(hostile, code)
    assert attempt.fate is Fate.PAYLOAD_ERROR and "Too many open files" in attempt.evidence


def test_the_network_is_not_there(hostile: Site) -> None:
    code = "socket.create_connection(('192.0.2.1', 80), timeout=5)"
    attempt, _ = suffer(hostile, code)
    assert attempt.fate is Fate.NETWORK_DENIED and "found no route" in attempt.evidence


def test_sockets_of_services_are_not_there(hostile: Site) -> None:
    code = """
def speak(path):
    socket.socket(socket.AF_UNIX).connect(path)
    return path
refused(*(lambda p=p: speak(p) for p in ('/run/dbus/system_bus_socket', '/run/systemd/private',
        '/run/munge/munge.socket.2', '/var/run/docker.sock', '\\0/org/freedesktop/x')))
"""
    is_refused(suffer(hostile, code)[0])


def test_the_view_of_later_tasks_cannot_be_broken(hostile: Site) -> None:
    if not hostile.root.is_relative_to("/tmp"):
        pytest.skip("nothing is mounted below /tmp here")
    code = """
refused(*(lambda n=n: os.rename(f'/tmp/{n}', f'/tmp/.{n}') for n in os.listdir('/tmp')),
        *(lambda n=n: open(f'/tmp/{n}/x', 'w') for n in os.listdir('/tmp')))
"""
    is_refused(suffer(hostile, code)[0], "Device or resource busy")


def test_a_whole_pilot_runs_without_any_network(hostile: Site) -> None:
    step = Step("one", shell("echo x > out"), outputs=(Output("out"),), request=small())
    lease = hostile.offered(dataset(step, jobs=20))
    before = ["unshare", "-n", *hostile.before()]
    with hostile.start(slots=2, config=hostile.config, before=before) as process:
        assert process.wait(60) == 0
    attempts = hostile.attempts(lease)
    assert [one.fate for one in attempts] == [Fate.SUCCESS] * 20
    assert hostile.content(attempts[0]) == b"x\n"


def test_the_network_is_for_steps_that_ask_where_the_site_allows_it(hostile: Site) -> None:
    tasks = hostile.config.read_text()
    hostile.config.write_text(f'[site]\nname = "here"\nnetwork = "site"\n{tasks}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"socket.create_connection({server.getsockname()!r}, timeout=5); print(os.getppid())"
        steps = [
            Step(
                wanted or "nothing",
                python(PRELUDE + code),
                request=small(),
                failures_max=1,
                requires=Requires(network=wanted),
            )
            for wanted in ("", "site", "any")
        ]
        lease = hostile.offered(dataset(*steps))
        with hostile.start(slots=1, config=hostile.config, before=hostile.before()) as process:
            assert process.wait(60) == 0
    found = {one.step: one for one in hostile.attempts(lease)}
    assert found[0].fate is Fate.PAYLOAD_ERROR and "refused" in found[0].evidence
    assert found[1].fate is Fate.SUCCESS and hostile.log(lease, found[1]) == b"0\n"
    assert found[2].fate is Fate.NETWORK_DENIED and "'any'" in found[2].evidence


def test_a_site_that_demands_isolation_runs_nothing_without_it(site: SiteFolder) -> None:
    config = site.root / "relay.toml"
    config.write_text('[tasks]\nisolation = "required"\n')
    step = Step("one", shell("true"), request=small())
    lease = site.offered(dataset(step))
    code = "import sys; from pilot import linux; from pilot.isolation import kernel;"
    code += "linux.unshare(linux.CLONE_NEWUSER); linux.keep_own_ids(0, 0);"
    code += "open('/proc/sys/user/max_mnt_namespaces', 'w').write('0');"
    code += "import os; os.execv(sys.argv[1], sys.argv[1:])"
    if os.geteuid() != 0:
        pytest.skip("only root lowers the limit for the test")
    before = [sys.executable, "-c", code]
    with site.start(slots=1, config=config, before=before) as process:
        assert process.wait(30) != 0
    assert not site.attempts(lease)
    config.write_text('[tasks]\nisolation = "auto"\n')
    with site.start(slots=1, config=config, before=before) as process:
        assert process.wait(30) == 0
    ((*_, segment),) = site.seals(lease)
    assert segment.header.host.isolation.startswith("plain: ")
    assert segment.attempts[0].fate is Fate.SUCCESS
