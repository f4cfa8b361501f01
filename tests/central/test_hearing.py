"""A site that holds what was edited hears of it with the next bundle, until it has heard."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Request
from bundle.ids import DatasetId, LeaseId, SiteName
from bundle.records.rules import RetryRules
from bundle.trust import cosignature
from bundle.trust.keys import MemoryKey
from bundle.wire.manifest import Kind, Manifest
from bundle.wire.read import open_bundle
from central import heard, hearing
from central.cli import shown
from central.core.edit import Size
from central.core.facts import ControlWord
from central.core.heard import words
from central.editing import resize
from tests.central.conftest import Central, chain
from tests.central.scripted_site import ScriptedSite
from tests.central.test_calling_off import is_quiet, told
from tests.central.test_edit import control, edit, with_step

PLAIN = chain(6, fan_in=False)
LARGER = with_step(PLAIN, 0, request=Request(memory_mib=900))
LARGEST = with_step(PLAIN, 0, request=Request(memory_mib=1900))


def hold(central: Central, site: ScriptedSite, tasks: int = 1000) -> None:
    """Have a site hold work, and central know that it does."""
    central.authority.absorb(site.report(tasks))
    site.fetch(central.authority)
    central.authority.absorb(site.report(tasks))


def digest_of(document: Dataset) -> bytes:
    return spec.dataset_digest(spec.encode(document))


def said(manifests: list[Manifest]) -> list[bytes]:
    return [edit.document for one in manifests for edit in one.edits]


def knows(central: Central, dataset: DatasetId) -> list[tuple[str, bool, bool]]:
    """Return which sites are told of, whether each has heard, and whether it refused."""
    w = central.authority._w
    about = heard.of_dataset(w, w.dataset(dataset))
    assert about is not None
    return [(one["site"], bool(one["heard"]), one["refused"]) for one in about["sites"]]


def test_an_edit_is_news_for_the_site_that_holds_the_dataset_and_for_no_other(
    central: Central,
) -> None:
    north, south = central.site(), central.site("south")
    dataset = central.submit(PLAIN)
    hold(central, north)
    assert is_quiet(central, north)
    edit(central, dataset, LARGER)
    (row,) = central.authority.outbox(north.name)
    path = central.authority.outgoing(north.name, row.id)
    with open_bundle(
        path, north.trust, audience=north.name, kinds=frozenset({Kind.WORK})
    ) as bundle:
        (one,) = bundle.manifest.edits
        (place,) = bundle.find("dataset")
        assert bundle.chunk(place) == spec.encode(LARGER) and not bundle.find("lease")
        assert (one.dataset, one.document) == (dataset, digest_of(LARGER))
    assert knows(central, dataset) == [("north", False, False)]
    north.take(path)
    assert is_quiet(central, north)  # once said it is no news
    assert said(told(central, south)) == []
    central.authority.absorb(north.report(1000))
    assert knows(central, dataset) == [("north", True, False)]
    central.fsck()


def test_it_is_said_in_every_bundle_until_the_site_has_one_and_not_again_after(
    central: Central,
) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, LARGER)
    central.authority.outbox(north.name)  # on its way, and lost
    central.submit(chain(2, fan_in=False))
    central.authority.absorb(north.report(1000))
    assert said(told(central, north)) == [digest_of(LARGER)]
    central.authority.absorb(north.report(1000))
    central.submit(chain(3, fan_in=False))
    assert said(told(central, north)) == []
    assert is_quiet(central, north)


def test_the_newest_of_two_edits_is_said_and_one_that_is_taken_back_too(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, LARGER)
    edit(central, dataset, LARGEST)
    assert said(told(central, north)) == [digest_of(LARGEST)]
    edit(central, dataset, PLAIN)  # what its leases say, but no longer what it was told
    assert said(told(central, north)) == [digest_of(PLAIN)]
    assert is_quiet(central, north)


def test_what_changes_nothing_that_the_site_runs_is_no_news(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, with_step(PLAIN, 0, run=Command(("other",))))  # stale: it runs anew
    hold(central, north)
    edit(central, dataset, replace(PLAIN, description="of other words"))
    first = [one for one in told(central, north) if not _leases(one)]
    assert all(one.edits == () for one in first)


def _leases(manifest: Manifest) -> list[LeaseId]:
    return [LeaseId(bytes.fromhex(one.name)) for one in manifest.chunks if one.kind == "lease"]


def test_work_of_an_edited_dataset_says_where_its_document_stands(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    edit(central, dataset, LARGER)
    central.authority.absorb(north.report(1000))
    (manifest,) = told(central, north)
    assert _leases(manifest) and said([manifest]) == [digest_of(LARGER)]
    central.authority.absorb(north.report(1000))
    assert knows(central, dataset) == [("north", True, False)]
    edit(central, dataset, with_step(LARGER, 1, retry=RetryRules(backoff_ms=5)))
    assert len(said(told(central, north))) == 1


def test_a_new_start_and_a_database_made_anew_say_it_at_most_once_more(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, LARGER)
    central.reopen()
    assert said(told(central, north)) == [digest_of(LARGER)]
    central.authority.absorb(north.report(1000))
    central.reopen()
    assert is_quiet(central, north) and knows(central, dataset) == [("north", True, False)]


def test_a_removed_dataset_is_no_news(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, LARGER)
    control(central, dataset, ControlWord.TOMBSTONE)
    (manifest,) = told(central, north)
    assert manifest.tombstones == (dataset,)


def test_a_site_that_passed_it_over_for_want_of_cosignatures_is_named(central: Central) -> None:
    north, key = central.site(), MemoryKey.generate()
    demand = ((cosignature.DEMAND, f"1 {key.public.hex()}"),)
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, LARGER)
    (row,) = central.authority.outbox(north.name)
    north.take(central.authority.outgoing(north.name, row.id))
    report = north.report(1000, profile=demand, refused=((row.id, hearing.REFUSED),))
    central.authority.absorb(report)
    assert knows(central, dataset) == [("north", True, True)]
    record = cosignature.encode(cosignature.make(digest_of(LARGER), [key]))
    central.authority.edit(
        dataset,
        spec.encode(LARGER),
        idempotency_key="again",
        token_id=1,
        cosignature=record,
    )
    (manifest,) = [one for one in told(central, north) if one.edits]
    assert said([manifest]) == [digest_of(LARGER)]
    assert cosignature.CHUNK in {one.kind for one in manifest.chunks}


def test_hearing_holds_for_a_site_of_many(central: Central) -> None:
    sites: list[ScriptedSite] = [central.site(), central.site("south")]
    dataset = central.submit(chain(40, fan_in=False))
    for site in sites:
        hold(central, site, 8)
    edit(central, dataset, with_step(chain(40, fan_in=False), 0, request=Request(disk_bytes=9)))
    told(central, sites[0])
    central.authority.absorb(sites[0].report(8))
    assert knows(central, dataset) == [("north", True, False), ("south", False, False)]


def test_why_tell_and_show_say_who_has_not_heard_yet(central: Central) -> None:
    north, south = central.site(), central.site("south")
    dataset = central.submit(PLAIN)
    for site in (north, south):
        hold(central, site, 3)
    edit(central, dataset, LARGER)
    told(central, north)
    central.authority.absorb(north.report(3))
    w = central.authority._w
    row = w.dataset(dataset)
    said = words(heard.of_dataset(w, row))
    assert "north has it since 20" in said and "south does not have it yet" in said
    by_site = {lease.site: w.lease(lease) for lease in w.store.datasets.live_on(row.no)}
    for name, word in (("north", "north has it since"), ("south", "south does not have it yet")):
        (task, _), *_ = by_site[SiteName(name)].tasks()
        (first, *_) = central.authority.why(task)["because"]
        assert word in first["text"]
        story = [one["text"] for one in central.authority.tell(task)["story"]]
        assert any("another document took" in one and word in one for one in story)
    about = central.authority.dataset(dataset)["edited"]
    assert [one["site"] for one in about["sites"]] == ["north", "south"]
    counted = central.authority.counts(dataset)["steps"]
    assert "south does not have it yet" in shown.dataset(
        central.authority.dataset(dataset), counted
    )


def test_another_size_is_no_news_where_everything_runs_as_before(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    edit(central, dataset, LARGER)
    told(central, north)
    central.authority.absorb(north.report(1000))
    size, key = Size(open=True), os.urandom(8).hex()
    resize(central.authority._w, dataset, size, (1, key))
    assert said([one for one in told(central, north) if not _leases(one)]) == []


def test_what_is_stale_by_one_edit_is_told_of_the_next_that_takes_it_back(central: Central) -> None:
    north = central.site()
    dataset = central.submit(PLAIN)
    hold(central, north)
    other = with_step(LARGER, 0, run=Command(("other",)))
    edit(central, dataset, other)
    hold(central, north)  # leased anew, from the other document
    edit(central, dataset, LARGEST)
    assert digest_of(LARGEST) in said(told(central, north))


def test_many_edits_are_said_in_turn(central: Central, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "SAID_MAX", 2)
    north = central.site()
    datasets = [central.submit(replace(PLAIN, name=f"d{number}")) for number in range(3)]
    hold(central, north)
    for number, dataset in enumerate(datasets):
        edit(central, dataset, replace(LARGER, name=f"d{number}"))
    assert len(said(told(central, north))) == 2
    assert is_quiet(central, north)  # the third waits until these are known to have come
    central.authority.absorb(north.report(1000))
    assert len(said(told(central, north))) == 1
