"""Documents that were edited while their datasets are leased at a site: the newest one holds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.dataset.spec import Dataset, Request
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import DatasetId, Epoch
from bundle.records.edit import Edit
from bundle.records.lease import Lease
from bundle.spool import edits as edited
from bundle.spool.edits import EditUnusable, Named
from bundle.trust import cosignature
from bundle.trust.keys import MemoryKey
from bundle.wire import thin
from bundle.wire.write import ChunkSource
from relay import edits, state, works
from relay.rebuild import rebuild
from relay.status import status
from relay.tick import tick
from tests.relay.test_crash import killed_at
from tests.relay.world import EPOCH, World, make_world

LATER = Epoch(2, b"n" * 16)


def asking(world: World, memory_mib: int) -> Dataset:
    """Return the world's document with another request."""
    (step,) = world.dataset.steps
    return replace(world.dataset, steps=(replace(step, request=Request(memory_mib=memory_mib)),))


def told(
    world: World,
    document: Dataset,
    commit: int,
    *promised: Lease,
    epoch: Epoch = EPOCH,
    cosigners: Sequence[MemoryKey] = (),
) -> Path:
    """Write a bundle that tells of an edit, and may lease as well."""
    raw = spec.encode(document)
    digest = spec.dataset_digest(raw)
    chunks = [ChunkSource("dataset", world.dataset_id, 1, raw)]
    if cosigners:
        record = cosignature.encode(cosignature.make(digest, cosigners))
        chunks.append(ChunkSource(cosignature.CHUNK, digest.hex(), 1, record))
    return world.pack(
        *promised, more=chunks, edits=(Edit(world.dataset_id, digest, epoch, commit),)
    )


def in_force(world: World) -> dict[DatasetId, int]:
    """Return the memory that the newest documents in the spool ask for, verified as pilots do."""
    found = {}
    for dataset, named in edited.newest(world.spool.edits).items():
        _, document = edited.read(world.spool.edits, named, world.home.trust())
        found[dataset] = document.steps[0].request.memory_mib
    return found


def take(world: World, *paths: Path) -> None:
    for path in paths:
        world.deliver(path)
        tick(world.home)


def test_an_edit_lies_beside_the_shards_until_none_is_left(world: World) -> None:
    take(world, world.pack(world.lease(0, [0])))
    take(world, told(world, asking(world, 900), 7))
    assert in_force(world) == {world.dataset_id: 900}
    (row,) = status(world.home)["edits"]
    assert (row["dataset"], row["epoch"], row["commit"]) == (world.dataset_id, 1, 7)
    world.pilot().work_through()
    tick(world.home)
    assert in_force(world) == {}
    assert list(world.spool.edits.iterdir()) == []


def test_an_older_edit_that_comes_later_changes_nothing(world: World) -> None:
    old, new = told(world, asking(world, 700), 7), told(world, asking(world, 900), 9)
    take(world, world.pack(world.lease(0, [0])), new, old, new)
    assert in_force(world) == {world.dataset_id: 900}
    take(world, told(world, asking(world, 500), 2, epoch=LATER))  # an epoch goes before commits
    assert in_force(world) == {world.dataset_id: 500}
    assert len(list(world.spool.edits.iterdir())) == 1


def test_news_of_what_has_not_come_yet_wait_for_it(world: World) -> None:
    work, news = world.pack(world.lease(0, [0])), told(world, asking(world, 900), 7)
    take(world, news)
    tick(world.home)
    assert in_force(world) == {world.dataset_id: 900}  # the number before is missing
    take(world, work)
    assert in_force(world) == {world.dataset_id: 900}


def test_news_of_what_is_not_here_and_never_comes_are_not_kept(world: World) -> None:
    take(world, world.pack(), told(world, asking(world, 900), 7))
    assert in_force(world) == {}


def test_a_document_that_the_site_has_need_not_travel_with_the_edit(world: World) -> None:
    first = told(world, asking(world, 900), 7)
    take(world, world.pack(world.lease(0, [0])), first, told(world, asking(world, 700), 8))
    again = told(world, asking(world, 900), 9)
    bare = world.root / "bare" / again.name
    bare.parent.mkdir()
    thin.write_thin(again, bare, ())
    take(world, bare)
    assert in_force(world) == {world.dataset_id: 900}


def test_a_memory_made_anew_keeps_what_is_in_force(world: World) -> None:
    world_dataset = asking(world, 800)
    take(world, world.pack(world.lease(0, [0])), told(world, world_dataset, 7))
    received = state.read_received(world.spool)
    shutil.rmtree(state.folder(world.spool))
    rebuild(world.home)
    tick(world.home)
    assert in_force(world) == {world.dataset_id: 800}
    assert state.read_received(world.spool) == received


def test_work_that_leases_from_an_edited_document_brings_its_place(world: World) -> None:
    world.dataset = asking(world, 900)
    raw = spec.dataset_digest(spec.encode(world.dataset))
    lease = world.lease(0, [0])
    take(world, world.pack(lease, edits=(Edit(world.dataset_id, raw, EPOCH, 7),)))
    take(world, told(world, asking(world, 300), 3))
    assert in_force(world) == {world.dataset_id: 900}
    for path in world.spool.edits.iterdir():
        path.unlink()
    shutil.rmtree(state.folder(world.spool))
    rebuild(world.home)
    assert in_force(world) == {world.dataset_id: 900}


