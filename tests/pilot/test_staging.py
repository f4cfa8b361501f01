"""Large files of tasks move beside those that run, by a stager that may die at any time."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bundle.dataset.foreign import Foreign, Which
from bundle.dataset.spec import Generated, Input, Output, Per, Step
from bundle.fates import Fate
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from bundle.records.attempt import Attempt
from bundle.records.foreign import ForeignPins, ForeignTask
from bundle.records.lease import Block, Pinned
from tests.pilot.site_folder import SiteFolder, dataset, fates, instant, python, shell, small

pytestmark = pytest.mark.programs

MIB = 1 << 20


def configured(site: SiteFolder, text: str = "", isolation: str = "auto") -> Path:
    path = site.root / "pilot" / "staging.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'[tasks]\nisolation = "{isolation}"\n[staging]\n{text}\n')
    return path


def chain(make: object, use: object, **fields: object) -> tuple[Step, Step]:
    """A step that makes `out`, and one that reads it as `sub/in`."""
    return (
        Step("make", make, outputs=(Output("out"),), request=small()),  # type: ignore[arg-type]
        Step(
            "use",
            use,  # type: ignore[arg-type]
            needs=(0,),
            inputs=(Input(0, 0, "sub/in"),),
            request=small(),
            **fields,  # type: ignore[arg-type]
        ),
    )


def wait_for(what: Callable[[], object], s: float = 60.0) -> None:
    end_s = time.monotonic() + s
    while not what():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.01)


def stager(pilot: subprocess.Popen[bytes]) -> int | None:
    """The process of a pilot's stager, if there is one."""
    for child in psutil.Process(pilot.pid).children():
        try:
            if any("staging.stager" in word for word in child.cmdline()):
                return child.pid
        except psutil.Error:
            continue
    return None


def is_whole(site: SiteFolder, attempt: Attempt, size: int) -> bool:
    content = site.content(attempt)
    (digest, told), *_ = attempt.outputs
    return hashlib.sha256(content).digest() == digest and len(content) == told == size


@pytest.mark.parametrize("isolation", ["auto", "plain"])
def test_large_files_come_before_their_task_and_go_after_it(
    site: SiteFolder, isolation: str
) -> None:
    use = shell(f"test $(stat -c %s sub/in) = {2 * MIB}; cp sub/in out; echo more >> sub/in")
    data = dataset(*chain(instant(2 * MIB), use, outputs=(Output("out"),)), jobs=4)
    lease = site.offered(data)
    site.run(config=configured(site, isolation=isolation))
    attempts = site.attempts(lease)
    assert fates(attempts) == [Fate.SUCCESS] * 8
    assert all(is_whole(site, one, 2 * MIB) for one in attempts)
    made = {one.job: one.outputs for one in attempts if one.step == 0}
    assert all(one.outputs == made[one.job] for one in attempts)  # copied, not shared
    for text in (site.log(lease, one) for one in attempts if one.step == 1):
        assert b"of inputs were brought" in text and b"of outputs were kept" in text
    assert not list(site.spool.folder("claimed").iterdir())


def test_small_files_start_no_stager_and_leave_no_word(site: SiteFolder) -> None:
    data = dataset(*chain(instant(1000), instant()), jobs=3)
    lease = site.offered(data)
    site.run(config=configured(site))
    attempts = site.attempts(lease)
    assert fates(attempts) == [Fate.SUCCESS] * 6
    assert not any(site.log(lease, one) for one in attempts)


def test_tasks_are_brought_in_order_and_run_while_the_next_ones_come(site: SiteFolder) -> None:
    step = Step(
        "work",
        instant(MIB, wall_ms=400),
        generated=(Generated("noise", MIB, 3),),
        outputs=(Output("out"),),
        request=small(),
    )
    lease = site.offered(dataset(step, jobs=5))
    site.run(config=configured(site, f"bytes_per_s = {5 * MIB // 2}"), slots=1)
    attempts = sorted(site.attempts(lease), key=lambda one: one.started_mono_us)
    assert [one.job for one in attempts] == [0, 1, 2, 3, 4]
    assert fates(attempts) == [Fate.SUCCESS] * 5
    assert all(one.usage.wall_ms < 60_000 for one in attempts)


def test_a_task_does_not_pay_for_its_files_with_its_own_time(site: SiteFolder) -> None:
    step = Step(
        "short",
        instant(2 * MIB),
        generated=(Generated("noise", 2 * MIB, 3),),
        outputs=(Output("out"),),
        request=small(walltime_ms=1000),
    )
    lease = site.offered(dataset(step))
    site.run(config=configured(site, f"bytes_per_s = {MIB}"))
    attempt = site.only(lease)
    assert attempt.fate is Fate.SUCCESS
    assert b"brought in 2" in site.log(lease, attempt)  # thousand ms and some


