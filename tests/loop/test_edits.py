"""An edit reaches what a site holds already, by a stick, with the real programs on both sides."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Request, Step
from bundle.ids import DatasetId, Task, parse_task
from bundle.trust import enrolment
from central import heard
from central.authority import Authority
from central.config import Config
from central.core.heard import words
from central.home import Home, create, now_us, open_home
from relay import enrol
from tests.loop.conftest import COMMAND

pytestmark = pytest.mark.programs

LIMIT_S = 150
RELAY = """
[site]
name = "north"
[spool]
free_bytes_min = 0
free_inodes_min = 0
[carry]
report_after_s = 0
[pilots]
count = 1
slots = 1
idle_s = 4
[tasks]
path = "/usr/local/bin:/usr/bin:/bin"
isolation = "plain"
writable = ["{root}"]
"""
# The pilot looks for edits every five seconds; what follows the first step comes after a look.
WAIT = "until test -e {root}/go; do sleep 0.1; done; sleep 7"
HOLD = "import time; held = b'x' * (300 << 20); time.sleep(1)"


@dataclass
class Both:
    """Central and a site without a connection."""

    root: Path

    @property
    def home(self) -> Home:
        return Home(self.root / "central")

    def at_central(self, ask: Callable[[Authority], Any]) -> Any:
        """Have an operation done at central, that runs for no longer than that."""
        authority = Authority.open(open_home(self.home.root), Config(), clock_us=now_us)
        try:
            return ask(authority)
        finally:
            authority.close()

    def enrol(self) -> None:
        created = create(self.home)
        made = enrol.init(self.root / "site", "north", "")
        raw = made.request.read_bytes()
        words = enrolment.check_request(raw).fingerprint
        (self.root / "answer").write_bytes(self.at_central(lambda one: one.enrol(raw, words)))
        enrol.accept(self.root / "site", self.root / "answer", created.root_fingerprint)
        config = self.root / "site" / "relay.toml"
        config.write_text(RELAY.format(root=self.root))

    def carry(self) -> None:
        """Have the site work, then walk a stick to central and back."""
        sticks = [self.root / name for name in ("to-central", "to-site")]
        for one in sticks:
            one.mkdir(exist_ok=True)
        home, away = map(str, sticks)
        self.pulk("relay", "tick", str(self.root / "site"))
        self.pulk("relay", "export", str(self.root / "site"), home)
        self.pulk("central", "exchange", str(self.home.root), home, away, "--size", "64MiB")
        self.pulk("relay", "import", str(self.root / "site"), away)
        self.pulk("relay", "tick", str(self.root / "site"))

    def pulk(self, *words: str) -> Any:
        done = subprocess.run(
            [*COMMAND, *words, "--json"],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            env=os.environ | {"PULK_HOME": str(self.root)},
        )
        assert done.returncode in (0, 75), done.stderr + done.stdout
        return json.loads(done.stdout)

    def edited(self, dataset: DatasetId, document: Dataset) -> None:
        raw, key = spec.encode(document), os.urandom(8).hex()
        self.at_central(lambda one: one.edit(dataset, raw, idempotency_key=key, token_id=1))

    def submitted(self, document: Dataset) -> DatasetId:
        raw, key = spec.encode(document), os.urandom(8).hex()
        made = self.at_central(lambda one: one.submit(raw, idempotency_key=key, token_id=1))
        return DatasetId(made.id)

    def attempts(self, dataset: DatasetId, step: int) -> list[dict[str, Any]]:
        story = self.at_central(lambda one: one.task(Task(dataset, 0, step)))
        return list(story["attempts"])

    def said(self, dataset: DatasetId) -> str:
        """Return who has heard of the newest document."""
        return str(
            self.at_central(lambda one: words(heard.of_dataset(one._w, one._w.dataset(dataset))))
        )


def until(what: str, holds: Callable[[], object]) -> None:
    ends_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < ends_s, f"{what} did not come about"
        time.sleep(0.2)


def document(root: Path, name: str, memory_mib: int) -> Dataset:
    """Return a job that waits, then holds 300 MiB; it has one try."""
    small = Request(memory_mib=32, walltime_ms=600_000, disk_bytes=1 << 20)
    wait = WAIT.format(root=root) if name == "claimed" else "true"
    script = f"echo > {root}/{name}; {wait}"
    return Dataset(
        name,
        1,
        1,
        (
            Step("wait", Command(("/bin/sh", "-c", script)), request=small),
            Step(
                "hold",
                Command(("/usr/bin/env", "python3", "-I", "-c", HOLD)),
                needs=(0,),
                request=replace(small, memory_mib=memory_mib),
                failures_max=1,
            ),
        ),
    )


@pytest.mark.timeout(300)
def test_an_edit_while_leased_reaches_what_waits_without_another_lease(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.enrol()
    claimed = both.submitted(document(tmp_path, "claimed", 100))
    both.carry()
    until("the first task", (tmp_path / "claimed").exists)
    leased = both.submitted(document(tmp_path, "leased", 100))
    plain = both.submitted(document(tmp_path, "plain", 100))
    both.carry()
    edits = {of: document(tmp_path, name, 500) for of, name in ((claimed, "claimed"),)}
    edits[leased] = document(tmp_path, "leased", 500)
    for of, new in edits.items():
        both.edited(of, new)
    assert "north does not have it yet" in both.said(claimed)
    both.carry()
    about = both.pulk("relay", "status", str(tmp_path / "site"))
    assert {one["dataset"] for one in about["edits"]} == {claimed, leased}
    (tmp_path / "go").touch()

    def over() -> bool:
        both.carry()
        return all(both.attempts(one, 1) for one in (claimed, leased, plain))

    until("the end", over)
    for of, new in edits.items():
        (only,) = both.attempts(of, 1)
        assert (only["fate"], only["memory_peak_mib"] >= 300) == ("success", True), only
        digest = spec.dataset_digest(spec.encode(new)).hex()
        assert only["document"] == digest and f"document=={digest}" in only["software"].split()
        (first,) = both.attempts(of, 0)
        assert first["document"] != digest  # what had begun, or is as before, says the lease's
        assert parse_task(only["attempt"].split(":")[0]).dataset == of
        assert only["attempt"].split(":")[2] == first["attempt"].split(":")[2]  # one lease
    (failed,) = both.attempts(plain, 1)
    assert failed["fate"] == "oom" and "document==" not in failed["software"]

    def is_gone() -> bool:
        both.carry()
        return not any((tmp_path / "site").glob("**/edits/*"))

    until("nothing left", is_gone)


@pytest.mark.timeout(300)
def test_a_wrong_command_that_runs_is_stopped_by_an_edit_and_the_right_one_runs(
    tmp_path: Path,
) -> None:
    """The node has one slot, which the wrong one would hold for ten minutes."""
    both = Both(tmp_path)
    both.enrol()
    begun, right = tmp_path / "begun", document(tmp_path, "right", 400)
    wrong = Command(("/bin/sh", "-c", f"echo > {begun}; sleep 600"))
    dataset = both.submitted(replace(right, steps=(replace(right.steps[0], run=wrong),)))
    both.carry()
    until("the wrong command", begun.exists)
    both.edited(dataset, replace(right, steps=right.steps[:1]))

    def is_done() -> bool:
        both.carry()
        return any(one["fate"] == "success" for one in both.attempts(dataset, 0))

    until("the right command", is_done)
    fates = {one["attempt"].split(":")[1]: one["fate"] for one in both.attempts(dataset, 0)}
    assert fates == {"0": "cancelled", "1": "success"}
