"""The drill of docs/operate-central.md as written: the disk dies, and nothing is lost.

Everything is the real command in a process of its own; only the payload is pretended.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bundle.client import Client
from bundle.dataset import spec
from relay.home import open_home
from tests.conftest import REPOSITORY
from tests.relay.world import Pilot, a_dataset
from tests.restores.world import RELAY

pytestmark = pytest.mark.programs

PULK = [sys.executable, "-I", "-m", "bundle.cli"]
LIMIT_S = 60
JOBS = 30


def commands(heading: str) -> list[str]:
    """The lines of the first block below a heading of the page."""
    text = (REPOSITORY / "docs" / "operate-central.md").read_text()
    _, _, below = text.partition(f"\n{heading}\n")
    found = re.search(r"^```\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1].splitlines()


@dataclass
class Drill:
    """A central on one device, backups and a site on another."""

    disk: Path
    other: Path
    ledger: set[tuple[Any, ...]] = field(default_factory=set)
    server: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.central, self.relay = self.disk / "central", self.other / "relay"
        self.variables = {
            "CENTRAL": str(self.central),
            "BACKUP": str(self.other / "backup"),
            "KEYS": str(self.other / "keys"),
        }

    def type(self, line: str, *, codes: tuple[int, ...] = (0,)) -> str:
        """Run one line of the page."""
        words = shlex.split(string.Template(line).substitute(self.variables))
        command = [*PULK, *words[1:]] if words[0] == "pulk" else words
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode in codes, (line, done.stdout, done.stderr)
        return done.stdout

    def pulk(self, *words: str) -> Any:
        return json.loads(self.type(shlex.join(["pulk", *words, "--json"])))

    def set_up(self) -> None:
        made = self.pulk("central", "init", str(self.central), "--copies", "2")
        keys = Path(self.variables["KEYS"])
        keys.mkdir()
        for name in ("central.key", "central-next.key", "registrar.key"):
            shutil.copy(self.central / name, keys)
        url = f"http://127.0.0.1:{self.port}"
        asked = self.pulk("relay", "init", str(self.relay), "--site", "north", "--central", url)
        answer = str(self.other / "answer")
        self.pulk(
            "central", "enrol", str(self.central), asked["request"],
            "--fingerprint", asked["fingerprint"], "--out", answer,
        )  # fmt: skip
        self.pulk("relay", "accept", str(self.relay), answer, "--root", made["root_fingerprint"])
        text = RELAY.format(name="north") + f'[central]\nurl = "{url}"\n'
        (self.relay / "relay.toml").write_text(text)

    def serve(self) -> Client:
        command = [*PULK, "central", "serve", str(self.central), "--port", str(self.port)]
        with (self.other / "log").open("ab") as log:
            self.server = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
        until = time.monotonic() + LIMIT_S
        while not (self.central / "address").exists():
            assert self.server.poll() is None, (self.other / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        token = (self.central / "admin.token").read_text().strip()
        return Client((self.central / "address").read_text().strip(), token, direct=True)

    def kill(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait(timeout=10)
        (self.central / "address").unlink(missing_ok=True)  # else it seems to listen at once

    def tick(self) -> Any:
        return self.pulk("relay", "tick", str(self.relay))

    def run_pilot(self, shards: int) -> None:
        pilot = Pilot.start(open_home(self.relay).spool)
        for _ in range(shards):
            header = pilot.take()
            if header is None:
                break
            _, attempts = pilot.journal(header, pilot.jobs(header))
            pilot.seal(header, attempts)
            self.ledger |= {(header.pilot_run, one.local, one.job) for one in attempts}
        pilot.end()


@pytest.fixture
def drill(tmp_path: Path, other_device: Path) -> Any:
    made = Drill(tmp_path, other_device)
    yield made
    if made.server is not None and made.server.poll() is None:
        made.kill()


def test_the_disk_died_and_the_backup_of_last_night_and_the_sites_have_it_all(
    drill: Drill,
) -> None:
    drill.set_up()
    config = drill.central / "central.toml"
    config.write_text(config.read_text().replace("[planner]", "[planner]\nshard_tasks_max = 5"))
    client = drill.serve()
    dataset = client.submit(spec.encode(a_dataset(JOBS)), os.urandom(8).hex())["id"]
    drill.tick()
    drill.tick()
    drill.run_pilot(2)
    drill.tick()
    (nightly,) = commands("## Backups and copies")
    said = drill.type(nightly)  # while the server runs
    assert "safe by it now" in said
    drill.tick()
    drill.run_pilot(2)
    for _ in range(3):
        drill.tick()
    assert client.counts(dataset)[0]["attempts"] == len(drill.ledger) == 20
    drill.kill()
    shutil.rmtree(drill.central)

    restore, keys, doctor, fsck = commands("### Drill: the disk died, restore from last night")
    said = drill.type(restore)
    assert "waits for: north" in said
    assert "put back before it can serve: central.key, registrar.key" in said
    drill.type(keys)
    assert "waits for what north hold" in drill.type(doctor)
    assert "sound" in drill.type(fsck)
    client = drill.serve()
    assert client.counts(dataset)[0]["attempts"] == 10
    drill.tick()
    drill.tick()
    assert "waits for what" not in drill.type(doctor)
    for _ in range(3):
        drill.run_pilot(100)
        drill.tick()
    drill.type(nightly)
    for _ in range(2):
        drill.tick()
    (step,) = client.counts(dataset)
    assert step["counts"] == {"done": JOBS}
    assert step["attempts"] == len(drill.ledger) == JOBS  # nothing lost, nothing run twice
    assert drill.tick()["idle"]
    drill.kill()
    assert drill.pulk("central", "fsck", str(drill.central))["ok"]


def test_take_over_begins_a_later_epoch_and_presume_lost_asks_the_server(drill: Drill) -> None:
    drill.set_up()
    client = drill.serve()
    before = client.health()["epoch"]
    drill.tick()
    lost = drill.pulk("central", "presume-lost", str(drill.central), "north")
    assert lost == {"leases": 0}
    busy = drill.type(f"pulk central take-over {drill.central}", codes=(75,))
    assert busy == ""
    drill.kill()
    (line,) = commands("### When central was set back, or there are two")
    assert "epoch" in drill.type(line)
    assert drill.serve().health()["epoch"] > before
    drill.tick()
    drill.tick()
    status = drill.pulk("relay", "status", str(drill.relay))["central"]
    assert len(status["epochs"]) == 1  # it heard none before
    chosen = drill.pulk("relay", "heed", str(drill.relay), status["epochs"][0])
    assert chosen["epoch"] == status["epochs"][0]
