"""A broken node takes itself out; a spool that takes no more loses nothing that finished."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset.spec import Step
from bundle.fates import Fate
from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records.segment import Segment
from pilot.core.fingerprints import FAILURES_IN_A_ROW
from tests.pilot.site_folder import ROOT, SiteFolder, dataset, fates, shell, small

pytestmark = pytest.mark.programs
ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")


def test_a_node_on_which_everything_fails_at_once_gives_its_tasks_back(site: SiteFolder) -> None:
    steps = [Step(f"kind-{n}", shell("exit 3"), request=small()) for n in range(3)]
    lease = site.offered(dataset(*steps, jobs=50))
    site.run(slots=2, idle_s=60)
    attempts = site.attempts(lease)
    assert FAILURES_IN_A_ROW <= len(attempts) < 60
    assert not any(segment.complete for *_, segment in site.seals(lease))


def test_one_bad_step_does_not_stop_the_others(site: SiteFolder) -> None:
    bad = Step("bad", shell("exit 3"), request=small(), failures_max=1)
    good = Step("good", shell("true"), request=small())
    lease = site.offered(dataset(bad, good, jobs=30))
    site.run(slots=2)
    found = fates(site.attempts(lease))
    assert found.count(Fate.SUCCESS) == 30 and found.count(Fate.PAYLOAD_ERROR) == 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own of a few MiB, in this test's processes only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        while os.path.ismount(folder):  # a read-only bind may lie over it
            subprocess.run(["umount", "-l", str(folder)], check=True)


def emergency_attempts(folder: Path) -> list[Segment]:
    found = []
    for path in sorted(folder.iterdir()):
        seal = seals.decode(path.read_bytes(), where=str(path))
        found.append(segments.decode(seal.segment))
    return found


@ROOT_ONLY
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_what_finished_is_sealed_elsewhere_when_the_spool_takes_no_more(
    small_disk: Path, tmp_path: Path, how: str
) -> None:
    site, elsewhere = SiteFolder(small_disk), tmp_path / "elsewhere"
    step = Step("short", shell("sleep 0.2"), request=replace(small(), disk_bytes=1 << 20))
    lease = site.offered(dataset(step, jobs=2000))
    with site.start("--emergency", str(elsewhere), slots=2, idle_s=60) as process:
        time.sleep(4)
        if how == "full":
            _fill(small_disk)
        else:
            remount = ["mount", "-o", "remount,ro,size=24m", str(small_disk)]
            if subprocess.run(remount, check=False).returncode:  # files are open for writing
                _freeze(small_disk)
        assert process.wait(60) != 0
    (segment,) = [one for one in emergency_attempts(elsewhere) if one.header.lease == lease.lease]
    done = [one for one in segment.attempts if one.fate is Fate.SUCCESS]
    assert done and len({one.job for one in done}) == len(done)
    assert not segment.complete
    begun = [one.local for one in segment.attempts]
    assert sorted(begun) == list(range(1, len(begun) + 1)), "no attempt is missing"


@ROOT_ONLY
def test_a_task_that_fails_for_want_of_the_nodes_disk_loses_no_try(small_disk: Path) -> None:
    site = SiteFolder(small_disk)
    request = replace(small(), disk_bytes=64 << 20)  # more than there is
    step = Step("large", shell("head -c 32000000 /dev/zero > f"), request=request)
    lease = site.offered(dataset(step, jobs=3))
    site.run(slots=1)
    first, *others = site.attempts(lease)
    assert first.fate is Fate.NODE_FAILURE and "No space left" in first.evidence
    assert not others, "the pilot retired"


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb") as file:
        while True:
            os.write(file.fileno(), b"x" * 4096)


def _freeze(folder: Path) -> None:
    """Bind the folder read-only over itself: new files are refused, open ones are not."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    assert sys.platform == "linux" and ROOT.is_dir()
