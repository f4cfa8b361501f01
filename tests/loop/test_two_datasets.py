"""One dataset needs another's tasks, with the real programs: what it read is what those made."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.client import Client
from central.fsck import fsck
from central.home import Home
from central.rehearsal.programs import Program
from central.rehearsal.stage import SiteSize, Stage, default_path, set_stage
from tests.commands.conftest import until
from tests.commands.test_export import graph as as_graph
from tests.commands.test_export import musts
from tests.conftest import REPOSITORY
from tests.loop.conftest import COMMAND

pytestmark = pytest.mark.programs

EXAMPLE = REPOSITORY / "examples" / "two-datasets"
JOBS = 4


class Place:
    """A central that is served, and a site with a relay and a pilot."""

    def __init__(self, stage: Stage, url: str) -> None:
        self.stage, self.url = stage, url
        self.client = Client(url, stage.token)

    def pulk(self, *words: str) -> dict[str, Any]:
        token = str(self.stage.central_dir / "admin.token")
        asked = [*words, "--central", self.url, "--token-file", token, "--json"]
        done = subprocess.run(
            [*COMMAND, *asked],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.stage.root,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def counts(self, dataset: str) -> list[dict[str, int]]:
        return [one["counts"] for one in self.client.counts(dataset)]

    def made(self, dataset: str, job: int, step: int) -> bytes:
        (output,) = self.client.task(dataset, job, step)["outputs"][:1]
        return self.client.file(output["sha256"])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    size = SiteSize(1, 2, tasks_wanted=50, shard_tasks_max=3, task_path=default_path())
    stage = set_stage(tmp_path / "stage", size, "http://127.0.0.1:1")
    words = ["central", "serve", str(stage.central_dir), "--port", "0"]
    server = Program("served", words, stage.root)
    server.start()
    try:
        until(lambda: (stage.central_dir / "address").exists() or server.ended_badly())
        url = stage.central_url()
        relay = stage.spool / "relay.toml"
        relay.write_text(relay.read_text().replace("http://127.0.0.1:1", url))
        stage.relay.start()
        yield Place(stage, url)
    finally:
        stage.relay.stop()
        server.stop()


def test_what_another_dataset_made_is_what_is_read_whatever_becomes_of_it_later(
    place: Place, tmp_path: Path
) -> None:
    first_document = tmp_path / "measured.toml"
    text = (EXAMPLE / "dataset.toml").read_text()
    varied = text.replace("seed $(seed)", "$PULK_ATTEMPT")  # no two attempts make the same bytes
    assert varied != text
    first_document.write_text(varied)
    first = place.pulk("dataset", "submit", str(first_document), "--suspended")["id"]
    second = place.pulk("dataset", "submit", str(EXAMPLE / "analysis.toml"))["id"]
    place.pulk("dataset", "resume", first, "--jobs", "0-1")
    until(lambda: place.counts(second)[0] == {"done": 2, "ready": 2})
    said = place.pulk("why", f"{second}/3/read")
    assert said["reason"] == "other-dataset"
    assert f"{first}/3/0: suspended" in said["because"][0]["has"]
    shown = {one["step"]: one for one in place.pulk("dataset", "show", second)["needs"]}
    assert {(one["done"], one["tasks"]) for one in shown.values()} == {(2, JOBS)}
    place.pulk("dataset", "resume", first)
    until(lambda: place.counts(second) == [{"done": JOBS}, {"done": 1}])
    raw = [place.made(first, job, 0) for job in range(JOBS)]
    assert len({*raw}) == JOBS
    read = [place.made(second, job, 0) for job in range(JOBS)]
    assert read == [one + b"read by job %d\n" % job for job, one in enumerate(raw)]
    whole = place.made(second, 0, 1)
    assert whole == b"".join(raw) + b"%d\n" % (2 * JOBS)

    place.pulk("dataset", "reset", first, "--jobs", "1")
    until(lambda: place.counts(first) == [{"done": JOBS}, {"done": JOBS}])
    until(lambda: place.made(first, 1, 0) != raw[1])
    assert place.counts(second) == [{"done": JOBS}, {"done": 1}], "it does not reach over"
    assert place.made(second, 1, 0) == read[1]
    place.pulk("dataset", "reset", second, "--jobs", "1")
    until(lambda: place.counts(second) == [{"done": JOBS}, {"done": 1}])
    again = place.made(first, 1, 0)
    assert place.made(second, 1, 0) == again + b"read by job 1\n"
    crate = tmp_path / "crate"
    place.pulk("dataset", "export", second, "--out", str(crate))
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    told = [one for one in graph if "Made in another dataset" in str(one.get("description"))]
    assert len(told) == JOBS + 1, "all files that were read, those of both attempts"
    assert musts(as_graph(crate)) == []
    place.stage.relay.stop()
    assert fsck(Home(place.stage.central_dir))["ok"]


def test_a_rehearsal_has_one_dataset_and_says_so(tmp_path: Path) -> None:
    text = (EXAMPLE / "analysis.toml").read_text().replace('"measured"', f'"{"a" * 26}"')
    file = tmp_path / "analysis.toml"
    file.write_text(text.replace("needs = [{", "inputs = []\nneeds = [{"))
    said = [*COMMAND, "rehearse", str(file), "--dir", str(tmp_path / "run"), "--json"]
    done = subprocess.run(said, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "a rehearsal has one alone" in done.stdout
    assert not (tmp_path / "run").exists()
