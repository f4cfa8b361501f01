"""What liars, damage and full disks do to central: nothing lost, nothing twice, nobody blocked."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Step
from bundle.ids import Epoch, StreamId, Task
from bundle.intervals import IntervalSet
from bundle.trust import enrolment, quickstart, trust_file
from bundle.trust.errors import EnrolmentRefused
from bundle.trust.keys import KeyFile, MemoryKey, Role
from bundle.trust.trust_file import Kept, Revocation
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.read import open_bundle
from bundle.wire.write import write_bundle
from central import planning
from central.absorb import KINDS, absorb
from central.archive import Archive
from central.authority import Authority
from central.core.controls import Controls
from central.core.facts import Control, ControlWord
from central.errors import DatabaseBusy, IdempotencyConflict
from central.store.sqlite import SqliteStore
from central.store.sqlite.library import sqlite3
from central.workings import Workings, new_epoch
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Played
from tests.central.test_absorb import control, packed, play_all


def with_first(played: Played, usage: dict[str, int] | None = None, **changes: Any) -> Played:
    """The shard as played, but for its first attempt."""
    first, *rest = played.segment.attempts
    first = replace(first, usage=replace(first.usage, **(usage or {})), **changes)
    return replace(played, segment=replace(played.segment, attempts=(first, *rest)))


def test_two_contents_of_one_key_give_the_same_peak_in_any_order(central: Central) -> None:
    site = central.site()
    _, held = packed(central, site)
    played = site.play(held, held.leases[0])
    for peak in range(1200, 0, -100):
        one = with_first(played, {"memory_peak_mib": peak})
        assert central.authority.absorb(site.result([one])).outcome == "merged"
    central.fsck()


def test_usage_beyond_all_bounds_does_not_keep_honest_results_out(central: Central) -> None:
    number = 2**63 - 1
    site = central.site()
    dataset, held = packed(central, site)
    names = ("wall_ms", "cpu_ms", "memory_peak_mib", "disk_peak_bytes", "read_bytes")
    wild = with_first(site.play(held, held.leases[0]), dict.fromkeys(names, number), signal=number)
    wild = with_first(wild, started_us=number)
    assert central.authority.absorb(site.result([wild])).outcome == "merged"
    assert central.authority.absorb(site.result(play_all(site, held))).outcome == "merged"
    assert central.counts(dataset)[2] == {"done": 1}
    assert central.authority.task(Task(dataset, 0, 0))["started"] is None
    central.fsck()


def test_a_commit_that_fails_leaves_nothing_that_a_later_start_would_merge(
    central: Central,
) -> None:
    site = central.site()
    north, held = packed(central, site)
    database = central.authority._w.store.database  # type: ignore[attr-defined]
    assert database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    database.execute("PRAGMA busy_timeout=20")
    reader = sqlite3.connect(central.home.database)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM bundle").fetchall()  # keeps every commit out
    before = sorted(central.home.archive.rglob("*.pulk"))
    with pytest.raises(DatabaseBusy):
        central.submit(chain())
    with pytest.raises(DatabaseBusy):
        control(central, north, ControlWord.SUSPEND)
    with pytest.raises(DatabaseBusy):
        central.authority.pack(site.name, 10) or central.authority.absorb(site.report(1000))
    assert sorted(central.home.archive.rglob("*.pulk")) == before
    result = site.result(play_all(site, held))
    with pytest.raises(DatabaseBusy):
        central.authority.absorb(result)
    reader.close()
    assert central.authority.absorb(result).outcome == "merged"
    central.submit(chain())
    central.fsck()
    central.reopen()
    assert len(central.authority.datasets()) == 2
    assert central.fsck()["done"][north]["2"] == [[0, 1]]  # type: ignore[index]


def test_a_new_database_beside_an_old_archive_speaks_in_a_later_epoch(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=2))
    control(central, dataset, ControlWord.SUSPEND)
    before = central.authority._w.epoch.counter
    central.authority.close()
    central.home.database.unlink()
    central.authority = Authority.open(central.home, central.config, clock_us=central.clock)
    assert central.authority._w.epoch.counter > before
    assert central.counts(dataset)[0] == {"held": 2}
    control(central, dataset, ControlWord.RESUME)
    site.work_all(central.authority)
    assert central.counts(dataset)[2] == {"done": 1}
    central.fsck()


def forgetful(central: Central, folder: Path) -> Workings:
    """A second central that knows nothing, with a trust file of its own."""
    home = replace(central.home, root=folder)
    for path in (home.archive, home.parked, home.quarantine, home.uploads):
        path.mkdir(parents=True)
    home.trust.write_bytes(central.home.trust.read_bytes())
    archive, store = Archive(home.archive, 1), SqliteStore(home.database)
    return Workings(home, central.config, store, archive, None, new_epoch(0), lambda: 0)


def halves(central: Central) -> tuple[Path, Path, bytes]:
    """Two results of one lease, the second of which refers to the first, and the site's key."""
    site = central.site()
    _, held = packed(central, site)
    parts = [IntervalSet.of([0, 1]), IntervalSet.of([2, 3])]
    played = [site.play(held, held.leases[0], jobs=part, complete=False) for part in parts]
    return site.result(played[:1]), site.result(played[1:]), site.key.public


