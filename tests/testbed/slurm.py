"""A real Slurm of Debian's packages: four nodes on this machine, accounting in a MariaDB.

Everything listens on loopback, lies in a folder of its own and is ended by its pid. Munge's socket
is in that folder too, so that a munged that runs here already is left alone. Several clusters may
be up at once: no port and no number of a batch job is another's.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.testbed import debian

PACKAGES = ("munge", "slurmctld", "slurmd", "slurmdbd", "slurm-client", "mariadb-server-core",
            "mariadb-client-core")  # fmt: skip
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "sbatch", "sacctmgr", "mariadbd")
NODES, CPUS, MEMORY_MIB = 4, 4, 4000
DATABASE = "nobody"  # the account that MariaDB runs as
START_S, PROGRAM_S, END_S = 60.0, 30.0, 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")
_CONFIG = """
ClusterName=testbed
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
FirstJobId={first_job}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[1]}
AccountingStoragePass={folder}/munge.socket
AccountingStoreFlags=job_comment
KillWait=3
MinJobAge={min_job_age_s}
SlurmctldTimeout=30
SlurmdTimeout=10
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[3]}-{last}] \
CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=debug Nodes=n[1-{nodes}] Default=YES MaxTime=60 OverSubscribe=NO State=UP \
PriorityTier=10
PartitionName=standard Nodes=n[1-{nodes}] MaxTime=1440 OverSubscribe=NO State=UP PriorityTier=10
PartitionName=low Nodes=n[1-{nodes}] MaxTime=60 OverSubscribe=NO State=UP PriorityTier=1 \
PreemptMode=REQUEUE
"""
_ACCOUNTING = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[1]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[2]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=accounting
"""
_SQL = """
create database accounting;
create user slurm@'127.0.0.1' identified by 'slurm';
create user slurm@'localhost' identified by 'slurm';
grant all on accounting.* to slurm@'127.0.0.1';
grant all on accounting.* to slurm@'localhost';
"""


class Unavailable(Exception):
    """There is no Slurm here; the text says why."""


