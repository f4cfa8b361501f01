"""Datasets through real schedulers behind a firewall, and by stick: nothing lost, nothing twice.

Central is in one network namespace, relay and scheduler in another. The firewall between them lets
nothing in, and drops everything for a while in the middle of a transfer. Pilots and their tasks see
no network at all.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from relay import pilot_folder
from site_adapters.local import pilot_command
from tests.sites.field import Center, Outpost, Program, chain, end, tasks, until
from tests.testbed.network import CENTRAL_ADDRESS, SITE_ADDRESS, Network

pytestmark = [pytest.mark.programs, pytest.mark.timeout(900)]

SITE = "behind"  # a name that no other test's pilots have
JOBS, BY_HAND_JOBS = 120, 40
CUT_S = 6.0
UNDER_WAY_BYTES = 200_000  # seen to leave the site at one go
DONE_S = 300.0  # on a machine that does much else
CONFIG = """
[central]
url = "{url}"
timeout_s = 2
[pilots]
count = 6
slots = 2
idle_s = 3
{pilots}
[batch]
exclusive = false
memory_mib = 500
poll_s = 1
{batch}
[spool]
free_bytes_min = 0
[carry]
resend_after_s = 5
resend_unanswered_after_s = 1
report_after_s = 2
[tasks]
path = "/usr/bin:/bin"
"""
SCHEDULERS = ("slurm", "htcondor")
PYTHON = Path(sys.base_prefix) / "bin" / "python3"
BATCH = {
    "slurm": 'adapter = "slurm"\nnodes = 2\ncpus = 2',
    "htcondor": 'adapter = "htcondor"\ncpus = 1',
}
APART = f'shared_filesystem = false\nshards = 2\npython = "{PYTHON}"'
PLANNER = "[planner]\nshard_tasks_max = 24\n"


def reaches(program: Program, address: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(('{address}', {port}), 1)"
    command = [*program.inside, "python3", "-c", code]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


def listening(program: Program, address: str, port: int) -> subprocess.Popen[bytes]:
    code = (
        "import socket, sys\n"
        f"s = socket.create_server(('{address}', {port})); print('on', flush=True); s.accept()"
    )
    process = subprocess.Popen([*program.inside, "python3", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"on\n"
    return process


def test_the_firewall_lets_out_and_not_in(
    network: Network, login_node: Program, far_away: Program
) -> None:
    for program, other, address, passes in (
        (far_away, login_node, CENTRAL_ADDRESS, True),
        (login_node, far_away, SITE_ADDRESS, False),
    ):
        process = listening(program, address, 4711)
        try:
            assert reaches(other, address, 4711) is passes
        finally:
            end(process)
            assert process.stdout is not None
            process.stdout.close()


def cut_a_transfer(network: Network, relay: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until results are under way, then let nothing pass for a while."""
    before, at = network.sent_bytes(), time.monotonic()
    deadline = at + DONE_S
    while True:
        time.sleep(0.05)
        now = network.sent_bytes()
        if now - before > UNDER_WAY_BYTES:
            break
        if time.monotonic() - at > 0.5:
            before, at = now, time.monotonic()
        assert time.monotonic() < deadline and relay.poll() is None, log.read_text()
    with network.closed():
        time.sleep(CUT_S)
    assert "central not reached" in log.read_text()


