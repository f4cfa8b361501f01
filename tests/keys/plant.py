"""A real central and its sites in a folder, and the drills of the document run against them.

Each command of a drill is a process of its own without a network; what surrounds a drill (other
rotations, work that is done meanwhile) runs in this process by the same functions.
"""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import string
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bundle import canonical
from bundle.cli import main as pulk_main
from bundle.dataset import spec
from bundle.ids import DatasetId
from bundle.limits import SMALL_LIMITS
from bundle.trust import enrolment, fingerprint, roots, trust_file
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import Trust
from central import home as homes
from central.authority import Authority
from central.config import Config
from central.home import Home
from tests.central.conftest import Clock, chain
from tests.central.scripted_site import ScriptedSite
from tests.conftest import REPOSITORY
from tests.keys.document import drills

Value = str | Path | Callable[[], str]


@dataclass(frozen=True)
class Done:
    """One command as it ran."""

    command: str
    code: int
    out: str
    err: str


@dataclass
class Plant:
    """The folder of a test and what the drills' variables stand for."""

    folder: Path
    variables: dict[str, Value] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)  # command lines and environments of processes
    said: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        places = ("usb", "usb/from-sites", "aside", "backup")
        for name in places:
            (self.folder / name).mkdir(mode=0o700)
        self.variables = {
            "CENTRAL": self.home.root,
            "ROOTS": self.sticks,
            "USB": self.usb,
            "ASIDE": self.folder / "aside",
            "BACKUP": self.folder / "backup",
            "RELAY": self.relay,
            "NEW_ROOT": self.folder / "new-root",
            "ROOT_WORDS": lambda: fingerprint.of_roots(self.trust()),
            "SITE_WORDS": self._site_words,
        } | self.variables

    @property
    def home(self) -> Home:
        return Home(self.folder / "central")

    @property
    def sticks(self) -> Path:
        return self.folder / "roots"

    @property
    def usb(self) -> Path:
        return self.folder / "usb"

    @property
    def relay(self) -> Path:
        return self.folder / "relay"

    @property
    def draft(self) -> Path:
        return self.usb / "trust-next"

    def trust(self) -> Trust:
        """The version in force at central."""
        return trust_file.load(self.home.trust)

    def key(self, name: str) -> KeyFile:
        """One of central's private keys."""
        return KeyFile.load(self.home.root / name, Role.CENTRAL)

    def create(self) -> Plant:
        """Make a central whose roots are 2 of 3."""
        roots.make(self.sticks, 3, 2)
        homes.create(self.home, self.sticks)
        return self

    def authority(self) -> Authority:
        """Open central in this process."""
        return Authority.open(homes.open_home(self.home.root), Config(), clock_us=self.clock)

    def site(self, authority: Authority, name: str = "north") -> ScriptedSite:
        """Enrol a scripted site."""
        return ScriptedSite(name, self.folder / f"site-{name}", authority)

    def submit(self, authority: Authority, jobs: int = 2) -> DatasetId:
        """Submit a small dataset."""
        raw = spec.encode(chain(jobs=jobs))
        return authority.submit(raw, idempotency_key=os.urandom(8).hex(), token_id=1).id

    def pulk(self, *arguments: str | Path) -> int:
        """Run a command in this process."""
        return pulk_main.run([str(one) for one in arguments])

    def sign_and_take(self) -> Trust:
        """Let two roots sign the draft and put it in force, in this process."""
        signers = [self.sticks / f"root-{number}" / "root.key" for number in (1, 3)]
        keys = [argument for path in signers for argument in ("--key", path)]
        self.pulk("keys", "sign", self.draft, *keys)
        self.pulk("keys", "take", self.home.root, self.draft)
        return self.trust()

    def rotate(self, *what: str) -> Trust:
        """Rotate in this process."""
        self.pulk("keys", "rotate", self.home.root, *what, "--out", self.draft)
        return self.sign_and_take()

    def drill(self, number: int, **variables: Value) -> list[Done]:
        """Run the commands of a drill, each as a process; every one must do what it should."""
        self.variables |= variables
        done = []
        for line in drills()[number].commands:
            one = self.run(line)
            assert one.code == 0, one
            done.append(one)
        return done

    def run(self, line: str) -> Done:
        """Run one line of the document as a process without a network."""
        known = {k: str(v() if callable(v) else v) for k, v in self.variables.items() if k in line}
        words = shlex.split(string.Template(line).substitute(known))
        if words[0] == "pulk":
            command = [*_cut_off(), sys.executable, "-m", "bundle.cli", *words[1:]]
        else:
            command = [name for word in words for name in sorted(glob.glob(word)) or [word]]  # noqa: PTH207
        process = subprocess.Popen(
            command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(process.pid, ended))
        watcher.start()
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
            ended.set()
            watcher.join()
        self.said += [out, err]
        return Done(line, process.returncode, out, err)

    def secrets(self) -> dict[Path, bytes]:
        """The seeds of all private keys that lie below the folder."""
        found = {}
        for path in self.folder.rglob("*.key"):
            value = canonical.decode(path.read_bytes(), SMALL_LIMITS)
            found[path] = value["seed"]
        return found

    def _watch(self, pid: int, ended: threading.Event) -> None:
        while not ended.wait(0.002):
            for name in ("cmdline", "environ"):
                try:
                    self.seen.add(Path(f"/proc/{pid}/{name}").read_bytes())
                except OSError:
                    continue

    def _site_words(self) -> str:
        raw = (self.relay / "request.enrol").read_bytes()
        return enrolment.check_request(raw).fingerprint


@cache
def _cut_off() -> list[str]:
    """What a command starts with to have no network; nothing where that can't be had."""
    unshare = shutil.which("unshare")
    for options in (["-n"], ["-rn"]):
        if (
            unshare
            and not subprocess.run(
                [unshare, *options, "true"], capture_output=True, timeout=10, check=False
            ).returncode
        ):
            return [unshare, *options]
    return []
