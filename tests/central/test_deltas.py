"""What a site reports to have is not sent again."""

from __future__ import annotations

import json
from pathlib import Path

from bundle.intervals import IntervalSet
from bundle.wire import thin
from bundle.wire.errors import AbsentChunk
from bundle.wire.manifest import Kind
from bundle.wire.read import OpenBundle, open_bundle
from tests.central.conftest import Central, chain
from tests.central.scripted_site import ScriptedSite


def two_bundles(central: Central, site: ScriptedSite) -> tuple[Path, Path]:
    """Return two work bundles of one dataset, as they lie in the archive."""
    central.submit(chain(jobs=400))
    packed = []
    for _ in range(2):
        made = central.authority.pack(site.name, 40)
        assert made is not None
        packed.append(central.authority.outgoing(site.name, made.id))
    return packed[0], packed[1]


def opened(site: ScriptedSite, path: Path) -> OpenBundle:
    return open_bundle(path, site.trust, audience=site.name, kinds=frozenset({Kind.WORK}))


def large(monkeypatch: object) -> None:
    monkeypatch.setattr("central.deltas.SPARED_BYTES_MIN", 1)  # type: ignore[attr-defined]


def document_of(site: ScriptedSite, path: Path) -> bytes:
    with opened(site, path) as bundle:
        return bundle.manifest.chunks[bundle.one("dataset")].digest


def test_a_document_that_the_site_has_is_left_out(central: Central, monkeypatch: object) -> None:
    large(monkeypatch)
    site = central.site()
    first, second = two_bundles(central, site)
    digest = document_of(site, first)
    central.authority.absorb(site.report(100, has=(digest,)))
    with opened(site, second) as whole:
        id_ = whole.id
    sent = central.authority.outgoing(site.name, id_)
    with opened(site, sent) as copy:
        assert copy.id == id_
        assert [copy.manifest.chunks[n].kind for n in copy.absent()] == ["dataset"]
        copy.check_present()
    assert sent != second
    assert central.authority.outgoing(site.name, id_) == sent
    assert thin.join(site.folder / "joined", [sent, second]) == []


def test_a_site_that_no_longer_has_it_gets_the_whole(central: Central, monkeypatch: object) -> None:
    large(monkeypatch)
    site = central.site()
    first, second = two_bundles(central, site)
    digest = document_of(site, first)
    with opened(site, second) as whole:
        id_ = whole.id
    refused = ((id_, AbsentChunk.code),)
    central.authority.absorb(site.report(100, has=(digest,), refused=refused))
    assert central.authority.outgoing(site.name, id_) == second


def test_little_is_not_worth_a_copy_and_another_site_is_sent_everything(
    central: Central, monkeypatch: object
) -> None:
    site, other = central.site(), central.site("south")
    first, second = two_bundles(central, site)
    digest = document_of(site, first)
    central.authority.absorb(site.report(100, has=(digest,)))
    with opened(site, second) as whole:
        id_ = whole.id
    assert central.authority.outgoing(site.name, id_) == second
    large(monkeypatch)
    made = central.authority.pack(other.name, 10)
    assert made is not None
    path = central.authority.outgoing(other.name, made.id)
    with opened(other, path) as bundle:
        assert not bundle.absent()


def test_copies_are_gone_after_a_start(central: Central, monkeypatch: object) -> None:
    large(monkeypatch)
    site = central.site()
    first, second = two_bundles(central, site)
    central.authority.absorb(site.report(100, has=(document_of(site, first),)))
    with opened(site, second) as whole:
        central.authority.outgoing(site.name, whole.id)
    assert list(central.home.deltas.iterdir())
    central.reopen()
    assert not list(central.home.deltas.iterdir())


def test_sites_can_be_listed_as_json_after_a_report_of_what_is_there(central: Central) -> None:
    site = central.site()
    first, _ = two_bundles(central, site)
    central.authority.absorb(site.report(100, has=(document_of(site, first),)))
    (row,) = central.authority.sites()
    assert json.loads(json.dumps(row))["report"]["has"] == 1


def test_what_nobody_waits_for_any_more_is_withdrawn(central: Central) -> None:
    site = central.site()
    central.submit(chain(jobs=400))
    first = central.authority.pack(site.name, 40)
    assert first is not None
    central.clock.pass_hours(1000)  # its leases expire unseen
    second = central.authority.pack(site.name, 40)
    assert second is not None
    with opened(site, central.authority.outgoing(site.name, second.id)) as bundle:
        assert bundle.manifest.withdrawn == IntervalSet.of([0])
    third = central.authority.pack(site.name, 40)
    assert third is not None
    with opened(site, central.authority.outgoing(site.name, third.id)) as bundle:
        assert bundle.manifest.withdrawn == IntervalSet.of([0])  # number 1 still has live leases