@dataclass(slots=True)
class Behind:
    """A login node of a scheduler behind the firewall."""

    scheduler: str
    program: Program
    networks: set[str] = field(default_factory=set)  # interfaces that pilots were seen to have

    def config(self, folder: Path, url: str, *, apart: bool = False) -> str:
        """Return relay.toml. A pilot of Slurm is put where it has no network, the pool does it."""
        batch, pilots = BATCH[self.scheduler], ""
        if self.scheduler == "slurm":
            words = pilot_command(
                folder, ("-I", "-m", "bundle.cli", "pilot"), {"slots": 2, "idle-s": 3}
            )
            pilots = f"command = {json.dumps(['unshare', '--net', '--', *words])}"
        elif apart:
            batch, pilots = f"{batch}\n{APART}", 'folder = "pilot"'
        return CONFIG.format(url=url, pilots=pilots, batch=batch)

    @contextlib.contextmanager
    def watched(self, site: str) -> Iterator[None]:
        """Note meanwhile what networks a site's pilots have."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.3):
                for one in psutil.process_iter():
                    with contextlib.suppress(psutil.Error, OSError):
                        self._look(one, f"{self.scheduler}:{site}-")

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, one: psutil.Process, batch_id: str) -> None:
        words = one.cmdline()
        if any(word.startswith(batch_id) for word in words) and "python" in words[0]:
            lines = Path(f"/proc/{one.pid}/net/dev").read_text().splitlines()[2:]
            self.networks.update(line.partition(":")[0].strip() for line in lines)


@pytest.fixture(params=SCHEDULERS)
def behind(request: pytest.FixtureRequest) -> Behind:
    """One scheduler after the other."""
    node = {"slurm": "login_node", "htcondor": "submit_node"}[request.param]
    return Behind(request.param, request.getfixturevalue(node))


def test_a_dataset_through_a_firewall_that_drops_everything_in_the_middle(
    tmp_path: Path, unseen: Path, network: Network, behind: Behind, far_away: Program
) -> None:
    center = Center.made(tmp_path / "central", far_away, PLANNER)
    log, program = tmp_path / "relay.log", behind.program
    folder = {"slurm": tmp_path, "htcondor": unseen}[behind.scheduler] / "site"
    with center.serving(CENTRAL_ADDRESS):
        config = behind.config(folder, center.url, apart=True)
        site = Outpost.made(folder, program, SITE, center, config, tmp_path)
        pilot_folder.make(folder / "pilot")
        dataset = center.submit(chain("through", JOBS, 60_000))
        run = ("relay", "-v", "run", site.folder, "--interval", "0.5")
        with program.serving(log, *run) as relay, behind.watched(SITE):
            cut_a_transfer(network, relay, log)
            until(lambda: center.counts(dataset)["done"] == 2 * JOBS + 1, "done", DONE_S, 1)
            until(lambda: _is_safe(center.tell(dataset, 0, "sum")), "its receipt", DONE_S, 1)
        assert site.ended() == tasks(JOBS)
        _check_story(center.tell(dataset, 0, "sum"), behind.scheduler)
    assert behind.networks == {"lo"}, "pilots saw a network, or none was seen"
    assert center.sound() == (2 * JOBS + 1, 2 * JOBS + 1)  # nothing lost, nothing twice


def _is_safe(told: object) -> bool:
    assert isinstance(told, dict)
    return all(one["safe"] for one in told["story"] if one["what"] == "result")


def _check_story(told: dict[str, object], scheduler: str) -> None:
    """It begins with the submission, ends with the verdict, and names who carried it where."""
    story = told["story"]
    assert isinstance(story, list)
    words = [one["what"] for one in story]
    assert (words[0], words[-1]) == ("submitted", "verdict")
    assert [one for one in words if one != "pin"] == [
        "submitted", "leased", "attempt", "result", "verdict",
    ]  # fmt: skip
    leased, tried = (next(one for one in story if one["what"] == w) for w in ("leased", "attempt"))
    assert (leased["site"], leased["fetched"], leased["state"]) == (SITE, True, "complete")
    assert tried["batch_id"].startswith(f"{scheduler}:")
    assert "success" in tried["text"] and "it counts" in tried["text"]
    assert len({one["key"] for one in story if one.get("key")}) == 2  # central's and the site's


def test_a_dataset_by_stick_where_there_is_no_network_at_all(
    tmp_path: Path, behind: Behind, far_away: Program
) -> None:
    center = Center.made(tmp_path / "central", far_away, PLANNER)
    program, folder = behind.program, tmp_path / "site"
    with center.serving():
        site = Outpost.made(folder, program, SITE, center, behind.config(folder, ""))
        dataset = center.submit(chain("by-hand", BY_HAND_JOBS))
    home, away = tmp_path / "from-site", tmp_path / "to-site"
    for folder in (home, away):
        folder.mkdir()

    def trip() -> None:
        """A stick goes to central and comes back."""
        program.run("relay", "export", site.folder, home)
        far_away.run("central", "exchange", center.folder, home, away)
        program.run("relay", "import", site.folder, away)

    site.tick()
    trip()
    deadline = time.monotonic() + DONE_S
    while any(site.status()["work"][0][name] for name in ("open_tasks",)):
        site.tick()
        assert time.monotonic() < deadline, site.status()
        time.sleep(0.5)
    site.tick()
    trip()
    trip()  # receipts, and nothing new
    site.tick()
    with center.serving():
        assert center.counts(dataset) == {"done": 2 * BY_HAND_JOBS + 1}
        _check_story(center.tell(dataset, 0, "sum"), behind.scheduler)
    assert site.ended() == tasks(BY_HAND_JOBS)
    assert not site.status()["work"]
    assert center.sound() == (2 * BY_HAND_JOBS + 1, 2 * BY_HAND_JOBS + 1)
