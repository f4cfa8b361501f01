"""A real HTCondor pool: Debian trixie's minicondor in a root of its own, as one unprivileged user.

The root is built once (mmdebstrap, about half a minute) and kept outside the repository. A pool
lives in a mount namespace and a user namespace of its own: nothing has to be unmounted, its user
has no power outside, and files of whoever runs the tests are its own. Everything listens on
loopback and is ended by its pid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import debian, memory

SUITE, PACKAGE, VERSION = "trixie", "minicondor", 1
USER, UID = "alice", 2001
CPUS, MEMORY_MIB, SLOTS = 4, 4096, 2
SMALL_BYTES = 24 << 20
BUILD_S, START_S, PROGRAM_S, END_S = 600.0, 60.0, 30.0, 15.0
REPOSITORY = Path(__file__).parent.parent.parent
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
# Enters the root ($1) with some folders of this machine ($2 words, then the command). Its own name
# must be known there too, for a namespace may have nobody to ask.
_ENTER = """
set -e
root=$1; many=$2; shift 2
mount --rbind "$root" "$root"
for place in /proc /dev /sys /etc/hosts; do mount --rbind "$place" "$root$place"; done
while [ "$many" -gt 0 ]; do mount --rbind "$1" "$root$1"; shift; many=$((many - 1)); done
mount -t tmpfs -o mode=755 none "$root/mnt"
mkdir "$root/mnt/old"
cd "$root"
pivot_root . mnt/old
umount -l /mnt/old
cd /
exec unshare --user --map-user="$MAPPED" --map-group="$MAPPED" "$@"
"""
_CONFIG = """
RELEASE_DIR = /usr
LIB = /usr/lib/condor
LIBEXEC = /usr/libexec/condor
SHARE = /usr/share/condor
LOCAL_DIR = {folder}
LOG = {folder}/log
SPOOL = {folder}/spool
EXECUTE = {folder}/execute
RUN = {folder}/run
LOCK = {folder}/lock
REQUIRE_LOCAL_CONFIG_FILE = false
use ROLE: CentralManager
use ROLE: Submit
use ROLE: Execute
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
SHARED_PORT_PORT = {port}
SCHEDD_NAME = testbed@
UID_DOMAIN = testbed
FILESYSTEM_DOMAIN = testbed
TRUST_UID_DOMAIN = True
TRUST_DOMAIN = testbed
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_DEFAULT_ENCRYPTION = OPTIONAL
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS
SEC_PASSWORD_DIRECTORY = {folder}/passwords.d
SEC_TOKEN_SYSTEM_DIRECTORY = {folder}/system-tokens.d
SEC_TOKEN_POOL_SIGNING_KEY_FILE = {folder}/passwords.d/POOL
FS_LOCAL_DIR = {folder}/fs
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
STARTER_UPDATE_INTERVAL = 2
STARTER_INITIAL_UPDATE_INTERVAL = 1
SHADOW_QUEUE_UPDATE_INTERVAL = 2
UPDATE_INTERVAL = 2
PERIODIC_EXPR_INTERVAL = 2
MAX_PERIODIC_EXPR_INTERVAL = 4
POLLING_INTERVAL = 1
CLAIM_WORKLIFE = 0
RUNBENCHMARKS = 0
NUM_CPUS = {cpus}
MEMORY = {memory}
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = {slots}
SLOT_TYPE_1 = cpus=50%, mem=50%
SLOT_TYPE_1_PARTITIONABLE = True
BASE_CGROUP =
USE_PROCD = True
JOB_DEFAULT_REQUESTMEMORY = 64
MOUNT_UNDER_SCRATCH =
MOUNT_PRIVATE_DEV_SHM = False
START = True
MASTER_BACKOFF_CONSTANT = 1
"""
_CLIENT = """
RELEASE_DIR = /nonexistent
LOCAL_DIR = {folder}/client
LOG = {folder}/client
REQUIRE_LOCAL_CONFIG_FILE = false
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
SCHEDD_HOST = testbed@
ENABLE_IPV6 = False
UID_DOMAIN = testbed
FILESYSTEM_DOMAIN = testbed
TRUST_DOMAIN = testbed
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_TOKEN_DIRECTORY = {folder}/tokens.d
SEC_CLIENT_ENCRYPTION = OPTIONAL
SEC_CLIENT_INTEGRITY = REQUIRED
"""


class Unavailable(Exception):
    """There is no HTCondor here; the text says why."""


class Pool:
    """One pool of two partitionable slots, and its user's token. Its programs run as that user.

    `inside`: what its programs are started with, to be in a network namespace. `small` is a little
    filesystem that machines of the pool see too; what is mounted later they do not.
    """

    def __init__(
        self, folder: Path, root: Path, inside: tuple[str, ...] = (), config: str = ""
    ) -> None:
        self.folder, self.root, self.inside = folder, root, inside
        self.small = folder / "small"
        if not memory.mount(self.small, SMALL_BYTES):
            raise Unavailable("HTCondor is not here: no filesystem can be mounted")
        self.port = _free_port()
        for name in ("log", "spool", "execute", "run", "lock", "passwords.d", "system-tokens.d",
                     "tokens.d", "fs", "client", "home"):  # fmt: skip
            (folder / name).mkdir(mode=0o700 if name.endswith(".d") else 0o755)
        facts = {"folder": folder, "port": self.port, "cpus": CPUS, "memory": MEMORY_MIB,
                 "slots": SLOTS}  # fmt: skip
        (folder / "condor_config").write_text(_CONFIG.format(**facts) + config)
        (folder / "client_config").write_text(_CLIENT.format(**facts))
        key = folder / "passwords.d" / "POOL"
        key.write_bytes(os.urandom(64))
        key.chmod(0o600)
        self._master: subprocess.Popen[bytes] | None = None
        try:
            self.start()
            token = self.run("condor_token_create", "-identity", f"{USER}@testbed", "-key", "POOL")
            (folder / "tokens.d" / USER).write_text(token + "\n")
            (folder / "tokens.d" / USER).chmod(0o600)
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client of this pool needs, by token as from another machine."""
        return {"CONDOR_CONFIG": str(self.folder / "client_config")}

    def start(self) -> None:
        """Start the pool, also again after `stop`."""
        with (self.folder / "log" / "master.out").open("ab") as log:
            self._master = subprocess.Popen(
                self._entering("setpriv", "--pdeathsig", "QUIT", "condor_master", "-f"),
                env=self._inside(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _until(lambda: self.said("condor_status", "-af", "Name").count("slot") >= SLOTS, "slots")
        _until(lambda: "testbed" in self.said("condor_status", "-schedd", "-af", "Name"), "schedd")

    def run(self, *argv: str) -> str:
        """Run one of HTCondor's programs inside and return what it said."""
        done = self._run(argv)
        if done.returncode:
            raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr!r}")
        return done.stdout.decode(errors="replace").strip()

    def said(self, *argv: str) -> str:
        """Run a program and return what it said, nothing where it failed."""
        try:
            return self._run(argv).stdout.decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            return ""

    def pid_of(self, program: str) -> int:
        """Return the pid of a daemon; 0 where it does not run."""
        for pid in self._pids():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
                if name.rpartition("/")[2] == program:
                    return pid
        return 0

    def close(self) -> None:
        """End everything that lives in the pool's namespace, and remove the folder."""
        if self._master is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._master.pid, signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._master.wait(END_S)
            for pid in self._pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._master.wait(END_S)
        memory.unmount(self.small)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _entering(self, *argv: str) -> list[str]:
        shared = _folders(self.root)
        alone = ("unshare", "--mount", "--propagation", "private")
        return [*self.inside, *alone, "/bin/sh", "-c", _ENTER, "enter",
                str(self.root), str(len(shared)), *map(str, shared), *argv]  # fmt: skip

    def _inside(self) -> dict[str, str]:
        config = str(self.folder / "condor_config")
        return {"PATH": _PATH, "HOME": str(self.folder / "home"), "LANG": "C.UTF-8",
                "MAPPED": str(UID), "CONDOR_CONFIG": config}  # fmt: skip

    def _run(self, argv: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._entering(*argv),
            env=self._inside(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_S,
            check=False,
        )

    def _pids(self) -> Iterator[int]:
        """Yield every process that was started by the pool: it names this folder's config."""
        sign = f"CONDOR_CONFIG={self.folder}/condor_config".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if sign in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def start(inside: tuple[str, ...] = (), config: str = "") -> Pool:
    """Start a pool, its root built where it is missing; `config` are more lines for its daemons.

    Raises Unavailable.
    """
    if os.geteuid() != 0:
        raise Unavailable("HTCondor is not here: only root can enter its root")
    try:
        import htcondor2  # noqa: F401
    except ImportError:
        raise Unavailable("HTCondor is not here: no Python package htcondor") from None
    root = _root()
    folder = Path(tempfile.mkdtemp(prefix="pulk-condor-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        return Pool(folder, root, inside, config)
    except RuntimeError as error:
        logs = folder / "log" / "master.out"
        raise Unavailable(f"HTCondor is not here: {error} {_tail(logs)}") from error


@contextmanager
def unseen() -> Iterator[Path]:
    """Make a folder that no machine of a pool sees."""
    folder = Path(tempfile.mkdtemp(prefix="pulk-relay-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cache() -> Path:
    """Return where roots are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pulk-testbed"


def _root() -> Path:
    """Return the root, built by the first who needs it. Raises Unavailable."""
    target = cache() / f"{SUITE}-{PACKAGE}-{VERSION}"
    with _alone(target.with_name(f"{target.name}.lock")):
        if not target.is_dir():
            _build(target)
    return target


def _build(target: Path) -> None:
    if os.environ.get("PULK_TEST_INSTALL") == "0":
        raise Unavailable("HTCondor is not here: PULK_TEST_INSTALL=0 declines to build its root")
    if shutil.which("mmdebstrap") is None:
        reason = debian.install(("mmdebstrap",))
        if shutil.which("mmdebstrap") is None:
            raise Unavailable(f"HTCondor is not here: {reason or 'no mmdebstrap'}")
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    print(f"Building a root with Debian's {PACKAGE} in {target}, once.", flush=True)
    left_out = [f"--dpkgopt=path-exclude={place}" for place in _LEFT_OUT]
    user = f'chroot "$1" useradd -u {UID} -m {USER}'
    try:
        done = subprocess.run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGE}",
             '--aptopt=APT::Install-Recommends "false"', *left_out, f"--customize-hook={user}",
             SUITE, str(part), _mirror()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=BUILD_S,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"HTCondor is not here: no root within {BUILD_S:g} s") from None
    if done.returncode:
        print(done.stderr.decode(errors="replace")[-4000:], file=sys.stderr)
        raise Unavailable("HTCondor is not here: mmdebstrap failed (a mirror that is not reached?)")
    for folder in (*_folders(part), Path("/mnt")):
        (part / str(folder)[1:]).mkdir(parents=True, exist_ok=True)
    os.rename(part, target)


def _folders(root: Path) -> list[Path]:
    """Return the folders of this machine that a pool's jobs see at their own places."""
    wanted = {Path("/tmp"), REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)}
    tops = [one for one in wanted if not any(one != up and one.is_relative_to(up) for up in wanted)]
    usual = ("/usr", "/bin", "/lib")  # the root has its own
    found = sorted(one for one in tops if not str(one).startswith(usual))
    for one in found:
        (root / str(one)[1:]).mkdir(parents=True, exist_ok=True)
    return found


def _mirror() -> str:
    listed = Path("/etc/apt/sources.list.d/debian.sources")
    with contextlib.suppress(OSError):
        for line in listed.read_text().splitlines():
            if line.startswith("URIs:"):
                return line.split()[1]
    return "http://deb.debian.org/debian"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-500:]
    except OSError:
        return ""


def _until(holds: Callable[[], object], what: str, limit_s: float = START_S) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {limit_s} s")
        time.sleep(0.2)
