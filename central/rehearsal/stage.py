"""Setting the stage: a real authority, a real site enrolled both ways, and their configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bundle.client import NoAnswer
from bundle.errors import PulkError
from central.rehearsal.ledger import LEDGER_VARIABLE
from central.rehearsal.programs import Program, call, call_json

SITE = "rehearsal"


@dataclass(frozen=True, slots=True)
class SiteSize:
    """How large the rehearsal's site is, and how central cuts the work for it."""

    pilots: int
    slots: int
    tasks_wanted: int  # how many tasks the site asks for at a time
    shard_tasks_max: int
    task_path: str  # PATH that the tasks see
    isolation: str = "auto"  # how tasks are held: see docs/pilot.md


@dataclass(frozen=True, slots=True)
class Stage:
    """The folders of a rehearsal and the two programs that run through it."""

    root: Path
    central: Program
    relay: Program

    @property
    def central_dir(self) -> Path:
        """Central's folder: database, archive, keys, address."""
        return self.root / "central"

    @property
    def spool(self) -> Path:
        """The relay's folder, which is the spool."""
        return self.root / "site"

    @property
    def ledger(self) -> Path:
        """Where the payloads append their ends."""
        return self.root / "ledger" / "ends"

    @property
    def token(self) -> str:
        """The administrator's token."""
        return (self.central_dir / "admin.token").read_text().strip()

    def central_url(self) -> str:
        """Where central listens now; it may have moved after a kill.

        Raises NoAnswer while it starts: between a kill and the next start nobody listens.
        """
        try:
            return (self.central_dir / "address").read_text().strip()
        except FileNotFoundError as error:
            raise NoAnswer(reason="it is not listening yet") from error


class FolderInUse(PulkError):
    """A rehearsal needs an empty folder: it may hold an earlier one. Name another with `--dir`."""

    code = "folder-in-use"
    what = "the folder is not empty"
    remedy = "name another folder with --dir, or remove this one; nothing was changed"


def set_stage(root: Path, size: SiteSize, courier_url: str) -> Stage:
    """Make an authority and a site in `root` and enrol the site, as two people would by phone."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FolderInUse(where=str(root))
    central_dir, spool = root / "central", root / "site"
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    made = call_json("central", "init", str(central_dir))
    asked = call_json("relay", "init", str(spool), "--site", SITE, "--central", courier_url)
    answer = root / "answer.enrol"
    call(
        "central",
        "enrol",
        str(central_dir),
        asked["request"],
        "--fingerprint",
        asked["fingerprint"],
        "--out",
        str(answer),
    )
    call("relay", "accept", str(spool), str(answer), "--root", made["root_fingerprint"])
    _write_central_config(central_dir, size)
    _write_relay_config(spool, size, courier_url, root / "ledger" / "ends")
    return Stage(
        root,
        Program("central", ["central", "serve", str(central_dir), "--port", "0"], logs),
        Program("relay", ["relay", "run", str(spool), "--interval", "0.25"], logs),
    )


def default_path() -> str:
    """Return the PATH of the tasks: this interpreter's folder first, then the system's."""
    import sys

    return os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])


def _write_central_config(central_dir: Path, size: SiteSize) -> None:
    (central_dir / "central.toml").write_text(
        f"[planner]\nshard_tasks_max = {size.shard_tasks_max}\n"
    )


def _write_relay_config(spool: Path, size: SiteSize, url: str, ledger: Path) -> None:
    ledger.parent.mkdir(exist_ok=True)  # tasks write it: it lies apart from all else
    (spool / "relay.toml").write_text(
        f'[site]\nname = "{SITE}"\n'
        f'[central]\nurl = "{url}"\n'
        f"[pilots]\ncount = {size.pilots}\nslots = {size.slots}\nidle_s = 3\n"
        "[carry]\nresend_gap_after_s = 1\nresend_unanswered_after_s = 2\nresend_after_s = 15\n"
        "report_after_s = 2\n"
        f"[capacity]\ntasks_wanted = {size.tasks_wanted}\n"
        f'[tasks]\npath = "{size.task_path}"\nwritable = ["{ledger.parent}"]\n'
        f'isolation = "{size.isolation}"\n'
        f'[task_environment]\n{LEDGER_VARIABLE} = "{ledger}"\n'
    )
