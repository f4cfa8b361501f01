"""A real relay that runs beside a real central: work comes when there is some; trouble is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.trust import enrolment
from relay import enrol
from tests.central.site import document
from tests.relay.carriers.far import Far

pytestmark = pytest.mark.programs

RELAY = [sys.executable, "-I", "-m", "bundle.cli", "relay"]
INTERVAL_S = 120  # far longer than this test may take
LIMIT_S = 60


@pytest.fixture
def relay(far: Far, tmp_path: Path) -> Path:
    """An enrolled relay that starts no pilots."""
    folder, client = tmp_path / "relay", far.served.client
    made = enrol.init(folder, f"south-{os.getpid()}", far.served.url)
    assert enrolment.check_request(made.request.read_bytes()).fingerprint == made.fingerprint
    answer = tmp_path / "answer"
    answer.write_bytes(client.enrol(made.request.read_bytes(), made.fingerprint))
    enrol.accept(folder, answer, far.served.site.created.root_fingerprint)
    path = folder / "relay.toml"
    text = path.read_text().replace("count = 1", "count = 0")
    path.write_text(text + "[spool]\nfree_bytes_min = 0\nfree_inodes_min = 0\n")
    return folder


def test_a_daemon_has_new_work_long_before_its_next_tick(far: Far, relay: Path) -> None:
    log = (relay / "log").open("ab")
    process = subprocess.Popen(
        [*RELAY, "run", str(relay), "--interval", str(INTERVAL_S)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        until((relay / "state" / "reported").exists)
        time.sleep(3)  # it has nothing to do now and listens
        before = set((relay / "work").iterdir())
        began = time.monotonic()
        far.served.client.submit(document(3), os.urandom(8).hex())
        until(lambda: set((relay / "work").iterdir()) - before)
        assert time.monotonic() - began < INTERVAL_S / 2
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
        log.close()


def test_a_tick_that_cannot_reach_central_says_so_and_how_it_goes_on(far: Far, relay: Path) -> None:
    assert tick(relay)[0] == 0
    path = relay / "relay.toml"
    right = path.read_text()
    wrong = right.replace(far.served.url, "http://127.0.0.1:9")
    path.write_text(f"{wrong}[carry]\nretry_s = 600\n")
    codes = [tick(relay) for _ in range(3)]
    assert [code for code, _ in codes] == [75, 75, 75]
    assert "not-yet" in codes[2][1]["trouble"]
    said = json.loads(command(relay, "status", "--json")[1])["central"]["trouble"]
    assert (said["code"], said["failures"]) == ("carry-failed", 2)
    assert said["again_in_s"] > 0
    assert "central not reached" in command(relay, "status")[1]
    path.write_text(right)
    assert tick(relay)[0] == 75
    code, about = tick(relay, "--now")
    assert (code, about["trouble"]) == (0, "")
    assert json.loads(command(relay, "status", "--json")[1])["central"]["trouble"] is None


def tick(relay: Path, *options: str) -> tuple[int, dict[str, str]]:
    code, out = command(relay, "tick", *options, "--json")
    return code, json.loads(out)


def command(relay: Path, name: str, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [*RELAY, name, str(relay), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