def test_an_edit_whose_document_is_missing_or_broken_is_refused_whole(world: World) -> None:
    lease = world.lease(0, [0])
    digest = spec.dataset_digest(spec.encode(asking(world, 900)))
    take(world, world.pack(lease, edits=(Edit(world.dataset_id, digest, EPOCH, 7),)))
    assert works.live(world.spool) == [] and in_force(world) == {}
    (step,) = world.dataset.steps
    cyclic = replace(world.dataset, steps=(replace(step, needs=(0,)),))
    take(world, told(world, cyclic, 8, lease))
    assert works.live(world.spool) == [] and in_force(world) == {}
    assert len(list(world.spool.folder("quarantine").glob("*.pulk"))) == 2


def test_a_forged_file_among_the_edits_is_not_believed(world: World) -> None:
    take(world, world.pack(world.lease(0, [0])), told(world, asking(world, 900), 7))
    (true,) = world.spool.edits.iterdir()
    named = Named.parse(true.name)
    assert named is not None
    newer = Named(named.dataset, (*EPOCH, 99))
    shutil.copy(true, world.spool.edits / str(newer))  # an old document under a new name
    with pytest.raises(EditUnusable):
        edited.read(world.spool.edits, newer, world.home.trust())
    other = Named(DatasetId("b" * 26), named.place)  # ... or another dataset's
    shutil.copy(true, world.spool.edits / str(other))
    with pytest.raises(EditUnusable):
        edited.read(world.spool.edits, other, world.home.trust())


@pytest.fixture
def strict(tmp_path: Path) -> tuple[World, MemoryKey]:
    key = MemoryKey.generate()
    config = "[pilots]\ncount = 0\n[trust]\ncosignatures_required = 1\n"
    return make_world(tmp_path, f'{config}cosigners = ["{key.public.hex()}"]\n'), key


def test_without_a_cosignature_the_old_document_stays_and_the_report_says_so(
    strict: tuple[World, MemoryKey],
) -> None:
    world, key = strict
    raw = spec.encode(world.dataset)
    signed = ChunkSource(
        cosignature.CHUNK,
        spec.dataset_digest(raw).hex(),
        1,
        cosignature.encode(cosignature.make(spec.dataset_digest(raw), [key])),
    )
    lease = replace(world.lease(0, [0]), spec_hashes=hashes(world.dataset))
    take(world, world.pack(lease, more=[signed]))
    assert len(works.live(world.spool)) == 1
    bare = told(world, asking(world, 900), 7)
    world.deliver(bare)
    tick(world.home)
    assert in_force(world) == {}
    assert (bare.stem, "edit-not-cosigned") in state.read_refusals(world.spool)
    take(world, told(world, asking(world, 700), 8, cosigners=[key]))
    assert in_force(world) == {world.dataset_id: 700}


def hashes(dataset: Dataset) -> tuple[tuple[int, bytes], ...]:
    return tuple((step, spec_hash(dataset, step)) for step in range(len(dataset.steps)))


EDITS = ((7, 700), (9, 900))


@settings(max_examples=25, deadline=None)
@given(st.permutations([0, 1, 2, 3]), st.lists(st.integers(0, 3), max_size=4))
def test_orders_and_repetitions_of_bundles_give_the_same(
    order: list[int], repeated: list[int]
) -> None:
    with TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as root:
        world = make_world(Path(root))
        bundles = [world.pack(world.lease(0, [0]))]
        bundles += [told(world, asking(world, memory), commit) for commit, memory in EDITS]
        bundles.append(world.pack(world.lease(1, [1])))
        take(world, *(bundles[one] for one in [*order, *repeated]))
        assert in_force(world) == {world.dataset_id: 900}
        assert edits.told(world.home)[0]["commit"] == 9
        assert len(works.live(world.spool)) == 2


@pytest.mark.programs
@pytest.mark.parametrize("thinned", [False, True])
def test_a_kill_at_any_step_of_accepting_an_edit_loses_nothing(
    tmp_path: Path, thinned: bool
) -> None:
    for number in count(1):
        (tmp_path / str(number)).mkdir()
        world = make_world(tmp_path / str(number))
        take(world, world.pack(world.lease(0, [0])), told(world, asking(world, 700), 7))
        news = told(world, asking(world, 900), 9, *([] if thinned else [world.lease(1, [1])]))
        if thinned:
            take(world, told(world, asking(world, 900), 6))
            whole, news = news, world.root / "thin" / news.name
            news.parent.mkdir()
            thin.write_thin(whole, news, ())
        world.deliver(news)
        was_killed = killed_at(number, lambda world=world: tick(world.home))  # type: ignore[misc]
        assert in_force(world) in ({world.dataset_id: 700}, {world.dataset_id: 900})
        tick(world.home)
        assert in_force(world) == {world.dataset_id: 900}
        assert len(list(world.spool.edits.iterdir())) == 1
        assert len(works.live(world.spool)) == (1 if thinned else 2)
        shutil.rmtree(world.root)
        if not was_killed:
            break
    assert number > 10
