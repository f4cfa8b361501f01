"""Two processes of one central, on one real PostgreSQL and one archive, step by step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Step
from bundle.ids import DatasetId, StreamId
from bundle.trust.keys import MemoryKey
from central import config as configs
from central import intake, restore
from central import submission as submissions
from central.archive import open_archive
from central.authority import Authority
from central.backup import backup
from central.core.receipts import Outcome
from central.errors import RestoreRefused
from central.fsck import fsck
from central.home import AlreadyMade, Home
from central.rebuild import rebuild
from tests.central.conftest import Clock, chain
from tests.central.scripted_site import Held, ScriptedSite
from tests.central.store.conftest import Engine
from tests.testbed import several
from tests.testbed.postgresql import Server

pytestmark = pytest.mark.programs


@dataclass
class Two:
    """Both, open at once, with one clock."""

    folder: Path
    homes: list[Home]
    clock: Clock
    here: Authority
    there: Authority

    def submit(self, authority: Authority, dataset: Dataset) -> DatasetId:
        raw, key = spec.encode(dataset), os.urandom(8).hex()
        return authority.submit(raw, idempotency_key=key, token_id=1).id

    def site(self, name: str, authority: Authority) -> ScriptedSite:
        return ScriptedSite(name, self.folder / name, authority)


@pytest.fixture
def two(tmp_path: Path, postgresql_engine: Engine) -> Iterator[Two]:
    settings = "[planner]\nbundle_tasks_max = 40\nshard_tasks_max = 10\n"
    homes, _ = several.make(tmp_path, postgresql_engine.place, 2, settings)
    clock = Clock()
    here, there = (several.opened(home, clock) for home in homes)
    made = Two(tmp_path, homes, clock, here, there)
    yield made
    for one in (made.here, made.there):
        one.close()
    assert fsck(homes[0])["ok"], fsck(homes[0])["problems"]


def submission(folder: Path, key: MemoryKey, dataset: Dataset) -> Path:
    path = folder / f"{os.urandom(4).hex()}.pulk"
    stream = StreamId(os.urandom(16))
    given = submissions.Given(spec.encode(dataset), b"")
    submissions.write(path, given, key, stream=stream, created_us=1)
    return path


def plain(jobs: int) -> Dataset:
    return Dataset("plain", jobs, 1, (Step("run", Command(("/bin/true",))),))


def tasks_of(works: list[Held]) -> list[tuple[str, int, int]]:
    return [
        (lease.dataset, task.step, task.job)
        for held in works
        for lease in held.leases
        for task, _ in lease.tasks()
    ]


def in_between(
    monkeypatch: pytest.MonkeyPatch, of: object, name: str, act: Callable[[], object]
) -> None:
    """Have something else happen once, right after a function has read what it rests on."""
    real = getattr(of, name)
    done: list[bool] = []

    def read(*given: Any) -> Any:
        found = real(*given)
        if not done:
            done.append(True)
            act()
        return found

    monkeypatch.setattr(of, name, read)


def test_what_is_submitted_at_one_is_leased_and_merged_by_the_other(two: Two) -> None:
    site = two.site("north", two.here)
    two.there.absorb(site.report(40))
    assert not site.fetch(two.there)
    dataset = two.submit(two.here, chain(jobs=6))
    site.work_all(two.there)
    assert two.here.counts(dataset)["steps"][0]["counts"] == {"done": 6}
    assert two.here.outbox(site.name) == two.there.outbox(site.name)


def test_two_that_plan_at_once_lease_no_task_twice(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = two.submit(two.here, plain(60))
    north, south = two.site("north", two.here), two.site("south", two.there)
    two.here.absorb(north.report(40))
    two.there.absorb(south.report(40))
    got: list[Held] = []
    in_between(monkeypatch, two.there._packer, "_plan", lambda: got.extend(north.fetch(two.here)))
    late = south.fetch(two.there)
    tasks = tasks_of([*got, *late])
    assert len(tasks_of(got)) == 40
    assert len(tasks) == len(set(tasks)) == 60
    assert two.here.counts(dataset)["steps"][0]["counts"] == {"leased": 60}


def test_one_bundle_that_both_read_at_once_counts_once(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = two.submit(two.here, plain(10))
    site = two.site("north", two.here)
    two.here.absorb(site.report(10))
    (held,) = site.fetch(two.here)
    path = site.result([site.play(held, lease) for lease in held.leases])
    in_between(monkeypatch, intake, "read_result", lambda: two.there.absorb(path))
    assert two.here.absorb(path).outcome is Outcome.MERGED
    step = two.here.counts(dataset)["steps"][0]
    assert (step["counts"], step["attempts"]) == ({"done": 10}, 10)


def test_one_segment_in_two_bundles_that_both_read_at_once_counts_once(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = two.submit(two.here, plain(10))
    site = two.site("north", two.here)
    two.here.absorb(site.report(10))
    (held,) = site.fetch(two.here)
    played = [site.play(held, lease) for lease in held.leases]
    once, again = site.result(played), site.result(played)
    in_between(monkeypatch, intake, "read_result", lambda: two.there.absorb(once))
    assert two.here.absorb(again).outcome is Outcome.MERGED
    step = two.there.counts(dataset)["steps"][0]
    assert (step["counts"], step["attempts"]) == ({"done": 10}, 10)


def test_leases_that_both_see_expire_end_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = two.submit(two.here, plain(20))
    north, south = two.site("north", two.here), two.site("south", two.there)
    two.here.absorb(north.report(20))
    assert len(tasks_of(north.fetch(two.here))) == 20
    two.clock.pass_hours(10_000)
    two.there.absorb(south.report(20))
    two.here.absorb(north.report(0))
    got: list[Held] = []
    datasets = two.here._w.store.datasets
    in_between(monkeypatch, datasets, "expired", lambda: got.extend(south.fetch(two.there)))
    north.fetch(two.here)
    assert len(tasks_of(got)) == 20
    assert two.here.counts(dataset)["steps"][0]["counts"] == {"leased": 20}


def test_what_one_parked_is_merged_when_the_other_learns_what_it_missed(two: Two) -> None:
    key = MemoryKey.generate()
    path = submission(two.folder, key, chain(jobs=3))
    assert two.here.absorb(path).outcome is Outcome.PARKED
    two.there.add_user("anna", key.public)
    assert two.there.datasets() == []
    two.here.look_beside()
    assert [one["jobs"] for one in two.there.datasets()] == [3]
    assert not list(two.homes[0].parked.iterdir())


def test_a_user_who_was_removed_at_one_is_no_user_at_the_other(two: Two) -> None:
    key = MemoryKey.generate()
    two.there.add_user("anna", key.public)
    first = submission(two.folder, key, chain(jobs=3))
    assert two.here.absorb(first).outcome is Outcome.MERGED
    two.there.remove_user("anna")
    second = submission(two.folder, key, chain(jobs=4))
    assert two.here.absorb(second).outcome is Outcome.PARKED


def test_an_epoch_that_one_begins_is_the_others_too(two: Two) -> None:
    two.submit(two.here, plain(3))
    two.there.close()
    epoch = restore.take_over(two.homes[1], two.clock)
    two.submit(two.here, plain(4))
    assert two.here.health()["epoch"] == epoch
    two.there = several.opened(two.homes[1], two.clock)
    assert two.there.health()["commit"] == two.here.health()["commit"] == 1


DIES = """
import os, sys
from pathlib import Path
from central.archive import Archive
from central.home import Home, now_us
from tests.testbed import several
from tests.testbed.postgresql import Server
authority = several.opened(Home(Path(sys.argv[1])), now_us)
real = Archive.put
def put(self, *given):
    real(self, *given)
    os._exit(9)
