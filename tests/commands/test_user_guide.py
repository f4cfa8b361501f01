"""A newcomer with the user guide alone: every command as it stands there, while a production runs.

Fewer jobs than in the guide; all else is its text.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundle.client import Client
from central.rehearsal.programs import Program
from central.rehearsal.stage import SiteSize, Stage, default_path, set_stage
from tests.commands.conftest import until
from tests.commands.guide import PAGE, Section, sections
from tests.commands.test_export import graph, musts
from tests.conftest import REPOSITORY
from tests.iceprod.configs import one_module
from tests.testbed import roc_validator

pytestmark = pytest.mark.programs

JOBS = ("jobs = 1000", "jobs = 20")
LINE_S = 240
EMAIL = '[notify]\nsmtp_host = "127.0.0.1"\n'  # nobody listens there: nobody has to


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody with an empty home, an address, a token, and the guide."""

    home: Path
    stage: Stage
    url: str

    def read(self, section: Section) -> dict[str, str]:
        """Do what a section says; return what each line showed."""
        for name, text in section.files.items():
            if name == "client.toml":
                self._set_up(text)
            else:
                assert JOBS[0] in text or name != "thousand.toml"
                (self.home / name).write_text(text.replace(*JOBS))
        return {one.line: self._type(one.line, one.code) for one in section.lines}

    def _set_up(self, text: str) -> None:
        admin = Client(self.url, self.stage.token)
        admin.save_user_as("new", {"role": "user"})
        about = {"name": "guide", "user": "new", "scopes": ["read", "submit", "control"]}
        token = self.home / ".config" / "pulk" / "token"
        token.parent.mkdir(parents=True)
        token.write_text(admin.make_token(about)["token"])
        token.chmod(0o600)
        assert "https://pulk.example.org" in text
        here = text.replace("https://pulk.example.org", self.url)
        (token.parent / "client.toml").write_text(here)

    def _type(self, line: str, code: int) -> str:
        environment = {"HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LINE_S,
            check=False,
        )
        assert done.returncode == code, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """A central that is served, an enrolled site that does not run yet, and a newcomer."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    size = SiteSize(1, 2, tasks_wanted=100, shard_tasks_max=20, task_path=default_path())
    stage = set_stage(tmp_path / "stage", size, url)
    with (stage.central_dir / "central.toml").open("a") as file:
        file.write(EMAIL)
    words = ["central", "serve", str(stage.central_dir), "--port", str(port)]
    server = Program("served", words, stage.root)
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    command = home / "bin" / "pulk"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m bundle.cli "$@"\n')
    command.chmod(0o755)
    (home / "config.json").write_text(json.dumps(one_module(args="--n $(job)")))
    server.start()
    try:
        until(lambda: (stage.central_dir / "address").exists() or server.ended_badly())
        assert not server.ended_badly(), server.ended_badly()
        yield Newcomer(home, stage, url)
    finally:
        stage.relay.stop()
        server.stop()


@pytest.mark.timeout(600)
def test_a_newcomer_submits_finds_a_fault_mends_it_and_exports(newcomer: Newcomer) -> None:
    said: dict[str, str] = {}
    for section in sections():
        if section.title == "Watch it run":
            newcomer.stage.relay.start()  # so far nothing ran: "why" had something to say
        shown = newcomer.read(section)
        said |= {line.split("#")[0].strip(): text for line, text in shown.items()}
    assert "nothing is wrong" in said["pulk doctor"]
    assert "because" in said["pulk why thousand/3/simulate"]
    assert "no table for this energy" in said["pulk dataset tasks thousand 7 simulate"]
    failed = said["pulk dataset tasks thousand --verdict failed --limit 5"]
    assert [line.split()[0] for line in failed.splitlines()[2:]] == ["7", "17"]
    assert said["cat results/sum/0/sum.txt"].strip() == "20"
    crate = newcomer.home / "crate"
    with zipfile.ZipFile(newcomer.home / "thousand.zip") as archive:
        archive.extractall(crate)
    assert musts(graph(crate)) == []
    assert roc_validator.issues(crate, "provenance-run-crate-0.5") == []
    taken = [one for one in graph(crate).values() if one["@id"].startswith("#attempt/")]
    summed = [one for one in taken if one.get("instrument") == {"@id": "#tool/1"}]
    assert [len(one["object"]) for one in summed] == [20]
    assert "you are told of nothing" in said["pulk notify set --off"]
    assert sorted(one.name for one in (newcomer.home / "merged/merge").iterdir()) == ["0", "1", "2"]
    assert "not brought home" in said["pulk dataset outputs thousand/7/simulate"]


def test_the_guide_has_a_task_for_everything_that_people_come_with() -> None:
    titles = [one.title for one in sections()]
    assert titles[:5] == [
        "Set up once",
        "Submit a thousand simulations",
        "Find out why it is stuck",
        "Watch it run",
        "Fix and retry",
    ]
    assert {"Export the provenance", "Move from IceProd", "Be told"} <= set(titles)
    assert "Feed it over time" in titles
    assert all(one.lines for one in sections())
    assert f"docs/{PAGE.name}" in (REPOSITORY / "README.md").read_text()
