"""A production that ran for real, with a planted failure, and the central that holds it, served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundle.client import Client
from central.rehearsal.programs import Program
from tests.commands.hook import Hook
from tests.loop.conftest import rehearse

LIMIT_S = 90
COMMAND = [sys.executable, "-I", "-m", "bundle.cli"]
DOCUMENT = """\
schema = 1
name = "planted"
description = "Four jobs; one fails at its first step."
jobs = 4
seed = 1
parameters = { gain = "2.5" }

[[steps]]
name = "roll"
command = [
  "sh", "-c",
  "test $(job) -ne 2 || { echo no dice >&2; exit 7; }; echo $(seed) $(gain) > eyes.txt",
]
outputs = ["eyes.txt"]
environment = { LEVEL = "high" }
request = { cpu = 1, memory = "32MiB", disk = "1MiB", walltime = "1min" }

[[steps]]
name = "twice"
needs = ["roll"]
command = ["sh", "-c", "cat eyes.txt eyes.txt > twice.txt"]
outputs = ["twice.txt"]
request = { cpu = 1, memory = "32MiB", disk = "1MiB", walltime = "1min" }
"""


def until(holds: Callable[[], object]) -> None:
    """Wait until something is so."""
    ends_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < ends_s, "it did not come about"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Production:
    """A central that is served, and the dataset that ran there."""

    central: Path
    dataset: str
    home: Path
    hook: Hook
    hook_url: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return (self.central / "address").read_text().strip()

    @property
    def token_file(self) -> Path:
        """The administrator's."""
        return self.central / "admin.token"

    @property
    def client(self) -> Client:
        """The administrator's client."""
        return Client(self.url, self.token_file.read_text().strip())

    @property
    def environment(self) -> dict[str, str]:
        """What a person has set; nothing of this machine's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PULK_")}
        mine = {"HOME": str(self.home), "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}
        asking = {"PULK_CENTRAL": self.url, "PULK_TOKEN_FILE": str(self.token_file)}
        return kept | mine | asking | {"NO_COLOR": "1"}

    def pulk(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command as a person does."""
        done = subprocess.run(
            [*COMMAND, *words],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            env=self.environment,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        """Run a command with --json; return its document."""
        return json.loads(self.pulk(*words, "--json", code=code).stdout)


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """A rehearsal's central, served; the tests leave its dataset as it is."""
    root = tmp_path_factory.mktemp("production")
    document = root / "planted.toml"
    document.write_text(DOCUMENT)
    summary = rehearse(document, root / "run")
    assert (summary["done"], summary["failed"], summary["lost"]) == (6, 1, 0)
    hook = Hook()
    web = hook.serve()
    hook_url = f"http://127.0.0.1:{web.server_address[1]}"
    keys = f'webhook_hosts = ["{hook_url}"]\nwebhook_private = true\nevery_s = 0.2\n'
    with (root / "run" / "central" / "central.toml").open("a") as file:
        file.write(f"[notify]\n{keys}")
    try:
        with served(root, summary["dataset"], hook, f"{hook_url}/here") as made:
            yield made
    finally:
        web.shutdown()
        web.server_close()


@contextmanager
def served(root: Path, dataset: str, hook: Hook, hook_url: str) -> Iterator[Production]:
    """Serve the central of the rehearsal in `root / "run"`."""
    central = root / "run" / "central"
    (root / "home").mkdir()
    server = Program("serve", ["central", "serve", str(central), "--port", "0"], root)
    server.start()
    try:
        until(lambda: (central / "address").exists() or server.ended_badly())
        assert not server.ended_badly(), server.ended_badly()
        yield Production(central, dataset, root / "home", hook, hook_url)
        assert server.running, f"gone before its end: {server.process}"
        assert "Unhandled" not in (root / "serve.log").read_text()
    finally:
        server.stop()
