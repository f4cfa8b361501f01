"""A pilot whose time ends: what it starts, asks for, stops and seals; and where tasks go on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset.abilities import Checkpoint
from bundle.dataset.spec import Output, Step
from bundle.fates import Fate
from bundle.ids import BundleId
from bundle.records.lease import Lease
from bundle.spool import checkpoints
from tests.pilot.site_folder import SiteFolder, dataset, fates, python, shell, small

pytestmark = pytest.mark.programs

COUNTING = """
import hashlib, os, pathlib, signal, sys, time
state = pathlib.Path("state")
at, digest = (state.read_text().split() if "PULK_CHECKPOINT" in os.environ else (0, "begin"))
at, asked = int(at), []
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
print("began at", at, flush=True)
pathlib.Path("began").touch()
while at < {steps} or os.path.exists({held!r}):
    if at < {steps}:
        digest = hashlib.sha256(f"{{digest}} {{at}}".encode()).hexdigest()
        at += 1
    time.sleep(0.05)
    if asked:
        asked.clear()
        pathlib.Path("new").write_text(f"{{at}} {{digest}}")
        os.replace("new", "state")
pathlib.Path("result").write_text(digest)
"""


def counting(steps: int, held: Path | None = None, **fields: object) -> Step:
    """A real program of some 50 ms a step that goes on from what it wrote when asked.

    It does not end as long as there is a file `held`.
    """
    return Step(
        "count",
        python(COUNTING.format(steps=steps, held=str(held or ""))),
        outputs=(Output("result"),),
        checkpoint=Checkpoint(("state",), **fields),  # type: ignore[arg-type]
        request=small(walltime_ms=600_000),
    )


def ends_in(lasts_s: float, checkpoint_s: float = 2.5, stop_s: float = 1.5) -> list[str]:
    return [
        *("--lasts-s", str(lasts_s), "--last-starts-s", str(checkpoint_s)),
        *("--checkpoint-s", str(checkpoint_s), "--stop-s", str(stop_s)),
    ]


def wait_for(what: Callable[[], object], s: float = 30.0) -> None:
    until_s = time.monotonic() + s
    while not what():
        assert time.monotonic() < until_s, "it did not happen in time"
        time.sleep(0.02)


def again(site: SiteFolder, lease: Lease, bundle: object, turn: int) -> None:
    """Offer what is left of a shard, as the relay does."""
    site.offer(bundle, lease, turn)  # type: ignore[arg-type]


def stopped_with_a_checkpoint(site: SiteFolder) -> tuple[BundleId, Lease, Path]:
    """Have a task asked for its checkpoint, and stopped once that is there; return its record."""
    held = site.root / "held"
    held.touch()
    bundle, (lease,) = site.work(dataset(counting(20, held)))
    site.offer(bundle, lease)
    with site.start(slots=1) as process:
        for written in ("began", "state"):
            wait_for(lambda: list(site.spool.folder("claimed").glob(f"*/slots/*/{written}")))  # noqa: B023
            process.terminate()
        assert process.wait(30) == 0
    held.unlink()
    (record,) = (site.spool.folder("data") / checkpoints.FOLDER).iterdir()
    return bundle, lease, record


def expected(steps: int) -> bytes:
    import hashlib

    digest = "begin"
    for number in range(steps):
        digest = hashlib.sha256(f"{digest} {number}".encode()).hexdigest()
    return digest.encode()


def test_a_task_that_the_allocation_cut_off_goes_on_from_its_checkpoint(site: SiteFolder) -> None:
    bundle, (lease,) = site.work(dataset(counting(200)))
    site.offer(bundle, lease)
    began_s = time.monotonic()
    site.run(*ends_in(7), slots=1)
    assert time.monotonic() - began_s < 8
    first = site.only(lease)
    assert first.fate is Fate.ALLOCATION_END and "allocation ends" in first.evidence
    assert "checkpoint==" not in first.software
    (record,) = (site.spool.folder("data") / checkpoints.FOLDER).iterdir()
    kept = checkpoints.read(record)
    assert kept is not None
    assert int(site.spool.data(kept.files[0][1]).read_text().split()[0]) > 10
    again(site, lease, bundle, 2)
    site.run(slots=1)
    last = site.attempts(lease)[-1]
    assert last.fate is Fate.SUCCESS and site.content(last) == expected(200)
    assert f"checkpoint==sha256:{kept.files[0][1].hex()}" in last.software.split()
    assert b"began at 0\n" not in site.log(lease, last)
    assert not record.exists(), "what is used up is forgotten"


def test_a_checkpoint_of_another_generation_is_not_used(site: SiteFolder) -> None:
    bundle, lease, record = stopped_with_a_checkpoint(site)
    raw = record.read_bytes()
    record.write_bytes(raw.replace(b"\xaageneration\x01", b"\xaageneration\x02"))
    again(site, lease, bundle, 2)
    site.run(slots=1)
    last = site.attempts(lease)[-1]
    assert last.fate is Fate.SUCCESS and "checkpoint" not in last.software
    assert b"began at 0\n" in site.log(lease, last)


def test_a_damaged_checkpoint_is_as_good_as_none(site: SiteFolder) -> None:
    bundle, lease, record = stopped_with_a_checkpoint(site)
    kept = checkpoints.read(record)
    assert kept is not None
    damaged = site.spool.data(kept.files[0][1])
    damaged.chmod(0o600)
    damaged.write_bytes(b"9" * damaged.stat().st_size)
    again(site, lease, bundle, 2)
    site.run(slots=1)
    last = site.attempts(lease)[-1]
    assert last.fate is Fate.SUCCESS and site.content(last) == expected(20)
    assert "checkpoint" not in last.software


def test_what_cannot_end_in_time_is_not_started_and_goes_back_untouched(site: SiteFolder) -> None:
    long = Step("long", shell("sleep 60"), request=small(walltime_ms=3_600_000))
    quick = Step("quick", shell("true"), request=small(walltime_ms=1_000))
    bundle, (lease,) = site.work(dataset(long, quick))
    site.offer(bundle, lease)
    began_s = time.monotonic()
    site.run(*ends_in(30), slots=2)
    assert time.monotonic() - began_s < 10, "nothing left to do: it does not wait for the end"
    (attempt,) = site.attempts(lease)
    assert attempt.step == 1 and attempt.fate is Fate.SUCCESS
    assert not site.seals(lease)[0][2].complete


def test_a_scheduler_that_signals_and_then_kills_loses_nothing_finished(site: SiteFolder) -> None:
    half = replace(small(), cpu_milli=500)
    quick = Step("quick", shell("true"), request=half)
    stubborn = Step("stubborn", shell("trap '' TERM; sleep 60"), request=half)
    keeper = replace(counting(2000), request=half)
    bundle, (lease,) = site.work(dataset(quick, stubborn, keeper))
    site.offer(bundle, lease)
    with site.start(slots=3) as process:
        wait_for(lambda: list(site.spool.folder("claimed").glob("*/*.journal")))
        time.sleep(4)
        os.kill(process.pid, signal.SIGTERM)
        until_s = time.monotonic() + 30  # then the scheduler kills
        while process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0
    assert sorted(fates(site.attempts(lease))) == [
        Fate.PREEMPTED,
        Fate.PREEMPTED,
        Fate.SUCCESS,
    ]
    again(site, lease, bundle, 2)
    assert list((site.spool.folder("data") / checkpoints.FOLDER).iterdir())


def test_without_anything_to_keep_a_signal_ends_the_pilot_at_once(site: SiteFolder) -> None:
    lease = site.offered(dataset(Step("sleep", shell("sleep 60"), request=small())))
    with site.start(slots=1) as process:
        wait_for(lambda: list(site.spool.folder("claimed").glob("*/*.journal")))
        time.sleep(1)
        os.kill(process.pid, signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(30) == 0
    assert time.monotonic() - began_s < 5
    assert fates(site.attempts(lease)) == [Fate.PREEMPTED]


def test_tasks_of_a_deleted_dataset_are_stopped_and_those_of_others_go_on(site: SiteFolder) -> None:
    large, tiny = (replace(small(), cpu_milli=milli) for milli in (900, 50))
    gone = site.offered(dataset(Step("gone", shell("sleep 60"), request=large), jobs=200))
    kept = site.offered(dataset(Step("kept", shell("sleep 4"), request=tiny)))
    with site.start(slots=min(2 * (os.cpu_count() or 1), 100)) as process:
        wait_for(lambda: len(list(site.spool.folder("claimed").glob("*/*.journal"))) == 2)
        time.sleep(1)
        site.spool.tombstones.write_text(f"{gone.dataset}\n")
        assert process.wait(40) == 0
    assert set(fates(site.attempts(gone))) <= {Fate.CANCELLED}
    assert len(site.attempts(gone)) < 200, "the rest of it was never begun"
    assert fates(site.attempts(kept)) == [Fate.SUCCESS]


def test_a_drain_file_lets_what_runs_end_and_starts_nothing_more(site: SiteFolder) -> None:
    lease = site.offered(dataset(Step("one", shell("sleep 3"), request=small()), jobs=5))
    with site.start(slots=1, idle_s=60) as process:
        wait_for(lambda: list(site.spool.folder("claimed").glob("*/*.journal")))
        time.sleep(1)
        site.spool.drain.touch()
        assert process.wait(20) == 0
    assert fates(site.attempts(lease)) == [Fate.SUCCESS]


def test_periodic_checkpoints_are_there_when_the_end_comes_without_warning(
    site: SiteFolder,
) -> None:
    bundle, (lease,) = site.work(dataset(counting(1000, every_ms=2_000)))
    site.offer(bundle, lease)
    site.run(*ends_in(10, checkpoint_s=0, stop_s=2), slots=1)
    assert site.only(lease).fate is Fate.ALLOCATION_END
    assert list((site.spool.folder("data") / checkpoints.FOLDER).iterdir())


def test_a_payload_that_claims_a_checkpoint_or_a_grant_is_not_believed(site: SiteFolder) -> None:
    code = 'echo "checkpoint==sha256:00 grant==64 tool==1" > "$PULK_SOFTWARE"'
    lease = site.offered(dataset(Step("liar", shell(code), request=small())))
    site.run(slots=1)
    words = site.only(lease).software.split()
    assert "tool==1" in words
    assert not [one for one in words if one.startswith(("checkpoint==", "grant=="))]


def test_the_end_may_be_told_as_a_moment(site: SiteFolder, tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("[pilots]\nlast_starts_s = 2\ncheckpoint_s = 2\nstop_s = 1\n")
    bundle, (lease,) = site.work(dataset(counting(1000)))
    site.offer(bundle, lease)
    site.run("--ends-at", str(int(time.time()) + 10), slots=1, config=config)
    assert site.only(lease).fate is Fate.ALLOCATION_END