def test_what_was_damaged_while_it_was_parked_blocks_nothing_and_a_whole_copy_counts(
    central: Central, tmp_path: Path
) -> None:
    first, second, _ = halves(central)
    fresh = forgetful(central, tmp_path / "fresh")
    found = absorb(fresh, second, live=False)
    assert found.outcome == "parked"
    (kept,) = fresh.home.parked.iterdir()
    kept.unlink()
    kept.write_bytes(second.read_bytes()[:300])
    assert absorb(fresh, first, live=False).outcome == "merged"
    assert not list(fresh.home.parked.iterdir())
    assert absorb(fresh, second, live=False).outcome == "merged"
    fresh.store.close()


def test_what_came_again_and_was_merged_is_parked_no_more(central: Central, tmp_path: Path) -> None:
    first, second, _ = halves(central)
    fresh = forgetful(central, tmp_path / "fresh")
    absorb(fresh, second, live=False)
    parked = next(fresh.home.parked.iterdir())
    away = parked.rename(tmp_path / "away")
    absorb(fresh, first, live=False)  # finds no file to try again
    away.rename(parked)
    assert absorb(fresh, second, live=False).outcome == "merged"
    assert not list(fresh.home.parked.iterdir())
    fresh.store.close()


def test_a_parked_bundle_whose_key_is_revoked_stays_and_blocks_nobody(
    central: Central, tmp_path: Path
) -> None:
    first, second, key = halves(central)
    fresh = forgetful(central, tmp_path / "fresh")
    absorb(fresh, second, live=False)
    with_sequence = fresh.store.bundles.parked()[0]
    first_number = IntervalSet.of([with_sequence.sequence - 1])
    with open_bundle(first, fresh.trust, audience=None, kinds=KINDS) as bundle:
        first_id = bytes.fromhex(bundle.id)
    kept = (Kept(with_sequence.stream, first_number, first_id),)
    root = KeyFile.load(central.home.root_dir / quickstart.ROOT_KEY, Role.ROOT)
    newer = replace(fresh.trust.trust, version=2, revocations=(Revocation(key, kept),), raw=b"")
    quickstart.save_trust(fresh.home.trust, trust_file.encode(newer, [root]))
    assert absorb(fresh, first, live=False).outcome == "merged"
    assert len(list(fresh.home.parked.iterdir())) == 1
    fresh.store.close()


