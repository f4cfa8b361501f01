"""docs/operate-site.md, typed as it is written, on a real Slurm: a newcomer's first day.

Replaced are only what the page itself leaves to the reader: the folder, the site's name, central's
address, the words from the phone, the mount point of the stick.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.sites.field import Center, Program, chain, until
from tests.testbed import slurm as slurms

pytestmark = [pytest.mark.programs, pytest.mark.timeout(700)]

PAGE = REPOSITORY / "docs" / "operate-site.md"
JOBS = 8
DONE_S = 400.0  # on a machine that does much else
SCHEDULE = re.compile(r"^(?:[*/0-9]+ +){5}")


def blocks(title: str) -> list[str]:
    """Return what is fenced in a section of the page, its parts included."""
    level, fenced, found = 0, False, list[list[str]]()
    for line in PAGE.read_text().splitlines():
        depth = 0 if fenced else len(line) - len(line.lstrip("#"))
        if depth and level and depth <= level:
            break
        if depth and line.lstrip("# ") == title:
            level = depth
        if line.startswith("```"):
            fenced = not fenced
            found += [[]] if fenced and level else []
        elif fenced and level:
            found[-1].append(line)
    assert found, title
    return ["\n".join(one) for one in found]


class Walk:
    """Somebody at a login node, who types."""

    def __init__(self, folder: Path, slurm: slurms.Cluster, center: Center) -> None:
        self.folder, self.slurm, self.center = folder, slurm, center
        self.words: dict[str, str] = {
            "/scratch/you/pulk-venv/bin/pulk": str(Path(sys.executable).with_name("pulk")),
            "/scratch/you/pulk": str(folder / "pulk"),
            "/media/stick": str(folder / "stick"),
            "https://central.example.org": center.url,
            "the six words of the root": center.root_words,
        }

    @property
    def home(self) -> Path:
        return self.folder / "pulk"

    def said(self, text: str) -> str:
        for written, meant in self.words.items():
            text = text.replace(written, meant)
        return text

    def lines(self, block: str) -> Iterator[str]:
        for line in block.splitlines():
            typed = SCHEDULE.sub("", line).partition(" #")[0].strip()
            if typed:
                yield self.said(typed)

    def variables(self) -> Mapping[str, str]:
        mine = str(Path(sys.executable).parent)
        path = f"{mine}:{self.slurm.environment['PATH']}"
        return {**self.slurm.environment, "PATH": path, "HOME": str(self.folder)}

    def type(self, line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def walk(slurm: slurms.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    folder = tmp_path_factory.mktemp("walk")
    center = Center.made(folder / "central", Program())
    with center.serving():
        made = Walk(folder, slurm, center)
        enrol(made)
        yield made
        slurm.said("scancel", "--full", "--user=root")


def enrol(walk: Walk) -> None:
    """Section "Set up, once": init here, a call, accept and doctor here."""
    (init,), after = (list(walk.lines(one)) for one in blocks("Set up, once")[:2])
    assert init.startswith("pulk relay init") and len(after) == 2
    shown = walk.type(init)
    words = re.search(r"fingerprint: *(\S+)", shown)
    assert words is not None
    request, answer = walk.home / "request.enrol", walk.folder / "answer.enrol"
    program, folder = walk.center.program, walk.center.folder
    program.run(
        "central", "enrol", folder, request, "--fingerprint", words[1], "--out", answer
    )  # fmt: skip
    for line in after:
        walk.type(line)


def through_slurm(walk: Walk) -> None:
    """Add what the page says of Slurm to relay.toml, but for its `[pilots]`, which is there."""
    (text,) = blocks("Slurm")[:1]
    config = walk.home / "relay.toml"
    given = config.read_text()
    for section in re.split(r"^(?=\[)", text, flags=re.M):
        name, _, keys = section.partition("\n")
        if name.strip() in given:
            keys = re.sub(r" +#.*", "", keys)
            taken = [one.partition("=")[0].strip() for one in keys.splitlines() if "=" in one]
            for key in taken:
                given = re.sub(rf"^{key} = .*\n", "", given, flags=re.M)
            given = given.replace(f"{name.strip()}\n", f"{name.strip()}\n{keys}", 1)
        else:
            given += f"\n{section}"
    ledger = walk.folder / "ledger"  # what this dataset's payloads want of a site
    ledger.mkdir()
    given = given.replace("[tasks]\n", f'[tasks]\nwritable = ["{ledger}"]\n', 1)
    given = given.replace("[task_environment]\n", f'[task_environment]\nLEDGER = "{ledger}/ends"\n')
    given += "\n[spool]\nfree_bytes_min = 0\n"
    config.write_text(given)


def test_a_first_day_through_slurm_typed_as_written(walk: Walk) -> None:
    through_slurm(walk)
    doctor = [one for one in walk.lines(blocks("Set up, once")[1]) if "doctor" in one]
    assert "partitions debug" in walk.type(doctor[0])
    dataset = walk.center.submit(chain("first-day", JOBS))
    tick, _ = walk.lines(blocks("Every day")[0])
    deadline = time.monotonic() + DONE_S
    while (counts := walk.center.counts(dataset)) != {"done": 2 * JOBS + 1}:
        assert not counts["failed"], walk.center.tell(dataset, 0, "make")
        assert time.monotonic() < deadline, walk.type(f"pulk relay status {walk.home}")
        walk.type(tick)
        time.sleep(1)
    told = json.loads((walk.home / "status" / "status.json").read_text())
    assert told["site"] == "mysite"
    assert "site mysite" in walk.type(f"pulk relay status {walk.home}")
    batches = {one["batch_id"] for one in told["claims"]} | {p["batch_id"] for p in told["pilots"]}
    assert batches and all(one.startswith("slurm:") for one in batches)


def test_the_loop_and_the_user_unit_run_until_they_are_told_to_end(walk: Walk) -> None:
    _, loop = walk.lines(blocks("Every day")[0])
    unit = configparser.ConfigParser()
    unit.read_string(walk.said(blocks("A user unit")[0]))
    for line in (loop, unit["Service"]["ExecStart"]):
        process = subprocess.Popen(
            shlex.split(line), env=dict(walk.variables()), cwd=walk.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stamp = walk.home / "state" / "ticked"
        before = stamp.stat().st_mtime_ns
        until(lambda: stamp.stat().st_mtime_ns != before, "a tick")  # noqa: B023
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_the_stick_goes_there_and_back_as_written(walk: Walk) -> None:
    mkdir, out, back = walk.lines(blocks("Every day")[1])
    walk.type(mkdir)
    walk.type(out)
    walk.type(back)
    assert (walk.folder / "stick" / "from-sites").is_dir()


def test_a_lost_memory_is_made_again_as_written(walk: Walk) -> None:
    for name in ("state", "streams", "pilots"):
        subprocess.run(["rm", "-r", str(walk.home / name)], check=True)
    (line,) = walk.lines(blocks("Another login node, a lost memory")[0])
    assert "made again" in walk.type(line)
    walk.type(f"pulk relay tick {walk.home}")
