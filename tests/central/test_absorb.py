"""Absorbing bundles: duplicates, strangers' leases, damage, gaps in what is known."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from bundle.fates import Fate
from bundle.ids import DatasetId
from bundle.intervals import IntervalSet
from bundle.records.segment import Segment
from bundle.spool import publish
from central.absorb import absorb
from central.core import state_byte
from central.core.facts import ControlWord
from central.rebuild import rebuild
from central.state.blocks import packed_block, states_of
from tests.central.conftest import Central, chain
from tests.central.scripted_site import Held, Played, ScriptedSite


def packed(central: Central, site: ScriptedSite, jobs: int = 4) -> tuple[DatasetId, Held]:
    """A dataset whose first work bundle lies at the site."""
    dataset = central.submit(chain(jobs=jobs))
    assert central.authority.absorb(site.report(1000)).outcome == "merged"
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    return dataset, held


def play_all(site: ScriptedSite, held: Held) -> list[Played]:
    return [site.play(held, lease) for lease in held.leases]


def test_the_same_bundle_any_number_of_times_counts_once(central: Central) -> None:
    site = central.site()
    dataset, held = packed(central, site)
    path = site.result(play_all(site, held))
    first = central.authority.absorb(path)
    state = central.fsck()["state_hash"]
    for _ in range(4):
        assert central.authority.absorb(path) == first
    again = central.fsck()
    assert again["state_hash"] == state
    assert again["bundles"]["duplicates"] == 4  # type: ignore[index]
    assert central.counts(dataset)[2] == {"done": 1}


def test_the_same_segment_in_another_bundle_counts_once(central: Central) -> None:
    site = central.site()
    _, held = packed(central, site)
    played = play_all(site, held)
    central.authority.absorb(site.result(played))
    before = central.fsck()
    assert central.authority.absorb(site.result(played)).outcome == "merged"
    after = central.fsck()
    assert (after["state_hash"], after["attempts"]) == (before["state_hash"], before["attempts"])


def test_a_result_for_another_sites_lease_is_refused_and_changes_nothing(central: Central) -> None:
    north, south = central.site("north"), central.site("south")
    _, held = packed(central, north)
    before = central.fsck()["state_hash"]
    south.trust = north.trust
    found = central.authority.absorb(south.result(play_all(south, held)))
    assert (found.outcome, found.code) == ("refused", "foreign-lease")
    assert central.fsck()["state_hash"] == before
    assert list(central.home.quarantine.iterdir())
    (receipt,) = central.authority._w.store.bundles.receipts("south")
    assert [code for _, code in receipt.refused] == ["foreign-lease"]


def test_an_attempt_outside_the_lease_is_refused(central: Central) -> None:
    site = central.site()
    _, held = packed(central, site)
    one = site.play(held, held.leases[0])
    stray = replace(one.segment.attempts[0], job=99)
    segment = Segment(one.segment.header, (*one.segment.attempts, stray), complete=True)
    found = central.authority.absorb(site.result([replace(one, segment=segment)]))
    assert (found.outcome, found.code) == ("refused", "outside-lease")
    assert central.fsck()["attempts"] == 0


def test_a_damaged_bundle_is_refused_and_a_whole_copy_still_counts(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    dataset, held = packed(central, site)
    path = site.result(play_all(site, held))
    before = central.fsck()["state_hash"]
    whole = path.read_bytes()
    for number, raw in enumerate((whole[:-1], whole[:200], b"", whole + b"x")):
        broken = tmp_path / f"broken-{number}.pulk"
        broken.write_bytes(raw)
        assert central.authority.absorb(broken).outcome == "refused"
    flipped = bytearray(whole)
    flipped[-20] ^= 1
    broken = tmp_path / "flipped.pulk"
    broken.write_bytes(flipped)
    assert central.authority.absorb(broken).code in ("chunk-mismatch", "bomb")
    assert central.fsck()["state_hash"] == before
    # The refusal of a bundle that was damaged under way must not stick to its whole copy.
    assert central.authority.absorb(path).outcome == "merged"
    assert central.counts(dataset)[2] == {"done": 1}


def test_a_forgetful_central_learns_lease_and_dataset_from_the_result(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    _, held = packed(central, site)
    path = site.result(play_all(site, held))
    central.authority.absorb(path)
    archive = tmp_path / "only-results"
    kept = archive / "00" / central.authority._w.archive.path(held.id).name
    publish.make_folder(kept.parent)
    shutil.copy(path, archive / "00" / f"{'0' * 64}.pulk")
    home = replace(central.home, root=tmp_path / "fresh")
    made = rebuild(home, archive, central.home.trust, shuffle=None, repeat=1)
    assert made["ok"]
    assert made["attempts"] == central.fsck()["attempts"]


def test_what_refers_to_an_earlier_bundle_is_parked_until_that_one_comes(
    central: Central, tmp_path: Path
) -> None:
    site = central.site()
    _, held = packed(central, site)
    lease = held.leases[0]
    half = site.play(held, lease, jobs=IntervalSet.of([0, 1]), complete=False)
    first = site.result([half])  # brings manifest, lease and document
    rest = site.play(held, lease, jobs=IntervalSet.of([2, 3]))
    second = site.result([rest])  # refers to them
    home = replace(central.home, root=tmp_path / "fresh")
    empty = tmp_path / "empty"
    empty.mkdir()
    rebuild(home, empty, central.home.trust, shuffle=None, repeat=1)
    from central.archive import Archive
    from central.store.sqlite import SqliteStore
    from central.workings import Workings, new_epoch

    store = SqliteStore(home.database)
    fresh = Workings(
        home, central.config, store, Archive(home.archive, 1), None, new_epoch(0), lambda: 0
    )
    raw = bytearray(second.read_bytes())
    raw[-1] ^= 1  # in a chunk that is not read before the lease is missed
    torn = tmp_path / "torn.pulk"
    torn.write_bytes(raw)
    damaged = absorb(fresh, torn, live=False)
    assert (damaged.outcome, damaged.code, damaged.bundle) == ("refused", "chunk-mismatch", None)
    assert not list(home.parked.iterdir())  # a receipt that says parked lets the site rest
    found = absorb(fresh, second, live=False)
    assert (found.outcome, found.code) == ("parked", "missing-lease")
    assert absorb(fresh, first, live=False).outcome == "merged"
    assert not list(home.parked.iterdir())
    assert store.bundles.bundle(found.bundle).outcome == "merged"  # type: ignore[arg-type,union-attr]
    store.close()


def test_failures_are_told_to_the_next_lease_and_end_as_failed(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=1, failures_max=3))
    central.authority.absorb(site.report(10))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    lost_after_one = {0: Fate.PAYLOAD_ERROR, 1: Fate.LOST}
    played = [
        site.play(held, lease, fate=lambda _, tried: lost_after_one[tried]) for lease in held.leases
    ]
    central.authority.absorb(site.result(played))
    del site.works[held.id]
    assert central.counts(dataset) == [{"ready": 1}, {"held": 1}, {"held": 1}]
    central.authority.absorb(site.report(10))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    assert held.leases[0].spent == ((0, 0, 1),)
    played = [
        site.play(held, lease, fate=lambda _place, _tried: Fate.SIGNAL) for lease in held.leases
    ]
    assert len(played[0].segment.attempts) == 2
    central.authority.absorb(site.result(played))
    del site.works[held.id]
    assert central.counts(dataset) == [{"failed": 1}, {"held": 1}, {"held": 1}]
    site.work_all(central.authority)
    central.fsck()


def test_an_expired_lease_is_leased_again_and_its_late_result_counts(central: Central) -> None:
    north, south = central.site("north"), central.site("south")
    dataset, held = packed(central, north)
    assert central.counts(dataset)[0] == {"leased": 4}
    central.clock.pass_hours(49)
    south.clock_us = north.clock_us = central.clock.now_us
    central.authority.absorb(south.report(1000))
    again = [one for one in south.fetch(central.authority) if one.leases]
    assert again
    late = central.authority.absorb(north.result(play_all(north, held)))
    assert late.outcome == "merged"
    assert central.counts(dataset)[2] == {"done": 1}
    for one in again:
        central.authority.absorb(south.result(play_all(south, one)))
    assert central.counts(dataset)[2] == {"done": 1}
    assert central.fsck()["attempts"] == 18  # both worked, each task is done once


def test_a_lease_that_ended_frees_nothing_when_its_last_segment_comes(central: Central) -> None:
    north, south = central.site("north"), central.site("south")
    dataset, held = packed(central, north)
    central.clock.pass_hours(24 * 365)
    central.authority.absorb(south.report(1000))
    assert [one for one in south.fetch(central.authority) if one.leases]
    late = [north.play(held, lease, fate=lambda *_: Fate.PREEMPTED) for lease in held.leases]
    assert all(one.segment.complete for one in late)
    assert central.authority.absorb(north.result(late)).outcome == "merged"
    assert central.counts(dataset) == [{"leased": 4}, {"leased": 4}, {"leased": 1}]  # to the south
    central.fsck()


def test_two_sites_with_different_outputs_leave_one_choice_that_survives_a_rebuild(
    central: Central, tmp_path: Path
) -> None:
    north, south = central.site("north"), central.site("south")
    dataset, held = packed(central, north)
    central.clock.pass_hours(49)
    central.authority.absorb(south.report(1000))
    (again,) = [one for one in south.fetch(central.authority) if one.leases]
    second = [south.play(again, lease, salt="other") for lease in again.leases]
    central.authority.absorb(south.result(second))
    chosen = central.authority.task(parse(dataset, 0, 0))["outcome"]
    central.authority.absorb(north.result(play_all(north, held)))
    assert central.authority.task(parse(dataset, 0, 0))["outcome"] == chosen
    assert central.counts(dataset)[2] == {"done": 1}
    state = central.fsck()["state_hash"]
    for seed in range(4):
        home = replace(central.home, root=tmp_path / f"fresh-{seed}")
        made = rebuild(home, central.home.archive, central.home.trust, shuffle=seed, repeat=2)
        assert made["state_hash"] == state


def test_a_report_that_no_longer_holds_a_work_frees_its_tasks(central: Central) -> None:
    site = central.site()
    dataset, held = packed(central, site)
    del site.works[held.id]  # given up, without a word about its shards
    central.authority.absorb(site.report(0))
    assert central.counts(dataset)[0] == {"ready": 4}
    central.fsck()


def test_a_lost_output_is_made_again_when_a_child_needs_it_elsewhere(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=2, fan_in=False))
    central.authority.absorb(site.report(10))
    (held,) = [one for one in site.fetch(central.authority) if one.leases]
    fate = {0: Fate.SUCCESS, 1: Fate.LOST}  # the parent ends well, the child is lost
    played = [
        site.play(held, lease, fate=lambda place, _tried: fate[place[0]]) for lease in held.leases
    ]
    central.authority.absorb(site.result(played))
    del site.works[held.id]
    assert central.counts(dataset) == [{"done": 2}, {"ready": 2}]
    site.work_all(central.authority)
    assert central.counts(dataset) == [{"done": 2}, {"done": 2}]
    central.fsck()


def test_controls_stop_leases_and_cancel_keeps_what_comes_late(central: Central) -> None:
    site = central.site()
    dataset, held = packed(central, site)
    control(central, dataset, ControlWord.CANCEL)
    central.authority.absorb(site.result(play_all(site, held)))
    assert central.counts(dataset) == [{"cancelled": 4}, {"cancelled": 4}, {"cancelled": 1}]
    control(central, dataset, ControlWord.UNCANCEL)
    assert central.counts(dataset) == [{"done": 4}, {"done": 4}, {"done": 1}]
    central.fsck()


def test_a_suspended_dataset_is_not_leased_until_it_is_resumed(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=3))
    control(central, dataset, ControlWord.SUSPEND)
    assert central.counts(dataset)[0] == {"held": 3}
    assert site.work_all(central.authority) == []
    control(central, dataset, ControlWord.RESUME)
    site.work_all(central.authority)
    assert central.counts(dataset)[2] == {"done": 1}
    central.fsck()


def test_part_of_a_dataset_can_be_reset_and_runs_again(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=3))
    site.work_all(central.authority)
    touched = central.authority.control(
        dataset,
        ControlWord.RESET,
        IntervalSet.of([1]),
        (1,),
        idempotency_key="reset",
        token_id=1,
    )
    assert touched == 2
    assert central.counts(dataset) == [{"done": 3}, {"done": 2, "ready": 1}, {"held": 1}]
    site.work_all(central.authority, salt="second")
    assert central.counts(dataset) == [{"done": 3}, {"done": 3}, {"done": 1}]
    # Its input never travelled home, so the parent was made anew too, which resets it once more.
    assert central.authority.task(parse(dataset, 1, 0))["generation"] == 1
    assert central.authority.task(parse(dataset, 1, 1))["generation"] == 2
    central.fsck()


def control(central: Central, dataset: DatasetId, word: ControlWord) -> None:
    central.authority.control(dataset, word, None, None, idempotency_key=word.value, token_id=1)


def parse(dataset: DatasetId, job: int, step: int):  # type: ignore[no-untyped-def]
    from bundle.ids import Task

    return Task(dataset, job, step)


def test_a_site_whose_clock_was_set_back_is_still_heard(central: Central) -> None:
    site = central.site()
    dataset = central.submit(chain(jobs=3))
    central.authority.absorb(site.report(0))
    site.clock_us -= 365 * 86_400_000_000
    site.work_all(central.authority)
    assert central.counts(dataset)[2] == {"done": 1}


def test_two_bundles_of_one_number_are_both_kept(central: Central) -> None:
    site = central.site()
    dataset, held = packed(central, site)
    first = site.result([site.play(held, held.leases[0])])
    site.sequence -= 1
    second = site.result([site.play(held, lease) for lease in held.leases[1:]])
    for path in (first, second):
        assert central.authority.absorb(path).outcome == "merged"
    assert central.counts(dataset)[2] == {"done": 1}
    assert central.authority._w.store.bundles.tallies()["equivocation"] == 1


def test_fsck_names_what_was_altered(central: Central) -> None:
    from central.fsck import fsck

    site = central.site()
    central.submit(chain(jobs=3))
    site.work_all(central.authority)
    database = central.authority._w.store.database  # type: ignore[attr-defined]
    (raw,) = database.execute("SELECT state FROM block WHERE step = 1").fetchone()
    states = states_of(raw).copy()
    states[2] = state_byte.TOUCHED
    database.execute("UPDATE block SET state = ? WHERE step = 1", (packed_block(states),))
    database.execute("UPDATE step SET wall_ms = wall_ms + 1 WHERE step = 0")
    works = [row.id for row in central.authority._w.store.bundles.merged() if row.kind == "work"]
    central.authority._w.archive.path(works[0]).unlink()  # its results tell of its leases
    problems = "\n".join(fsck(central.home)["problems"])
    for part in ("step 1: jobs 2 to 2 should be done", "step 0: usage", "archive"):
        assert part in problems