def test_a_dataset_that_fits_in_no_bundle_keeps_no_other_from_the_sites(central: Central) -> None:
    site = central.site()
    run = Command(("/bin/true",))
    made, read = Output("made", keep=True), (Input(0, 0, "made"),)
    first = Step("make", run, outputs=(made,))
    each = Step("read", run, needs=(0,), inputs=read)
    every = Step("read", run, per=Per.DATASET, needs=(0,), inputs=read)
    per_job = central.submit(Dataset(name="kept", jobs=8, seed=1, steps=(first, each)))
    wide = central.submit(Dataset(name="wide", jobs=12, seed=1, steps=(first, every)))
    site.work_all(central.authority)
    for dataset in (per_job, wide):
        central.authority.control(
            dataset, ControlWord.RESET, None, (1,), idempotency_key=dataset, token_id=1
        )
    small = central.submit(chain(jobs=1))
    workings = central.authority._w
    taken = {
        most: {one.dataset.id: one.tasks() for one in planning.plan(workings, 1000, most)[0]}
        for most in (100, 13)
    }
    assert taken[100] == {per_job: 8, wide: 1, small: 3}
    assert taken[13] == {per_job: 8, small: 3}  # each with leases, a document, files
    assert {one.dataset.id: one.tasks() for one in planning.plan(workings, 1000, 6)[0]} == {
        small: 3,  # nothing of it was delivered yet, so it comes first
        per_job: 1,
    }


def test_a_control_over_scattered_jobs_costs_a_step_for_each(central: Central) -> None:
    scattered = IntervalSet.of(range(0, 200_000, 2))
    word = Control(ControlWord.SUSPEND, ((0, scattered),), central.authority._w.epoch, 1)
    controls = Controls([word])
    assert sum(controls.standing((0, job)).suspended for job in range(0, 200_000, 7)) == 14_286


def test_a_control_over_no_jobs_is_not_the_one_over_all(central: Central) -> None:
    dataset = central.submit(chain(jobs=2))

    def ask(jobs: IntervalSet | None) -> int:
        return central.authority.control(
            dataset, ControlWord.CANCEL, jobs, None, idempotency_key="one key", token_id=1
        )

    assert ask(IntervalSet()) == 0
    with pytest.raises(IdempotencyConflict):
        ask(None)
    assert central.counts(dataset)[0] == {"ready": 2}


def test_a_site_whose_clock_was_ten_years_ahead_is_heard_afterwards(central: Central) -> None:
    site = central.site()
    central.submit(chain(jobs=4))
    site.clock_us += 10 * 365 * 86_400_000_000
    assert central.authority.absorb(site.report(0)).outcome == "merged"
    site.clock_us -= 11 * 365 * 86_400_000_000
    site.stream, site.sequence = StreamId(os.urandom(16)), 0
    assert central.authority.absorb(site.report(100)).outcome == "merged"
    assert central.authority.outbox(site.name)


def test_a_number_at_the_end_of_a_stream_silences_no_other_stream(central: Central) -> None:
    site = central.site()
    central.submit(chain(jobs=4))
    site.sequence = 2**63 - 1
    central.authority.absorb(site.report(0))
    site.stream, site.sequence = StreamId(os.urandom(16)), 0
    central.authority.absorb(site.report(100))
    assert central.authority.outbox(site.name)


def test_of_one_stream_the_highest_number_is_the_newest_word(central: Central) -> None:
    site = central.site()
    central.submit(chain(jobs=4))
    early, late = site.report(100), site.report(0)
    central.authority.absorb(late)
    central.authority.absorb(early)
    assert not central.authority.outbox(site.name)


@pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.WORK])
def test_central_takes_its_own_words_from_its_archive_alone(
    central: Central, tmp_path: Path, kind: Kind
) -> None:
    central.submit(chain(jobs=4))
    before = central.fsck()["state_hash"]
    thief = KeyFile.load(central.home.central_key)
    draft = ManifestDraft(
        kind=kind,
        producer="central",
        stream=StreamId(b"t" * 16),
        sequence=0,
        created_us=1,
        epoch=Epoch(2**62, b"e" * 16),
        commit=1,
        audience="north",
    )
    write_bundle(tmp_path / "forged", draft, [], thief)
    found = central.authority.absorb(tmp_path / "forged")
    assert (found.outcome, found.code) == ("refused", "wrong-kind")
    assert central.fsck()["state_hash"] == before


def test_a_users_key_is_not_certified_as_a_sites(central: Central) -> None:
    key = MemoryKey.generate()
    central.authority.add_user("anna", key.public)
    request = enrolment.make_request("south", key, created_us=1)
    words = enrolment.check_request(request).fingerprint
    with pytest.raises(EnrolmentRefused, match="user key"):
        central.authority.enrol(request, words)