class Cluster:
    """One cluster of the partitions `debug` and `low`. Its programs run as root, MariaDB as nobody.

    Jobs of `low` give way to those of `debug`. `inside`: what its programs are started with, to be
    in a network namespace.
    """

    def __init__(
        self, folder: Path, min_job_age_s: int = 300, inside: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.inside = folder, inside
        self._began: list[subprocess.Popen[bytes]] = []
        self._guard, self.ports = _free_ports(3 + NODES)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        facts = {"folder": folder, "ports": self.ports, "last": self.ports[-1], "nodes": NODES,
                 "host": socket.gethostname().partition(".")[0], "cpus": CPUS,
                 "memory": MEMORY_MIB, "min_job_age_s": min_job_age_s,
                 "first_job": self.ports[0] * 100}  # fmt: skip
        (folder / "slurm.conf").write_text(_CONFIG.format(**facts))
        accounting = folder / "slurmdbd.conf"
        accounting.write_text(_ACCOUNTING.format(**facts))
        accounting.chmod(0o600)
        try:
            self._munge()
            self._database()
            self._accounting()
            self.start_controller()
            for number in range(1, NODES + 1):
                self.start_node(f"n{number}")
            idle = str(NODES)
            _until(lambda: self.said("sinfo", "-h", "-t", "idle", "-o", "%D") == idle, "nodes")
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> Mapping[str, str]:
        """What the programs of this cluster need."""
        conf = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **conf}

    def run(self, *argv: str) -> str:
        """Run one of Slurm's programs and return what it said."""
        done = self._run(argv)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr!r}")
        return done.stdout.decode(errors="replace").strip()

    def said(self, *argv: str) -> str:
        """Run a program and return what it said, nothing where it failed."""
        return self._run(argv).stdout.decode(errors="replace").strip()

    def start_controller(self) -> None:
        """Start slurmctld, also again after `stop_controller`."""
        self._start("slurmctld", "-D")
        _until(lambda: "UP" in self.said("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """End slurmctld; jobs run on."""
        self._stop("slurmctld")

    def kill_node(self, name: str) -> None:
        """Kill a node's slurmd as a power cut would; what it started runs on."""
        for one in [one for one in self._began if _argv(one)[-3:] == ["-D", "-N", name]]:
            one.kill()
            one.wait(END_S)
            self._began.remove(one)

    def start_node(self, name: str) -> None:
        self._start("slurmd", "-D", "-N", name)

    def close(self) -> None:
        """End everything, the newest first, and remove the folder."""
        with contextlib.suppress(Exception):
            self.said("scancel", "--full", "--user=root")
            _until(lambda: not self.said("squeue", "-h"), "end of jobs", 3.0)
        for one in reversed(self._began):
            _end(one)
        self._guard.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, argv: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            (*self.inside, *argv),
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_S,
            check=False,
        )

    def _start(self, *argv: str, account: str = "", mode: int | None = None) -> None:
        program = shutil.which(argv[0], path=_PATH) or argv[0]
        conf = {"SLURMDBD_CONF": str(self.folder / "slurmdbd.conf")}
        who = {} if not account else {"user": account, "group": account, "extra_groups": []}
        inside = () if account else self.inside  # which only root may enter, and munge needs not
        with (self.folder / f"{Path(program).name}.out").open("ab") as log:
            self._began.append(
                subprocess.Popen(
                    [*inside, program, *argv[1:]],
                    env={**self.environment, **conf},
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=-1 if mode is None else mode,
                    **who,  # type: ignore[arg-type]
                )
            )

    def _stop(self, program: str) -> None:
        for one in [one for one in self._began if program in map(_name, _argv(one))]:
            _end(one)
            self._began.remove(one)

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        shutil.chown(key, "munge", "munge")
        place = self.folder / "munge"
        place.mkdir(mode=0o755)
        shutil.chown(place, "munge", "munge")
        link = self.folder / "munge.socket"
        link.symlink_to(place / "socket")
        files = {"key-file": key, "socket": place / "socket", "pid-file": place / "pid",
                 "log-file": place / "log", "seed-file": place / "seed"}  # fmt: skip
        options = [f"--{name}={path}" for name, path in files.items()]
        self._start("munged", "--foreground", "--force", *options, account="munge", mode=0o022)
        _until((place / "socket").exists, "munged")

    def _database(self) -> None:
        data = self.folder / "db"
        data.mkdir()
        shutil.chown(data, DATABASE)
        made = subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--user={DATABASE}", f"--datadir={data}/data",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            env={"PATH": _PATH},
            cwd=data,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_S,
            check=False,
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"mariadb-install-db: {made.stderr!r} {made.stdout!r}")
        at = f"--socket={data}/socket"
        self._start(
            "mariadbd", "--no-defaults", f"--user={DATABASE}", f"--datadir={data}/data",
            "--bind-address=127.0.0.1", f"--port={self.ports[2]}", at,
            f"--pid-file={data}/pid", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip
        ping = ("mariadb", "--no-defaults", at, "-u", "root", "-e", "select 1")
        _until(lambda: self._run(ping).returncode == 0, "mariadbd")
        self.run("mariadb", "--no-defaults", at, "-u", "root", "-e", _SQL)

    def _accounting(self) -> None:
        self._start("slurmdbd", "-D")
        shown = ("sacctmgr", "-n", "show", "cluster")
        _until(lambda: self._run(shown).returncode == 0, "slurmdbd")
        self.run("sacctmgr", "-i", "add", "cluster", "testbed")  # before slurmctld: else a deadlock


def start(min_job_age_s: int = 300, inside: tuple[str, ...] = ()) -> Cluster:
    """Start a cluster, its packages installed where they are missing. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("Slurm is not here: its daemons need root")
    if any(shutil.which(one, path=_PATH) is None for one in PROGRAMS):
        reason = _install()
        missing = [one for one in PROGRAMS if shutil.which(one, path=_PATH) is None]
        if missing:
            raise Unavailable(f"Slurm is not here: {reason or 'no ' + ', '.join(missing)}")
    for account in ("munge", DATABASE):
        try:
            pwd.getpwnam(account)
        except KeyError:
            raise Unavailable(f"Slurm is not here: no account {account}") from None
    folder = Path(tempfile.mkdtemp(prefix="pulk-slurm-", dir="/tmp"))
    folder.chmod(0o755)
    return Cluster(folder, min_job_age_s, inside)


def _argv(one: subprocess.Popen[bytes]) -> list[str]:
    return list(one.args)  # type: ignore[arg-type]


def _name(word: str) -> str:
    return Path(word).name


def _install() -> str:
    """Install the packages; none of their services is started meanwhile."""
    ours = os.environ.get("PULK_TEST_INSTALL") != "0" and not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        return debian.install(PACKAGES)
    finally:
        if ours:
            _POLICY.unlink()


def _free_ports(count: int) -> tuple[socket.socket, list[int]]:
    """Return free ports that follow each other, and what keeps others from them as long as it is
    open: the port before them, held. Ranges never overlap, for all begin at multiples."""
    size = 1 + count
    for first in random.sample(range(20_000, 30_000, size), 200):
        held: list[socket.socket] = []
        try:
            for port in range(first, first + size):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
        except OSError:
            held[0].close()
            continue
        finally:
            for one in held[1:]:
                one.close()
        return held[0], list(range(first + 1, first + size))
    raise Unavailable("Slurm is not here: no free ports")


def _until(holds: Callable[[], object], what: str, limit_s: float = START_S) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {limit_s} s")
        time.sleep(0.1)


def _end(one: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(one.pid, signal.SIGTERM)
    try:
        one.wait(END_S)
    except subprocess.TimeoutExpired:
        one.kill()
        one.wait(END_S)
