"""A cancel at central ends what runs at a site: by HTTPS, a relay, and a pilot's node."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from relay import enrol
from tests.central.site import enrolled
from tests.central.test_http import Served, start
from tests.radio.running import until

pytestmark = [pytest.mark.programs, pytest.mark.timeout(240)]

RELAY = [sys.executable, "-m", "bundle.cli", "relay"]
CONFIG = """
[spool]
free_bytes_min = 0
free_inodes_min = 0
[radio]
listen = "{listen}"
"""
TASKS = 4


@contextlib.contextmanager
def joined(root: Path, listen: str, interval_s: int) -> Iterator[Served]:
    """A central, and a relay that runs beside it with one pilot."""
    served = start(enrolled(root))
    relay = root / "relay"
    made = enrol.init(relay, "south", served.url)
    (root / "answer-south").write_bytes(
        served.client.enrol(made.request.read_bytes(), made.fingerprint)
    )
    enrol.accept(relay, root / "answer-south", served.site.created.root_fingerprint)
    path = relay / "relay.toml"
    text = path.read_text().replace("[tasks]\n", '[tasks]\nisolation = "plain"\n')
    path.write_text(text + CONFIG.format(listen=listen))
    log = (root / "relay.log").open("ab")
    told = ["run", str(relay), "--interval", str(interval_s)]
    process = subprocess.Popen([*RELAY, *told], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield served
        process.terminate()
        assert process.wait(60) == 0, (root / "relay.log").read_text()
    finally:
        process.kill()
        process.wait()
        log.close()
        assert served.stop() == 0, served.log.read_text()


def verdicts(served: Served, dataset: str) -> dict[str, int]:
    return dict(served.client.counts(dataset)[0]["counts"])


def fates(served: Served, dataset: str) -> list[str]:
    tasks = [served.client.task(dataset, job, 0) for job in range(TASKS)]
    return [one["fate"] for task in tasks for one in task["attempts"]]


def control(served: Served, dataset: str, word: str) -> None:
    body: dict[str, Any] = {"control": word, "jobs": None, "steps": None}
    served.client.post(f"/datasets/{dataset}/controls", body, os.urandom(8).hex())


@pytest.mark.parametrize(
    ("listen", "interval_s"), [("ipc", 600), ("", 2)], ids=["radio", "spool and short ticks"]
)
def test_a_cancelled_dataset_ends_where_it_runs_and_runs_when_it_is_wanted_again(
    tmp_path: Path, listen: str, interval_s: int
) -> None:
    code = f"[ -e {tmp_path}/go ] || exec sleep 600"
    step = Step("wait", Command(("/bin/sh", "-c", code)), failures_max=1)
    raw = spec.encode(Dataset("long", TASKS, 1, (step,)))
    with joined(tmp_path, listen, interval_s) as served:
        dataset = served.client.submit(raw, os.urandom(8).hex())["id"]
        journals = "relay/claimed/*/*.journal"
        until("a task to run", lambda: list(tmp_path.glob(journals)), 100)
        control(served, dataset, "cancel")
        until("its end", lambda: fates(served, dataset), 100)
        assert set(fates(served, dataset)) == {"cancelled"}
        assert verdicts(served, dataset)["cancelled"] == TASKS
        (tmp_path / "go").touch()
        control(served, dataset, "uncancel")
        until("all to be done", lambda: verdicts(served, dataset).get("done") == TASKS, 100)


def started(tmp_path: Path) -> dict[int, Path]:
    """The process of each job that was begun, by its folder below /proc."""
    file = tmp_path / "ran"
    lines = file.read_text().splitlines() if file.exists() else []
    return {int(job): Path("/proc") / pid for job, pid in map(str.split, lines)}


@pytest.mark.parametrize("listen", ["ipc", ""], ids=["radio", "spool"])
def test_what_a_truncation_drops_of_a_lease_is_stopped_or_never_begun_and_the_rest_goes_on(
    tmp_path: Path, listen: str
) -> None:
    wait = f"echo $(job) $$$$ >> {tmp_path}/ran; until [ -e {tmp_path}/go ]; do sleep 0.2; done"
    step = Step("wait", Command(("/bin/sh", "-c", wait)), failures_max=1)
    raw = spec.encode(Dataset("long", TASKS, 1, (step,)))
    with joined(tmp_path, listen, 2) as served:
        dataset = served.client.submit(raw, os.urandom(8).hex())["id"]
        until("a task to run", lambda: 0 in started(tmp_path), 100)
        served.client.post(f"/datasets/{dataset}/size", {"jobs": 1}, os.urandom(8).hex())
        until("the word", (tmp_path / "relay/called-off-tasks").exists, 100)
        time.sleep(6)  # where one slot runs job 0, nothing shows that the pilot looked

        def stopped() -> bool:
            return not any(at.exists() for job, at in started(tmp_path).items() if job)

        until("the end of what was dropped", stopped, 100)
        begun = started(tmp_path)
        (tmp_path / "go").touch()
        until("the rest to be done", lambda: verdicts(served, dataset) == {"done": 1}, 100)
        assert started(tmp_path).keys() == begun.keys()
        served.client.post(f"/datasets/{dataset}/size", {"jobs": TASKS}, os.urandom(8).hex())
        until("all to be done", lambda: verdicts(served, dataset) == {"done": TASKS}, 200)
        for job in range(TASKS):
            attempts = served.client.task(dataset, job, 0)["attempts"]
            stops = ["cancelled"] if job and job in begun else []
            assert [one["fate"] for one in attempts] == [*stops, "success"]
