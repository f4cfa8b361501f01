"""A dataset through a real Slurm behind a firewall, and one through a stick: nothing lost or twice.

Central is in one network namespace, relay and Slurm in another. The firewall between them lets
nothing in, and drops everything for a while in the middle of a transfer. Tasks see no network.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.sites.field import Center, Outpost, Program, chain, end, tasks, until
from tests.testbed.network import CENTRAL_ADDRESS, SITE_ADDRESS, Network

pytestmark = [pytest.mark.programs, pytest.mark.campaign, pytest.mark.timeout(400)]

JOBS, BY_HAND_JOBS = 120, 40
CUT_S = 6.0
UNDER_WAY_BYTES = 200_000  # seen to leave the site at one go
DONE_S = 150.0
CONFIG = """
[central]
url = "{url}"
timeout_s = 2
[pilots]
count = 6
slots = 2
idle_s = 3
[batch]
adapter = "slurm"
nodes = 2
exclusive = false
cpus = 2
memory_mib = 500
poll_s = 1
[spool]
free_bytes_min = 0
[carry]
resend_after_s = 5
resend_unanswered_after_s = 1
report_after_s = 2
[tasks]
path = "/usr/bin:/bin"
"""
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


def test_a_dataset_through_slurm_and_a_firewall_that_drops_everything_in_the_middle(
    tmp_path: Path, network: Network, login_node: Program, far_away: Program
) -> None:
    center = Center.made(tmp_path / "central", far_away, PLANNER)
    log = tmp_path / "relay.log"
    with center.serving(CENTRAL_ADDRESS):
        config = CONFIG.format(url=center.url)
        site = Outpost.made(tmp_path / "site", login_node, "north", center, config)
        dataset = center.submit(chain("through", JOBS, 60_000))
        run = ("relay", "-v", "run", site.folder, "--interval", "0.5")
        with login_node.serving(log, *run) as relay:
            cut_a_transfer(network, relay, log)
            until(lambda: center.counts(dataset)["done"] == 2 * JOBS + 1, "done", DONE_S, 1)
            until(lambda: _is_safe(center.tell(dataset, 0, "sum")), "its receipt", DONE_S, 1)
        assert site.ended() == tasks(JOBS)
        told = center.tell(dataset, 0, "sum")
        _check_story(told)
    assert center.sound() == (2 * JOBS + 1, 2 * JOBS + 1)  # nothing lost, nothing twice


def _is_safe(told: object) -> bool:
    assert isinstance(told, dict)
    return all(one["safe"] for one in told["story"] if one["what"] == "result")


def _check_story(told: dict[str, object]) -> None:
    """It begins with the submission, ends with the verdict, and names who carried it where."""
    story = told["story"]
    assert isinstance(story, list)
    words = [one["what"] for one in story]
    assert (words[0], words[-1]) == ("submitted", "verdict")
    assert [one for one in words if one != "pin"] == [
        "submitted", "leased", "attempt", "result", "verdict",
    ]  # fmt: skip
    leased, tried = (next(one for one in story if one["what"] == w) for w in ("leased", "attempt"))
    assert (leased["site"], leased["fetched"], leased["state"]) == ("north", True, "complete")
    assert tried["batch_id"].startswith("slurm:")
    assert "success" in tried["text"] and "it counts" in tried["text"]
    assert len({one["key"] for one in story if one.get("key")}) == 2  # central's and the site's


def test_a_dataset_through_slurm_with_no_network_at_all(
    tmp_path: Path, login_node: Program, far_away: Program
) -> None:
    center = Center.made(tmp_path / "central", far_away, PLANNER)
    with center.serving():
        config = CONFIG.format(url="")
        site = Outpost.made(tmp_path / "site", login_node, "north", center, config)
        dataset = center.submit(chain("by-hand", BY_HAND_JOBS))
    home, away = tmp_path / "from-site", tmp_path / "to-site"
    for folder in (home, away):
        folder.mkdir()

    def trip() -> None:
        """A stick goes to central and comes back."""
        login_node.run("relay", "export", site.folder, home)
        far_away.run("central", "exchange", center.folder, home, away)
        login_node.run("relay", "import", site.folder, away)

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
        _check_story(center.tell(dataset, 0, "sum"))
    assert site.ended() == tasks(BY_HAND_JOBS)
    assert not site.status()["work"]
    assert center.sound() == (2 * BY_HAND_JOBS + 1, 2 * BY_HAND_JOBS + 1)