def test_a_damaged_or_missing_input_is_the_tasks_fate_and_the_others_go_on(
    site: SiteFolder,
) -> None:
    make, use = chain(instant(2 * MIB), instant())
    parent = site.offered(dataset(make))
    site.run(config=configured(site))
    outputs = site.only(parent).outputs
    path = site.spool.data(outputs[0][0])
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"no longer the same")
    pins = (Pinned(0, 0, 1, "earlier", outputs),)
    blocks = [[Block(1, IntervalSet.of([0]), (1,))]]
    bundle, (lease,) = site.work(dataset(make, use), blocks, pins=pins)
    site.offer(bundle, lease)
    site.run(config=configured(site))
    attempts = site.attempts(lease)
    assert attempts and {one.fate for one in attempts} == {Fate.STAGE_IN}
    assert "is damaged" in attempts[0].evidence


def test_a_killed_stager_is_replaced_and_its_transfers_end_whole(site: SiteFolder) -> None:
    size = 3 * MIB
    data = dataset(*chain(instant(size), shell("cp sub/in out"), outputs=(Output("out"),)), jobs=3)
    lease = site.offered(data)
    with site.start(config=configured(site, f"bytes_per_s = {3 * MIB}")) as pilot:
        killed: set[int] = set()
        for _ in range(4):
            wait_for(lambda: (stager(pilot) or 0) not in {0, *killed})
            time.sleep(0.7)  # somewhere inside a transfer
            pid = stager(pilot)
            if pid is None:
                break
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        assert pilot.wait(120) == 0
    attempts = site.attempts(lease)
    assert len(killed) >= 3 and fates(attempts) == [Fate.SUCCESS] * 6
    assert all(is_whole(site, one, size) for one in attempts)


def test_without_any_stager_that_lives_the_slots_move_the_files(site: SiteFolder) -> None:
    step = Step(
        "copy",
        shell("cp noise out"),
        generated=(Generated("noise", 2 * MIB, 3),),
        outputs=(Output("out"),),
        request=small(),
    )
    lease = site.offered(dataset(step, jobs=3))
    with site.start(config=configured(site, "bytes_per_s = 1")) as pilot:
        killed: set[int] = set()
        for _ in range(5):
            wait_for(lambda: (stager(pilot) or 0) not in {0, *killed})
            pid = stager(pilot)
            assert pid is not None
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        assert pilot.wait(60) == 0
    attempts = site.attempts(lease)
    assert fates(attempts) == [Fate.SUCCESS] * 3
    assert all(is_whole(site, one, 2 * MIB) for one in attempts)


def test_a_killed_pilot_counts_nothing_whose_outputs_are_on_their_way(site: SiteFolder) -> None:
    step = Step("make", instant(2 * MIB), outputs=(Output("out"),), request=small())
    lease = site.offered(dataset(step))
    with site.start(config=configured(site, f"bytes_per_s = {MIB // 4}")) as pilot:
        wait_for(lambda: list(site.spool.folder("claimed").glob("*/handed/*/0")))
        wait_for(lambda: stager(pilot))
        child = stager(pilot)
        assert child is not None
        os.kill(pilot.pid, signal.SIGKILL)
        pilot.wait(10)
        wait_for(lambda: not psutil.pid_exists(child))
    assert not site.attempts(lease)
    assert not list(site.spool.folder("data").glob("??/*"))


def test_outputs_that_cannot_be_kept_before_the_end_do_not_count(site: SiteFolder) -> None:
    step = Step("make", instant(2 * MIB), outputs=(Output("out"),), request=small())
    lease = site.offered(dataset(step))
    with site.start(config=configured(site, "bytes_per_s = 4096")) as pilot:
        wait_for(lambda: list(site.spool.folder("claimed").glob("*/handed/*/0")))
        began_s = time.monotonic()
        pilot.terminate()
        assert pilot.wait(60) == 0
    assert time.monotonic() - began_s < 30
    attempt = site.only(lease)
    assert attempt.fate is Fate.PREEMPTED and "not kept in time" in attempt.evidence
    assert not attempt.outputs


def test_an_output_with_a_second_name_is_copied_before_it_is_hashed(site: SiteFolder) -> None:
    code = (
        "import os\n"
        "open('out', 'wb').write(b'x' * (2 << 20))\n"
        f"os.link('out', {str(site.root / 'another')!r})\n"
    )
    step = Step("make", python(code), outputs=(Output("out"),), request=small())
    lease = site.offered(dataset(step))
    site.run(config=configured(site, isolation="plain"))
    attempt = site.only(lease)
    (site.root / "another").chmod(0o600)
    (site.root / "another").write_bytes(b"changed")
    assert attempt.fate is Fate.SUCCESS and is_whole(site, attempt, 2 * MIB)


