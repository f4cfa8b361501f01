"""Work bundles that come without what the site reported to have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundle.ids import BundleId
from bundle.intervals import IntervalSet
from bundle.records import report as reports
from bundle.wire import thin
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from relay import accept, delta, works
from relay.report import report
from relay.status import status
from tests.relay.world import SITE, World

NOISE = os.urandom(20_000)


def thinned(path: Path, *absent: str) -> Path:
    """Replace a bundle file by a copy without its chunks of these kinds; return it."""
    with thin.opened(path) as found:
        keep = {n for n, one in enumerate(found.manifest.chunks) if one.kind not in absent}
    thin.write_thin(path, path, keep)
    return path


def said(world: World) -> reports.Report:
    """Return what the site's newest report says."""
    report(world.home, works.live(world.spool), {}, force=True)
    newest = None
    for path in world.out("out"):
        kinds = frozenset({Kind.RESULT, Kind.REPORT, Kind.TELEMETRY})
        with open_bundle(path, world.trust(), audience="central", kinds=kinds) as bundle:
            if bundle.manifest.kind is Kind.REPORT:
                newest = reports.decode(bundle.chunk(0))
                path.unlink()
    assert newest is not None
    return newest


def test_a_bundle_without_a_known_document_is_completed_here(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    assert accept.accept_all(world.home).shards == 1
    second = world.pack(world.lease(1, [1]))
    whole = second.read_bytes()
    world.deliver(thinned(second, "dataset"))
    assert accept.accept_all(world.home).shards == 1
    work = world.spool.work_bundle(BundleId(second.stem))
    with open_bundle(work, world.trust(), audience=SITE, kinds=frozenset({Kind.WORK})) as bundle:
        bundle.check_all()
        assert bundle.id == second.stem
    assert len(second.read_bytes()) < len(whole)


def test_a_document_that_is_nowhere_is_asked_for_until_the_whole_bundle_came(
    world: World,
) -> None:
    path = world.pack(world.lease(0, [0]))
    whole = path.read_bytes()
    world.deliver(thinned(path, "dataset"))
    taken = accept.accept_all(world.home)
    assert (taken.bundles, taken.refused) == (0, 1)
    assert not works.ids(world.spool)
    for _ in range(2):  # a report may be lost: it is said again
        assert (path.stem, "absent-chunk") in said(world).refused
    assert not accept.is_known(world.home, BundleId(path.stem))
    path.write_bytes(whole)
    world.deliver(path)
    assert accept.accept_all(world.home).shards == 1
    assert (path.stem, "absent-chunk") not in said(world).refused


def test_files_that_are_here_need_not_come_again(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), data=[NOISE]))
    accept.accept_all(world.home)
    second = world.pack(world.lease(1, [1]), data=[NOISE])
    world.deliver(thinned(second, "dataset", "data"))
    assert accept.accept_all(world.home).shards == 1
    assert said(world).has


@pytest.mark.parametrize("harm", ["gone", "altered", "shorter"])
def test_a_file_that_is_no_longer_whole_here_is_not_taken_for_it(world: World, harm: str) -> None:
    world.deliver(world.pack(world.lease(0, [0]), data=[NOISE]))
    accept.accept_all(world.home)
    (file,) = works.live(world.spool)[0].data
    path = world.spool.data(file)
    path.chmod(0o600)
    match harm:
        case "gone":
            path.unlink()
        case "altered":
            path.write_bytes(bytes(len(NOISE)))
        case "shorter":
            path.write_bytes(NOISE[:-1])
    world.deliver(thinned(world.pack(world.lease(1, [1]), data=[NOISE]), "data"))
    taken = accept.accept_all(world.home)
    assert (taken.bundles, taken.refused) == (0, 1)


def test_a_kept_document_that_was_altered_is_not_used(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    accept.accept_all(world.home)
    for path in (world.spool.folder("state") / "documents").iterdir():
        path.write_bytes(b"something else")
    world.deliver(thinned(world.pack(world.lease(1, [1])), "dataset"))
    assert accept.accept_all(world.home).refused == 1


def test_the_report_tells_what_is_here(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), data=[NOISE]))
    accept.accept_all(world.home)
    work = works.live(world.spool)[0]
    has = said(world).has
    assert set(work.data) <= set(has)
    assert len(has) == len(work.data) + 1
    assert list(has) == sorted(has)


def test_only_so_many_documents_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "DOCUMENTS_MAX", 0)
    world.deliver(world.pack(world.lease(0, [0])))
    accept.accept_all(world.home)
    assert not list((world.spool.folder("state") / "documents").iterdir())


def test_a_number_that_was_withdrawn_is_no_gap(world: World) -> None:
    stream = world.stream.hex()
    world.deliver(world.pack(world.lease(0, [0])))
    world.pack(world.lease(1, [1]))  # lost
    world.deliver(world.pack(world.lease(2, [2])))
    accept.accept_all(world.home)
    assert status(world.home)["central"]["gaps"][stream] == [[1, 1]]
    world.deliver(world.pack(world.lease(3, [3]), withdrawn=IntervalSet.of([1])))
    accept.accept_all(world.home)
    assert status(world.home)["central"]["gaps"][stream] == []