Archive.put = put
authority.submit(bytes.fromhex(sys.argv[2]), idempotency_key="dies", token_id=1)
"""


@pytest.mark.parametrize("is_used", [True, False])
def test_what_a_crash_left_archived_is_merged_or_withdrawn_but_never_said_beside_another(
    two: Two, is_used: bool
) -> None:
    """The other process may have used the number of the commit that nobody heard of."""
    two.there.close()
    raw = spec.encode(plain(7)).hex()
    arguments = [sys.executable, "-c", DIES, str(two.homes[1].root), raw]
    root = Path(__file__).parents[3]
    assert subprocess.run(arguments, cwd=root, timeout=60, check=False).returncode == 9
    if is_used:
        two.submit(two.here, plain(8))
    two.there = several.opened(two.homes[1], two.clock)
    assert [one["jobs"] for one in two.here.datasets()] == [8 if is_used else 7]
    assert len(list(two.homes[1].quarantine.glob("withdrawn-*"))) == is_used
    assert len(list((two.folder / "archive").glob("??/*.pulk"))) == 1


def emptied(two: Two, postgresql_engine: Engine, server: Server) -> str:
    """Make one more database and return its URL."""
    name = postgresql_engine.place.partition("@/")[2].partition("?")[0]
    return server.create(f"{name}_again")


def test_rebuild_fills_an_empty_database_and_refuses_any_other(
    two: Two, postgresql_engine: Engine, postgresql: Server
) -> None:
    site = two.site("north", two.here)
    two.submit(two.here, chain(jobs=6))
    site.work_all(two.there)
    archive, trust = two.folder / "archive", two.homes[0].trust
    fresh = Home(two.folder / "rebuilt")
    fresh.root.mkdir()
    full = f'[store]\nurl = "{postgresql_engine.place}"\n'
    fresh.config.write_text(full)
    with pytest.raises(AlreadyMade):
        rebuild(fresh, archive, trust, shuffle=None, repeat=1)
    fresh.config.write_text(f'[store]\nurl = "{emptied(two, postgresql_engine, postgresql)}"\n')
    found = rebuild(fresh, archive, trust, shuffle=3, repeat=2)
    assert found["ok"], found["problems"]
    assert found["state_hash"] == fsck(two.homes[0])["state_hash"]
    assert not fresh.database.exists()
    with pytest.raises(AlreadyMade):
        rebuild(fresh, archive, trust, shuffle=None, repeat=1)


def test_a_backup_of_a_server_database_is_restored_into_an_empty_one(
    two: Two, postgresql_engine: Engine, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = two.site("north", two.here)
    dataset = two.submit(two.here, chain(jobs=6))
    site.work_all(two.there)
    config = configs.load(two.homes[0].config)
    kept = open_archive(two.homes[0], config)
    to = two.folder / "backups"
    backup(two.homes[0], kept, two.here, to, with_keys=True, keep=0, at=1_700_000_000)
    again = Home(two.folder / "again")
    with pytest.raises(RestoreRefused, match="has tables"):
        restore.restore(to, again)
    elsewhere = two.folder / "other-archive"
    elsewhere.mkdir()
    monkeypatch.setenv("PULK_ARCHIVE_URL", f"file://{elsewhere}")
    monkeypatch.setenv("PULK_STORE_URL", emptied(two, postgresql_engine, postgresql))
    made = restore.restore(to, again)
    assert made.epoch > 1 and not again.database.exists()
    assert not list(again.archive.iterdir())
    restored = several.opened(again, two.clock)
    assert restored.counts(dataset)["steps"][0]["counts"] == {"done": 6}
    restored.close()
    assert fsck(again)["ok"]
    monkeypatch.undo()