def test_large_outputs_behind_links_are_refused_and_reach_nobodys_files(site: SiteFolder) -> None:
    secret = site.spool.folder("data") / "secret"
    secret.write_bytes(b"s" * (2 * MIB))
    before = secret.stat().st_mode
    steps = [
        Step(name, shell(code), outputs=(Output(output),), request=small())
        for name, code, output in (
            ("file", f"ln -s {secret} out", "out"),
            ("folder", f"ln -s {secret.parent} sub", "sub/secret"),
            ("second", "truncate -s 2M big; mkdir sub; ln -s ../big sub/out", "sub/out"),
        )
    ]
    lease = site.offered(dataset(*steps))
    site.run(config=configured(site, isolation="plain"))
    assert {one.fate for one in site.attempts(lease)} == {Fate.STAGE_OUT}
    assert secret.read_bytes() == b"s" * (2 * MIB) and secret.stat().st_mode == before


def test_no_task_sees_what_was_brought_for_another(site: SiteFolder) -> None:
    spy = shell(f"find {site.spool.root} | grep -E 'brought|handed' && exit 1; cp noise out")
    step = Step(
        "spy",
        spy,
        generated=(Generated("noise", 2 * MIB, 3),),
        outputs=(Output("out"),),
        request=small(),
    )
    lease = site.offered(dataset(step, jobs=4))
    site.run(config=configured(site, isolation="required"))
    assert fates(site.attempts(lease)) == [Fate.SUCCESS] * 4


def test_what_lies_ahead_takes_no_more_of_the_disk_than_is_allowed(site: SiteFolder) -> None:
    """Without a bound two tasks a slot may be ahead; files of tasks that start lie there too."""
    size, slots, most = 2 * MIB, 4, {}
    for name, text in (("bounded", f"ahead_bytes_max = {size}"), ("free", "")):
        step = Step(
            "work",
            instant(wall_ms=1000),
            generated=(Generated("noise", size, 3),),
            request=replace(small(), cpu_milli=50),
        )
        lease = site.offered(dataset(step, jobs=3 * slots))
        seen = [0]
        with site.start(slots=slots, config=configured(site, text)) as pilot:
            while pilot.poll() is None:
                seen.append(ahead_bytes(site))
                time.sleep(0.01)
        assert pilot.returncode == 0 and fates(site.attempts(lease)) == [Fate.SUCCESS] * 12
        most[name] = max(seen)
    assert size <= most["bounded"] <= (1 + slots) * size < most["free"]


def ahead_bytes(site: SiteFolder) -> int:
    """The bytes of whole inputs that no slot has taken yet."""
    total = 0
    for path in site.spool.folder("claimed").glob("*/brought/*/*"):
        try:
            total += path.stat().st_size * path.parent.name.isdecimal()
        except FileNotFoundError:
            continue
    return total


def test_files_of_other_datasets_come_in_as_others_do(site: SiteFolder) -> None:
    sizes = {0: 2 * MIB, 1: 10, 2: 3 * MIB}
    contents = {task: bytes([65 + task]) * size for task, size in sizes.items()}
    files = {task: hashlib.sha256(one).digest() for task, one in contents.items()}
    for task, digest in files.items():
        path = site.spool.data(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[task])
    other = DatasetId("b" * 26)
    tasks = tuple(ForeignTask(n, 0, f"a{n}", ((files[n], sizes[n]),)) for n in sorted(files))
    pins = ForeignPins(other, "make", 2, ("made",), tasks)  # a block of two jobs each
    same = Foreign(other, "make", Which.SAME, (("made", "sub/in"),))
    every = Foreign(other, "make", Which.ALL, (("made", "in"),))
    steps = (
        Step("own", shell("cp sub/in out"), outputs=(Output("out"),), foreign=(same,)),
        Step(
            "all",
            shell("cat 0/in 1/in 2/in > out; ls > names"),
            per=Per.DATASET,
            outputs=(Output("out"), Output("names")),
            foreign=(every,),
        ),
    )
    data = dataset(*(replace(one, request=small()) for one in steps), jobs=5)
    lease = site.offered(data, foreign=(pins,))
    site.run(config=configured(site))
    attempts = site.attempts(lease)
    assert fates(attempts) == [Fate.SUCCESS] * 6
    own = {one.job: site.content(one) for one in attempts if one.step == 0}
    assert own == {job: contents[job // 2] for job in range(5)}
    (whole,) = [one for one in attempts if one.step == 1]
    assert site.content(whole) == b"".join(contents[task] for task in sorted(contents))
    assert b"of inputs were brought" in site.log(lease, whole)
