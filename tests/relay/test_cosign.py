"""A site that demands co-signatures: central's key alone makes it run nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Input, Output, Per, Step
from bundle.dataset.spec_hash import spec_hash
from bundle.ids import DatasetId, LeaseId
from bundle.intervals import IntervalSet
from bundle.records import lease as leases
from bundle.records import report as reports
from bundle.records.lease import Block, Lease
from bundle.trust import cosignature, signed
from bundle.trust.keys import MemoryKey
from bundle.trust.signed import Signature, Signed
from bundle.wire import thin
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.preauth import DATASET_TYPE, TRUST_TYPE
from bundle.wire.read import OpenBundle, open_bundle
from bundle.wire.write import ChunkSource, write_bundle
from relay import cosign, quarantine, state
from relay.accept import accept_all
from relay.cosign import CosignatureMissing, LeaseOutsideDocument
from relay.errors import ConfigRefused
from relay.home import open_home
from relay.tick import tick
from tests.relay.test_accept import snapshot
from tests.relay.world import EPOCH, SITE, World, make_world

ANNA, BELA, CARLA = (MemoryKey(bytes([number]) * 32) for number in (1, 2, 3))
RUN = Command(("/bin/true",))
DATASET = Dataset(
    "chain",
    4,
    1,
    (
        Step("make", RUN, outputs=(Output("m"),)),
        Step("sum", RUN, per=Per.DATASET, needs=(0,), inputs=(Input(0, 0, "m"),)),
    ),
)
EVIL = replace(DATASET, steps=(Step("make", Command(("/bin/sh", "-c", "evil"))),))


def demanding(root: Path, required: int = 1, *keys: MemoryKey) -> World:
    """A site that demands co-signatures by some of these keys, Anna and Bela by default."""
    listed = [f'"{key.public.hex()}"' for key in keys or (ANNA, BELA)]
    demand = f"cosigners = [{', '.join(listed)}]\ncosignatures_required = {required}\n"
    return make_world(root, f"[pilots]\ncount = 0\n[trust]\n{demand}")


def lease_of(dataset: Dataset, **fields: Any) -> Lease:
    """All tasks of a dataset in one lease, as central makes it."""
    steps = range(len(dataset.steps))
    known = {
        "lease": LeaseId(bytes(16)),
        "dataset": DatasetId("a" * 26),
        "dataset_digest": spec.dataset_digest(spec.encode(dataset)),
        "shard": 0,
        "blocks": tuple(
            Block(1, IntervalSet.of(range(dataset.tasks_of(step))), (step,)) for step in steps
        ),
        "spec_hashes": tuple((step, spec_hash(dataset, step)) for step in steps),
        "needs": (),
        "returns": (0,),
        "pins": (),
        "spent": (),
        "duration_ms": 0,
    }
    return Lease(**(known | fields))  # type: ignore[arg-type]


def record(dataset: Dataset, *keys: MemoryKey) -> bytes:
    digest = spec.dataset_digest(spec.encode(dataset))
    return cosignature.encode(cosignature.make(digest, keys))


def pack(
    world: World,
    datasets: Iterable[Dataset],
    promised: Iterable[Lease],
    records: Iterable[bytes] = (),
) -> Path:
    """Sign a work bundle with central's key, whatever is in it."""
    chunks = [
        ChunkSource("dataset", chr(ord("a") + number) * 26, 1, spec.encode(one))
        for number, one in enumerate(datasets)
    ]
    chunks += [
        ChunkSource("lease", f"{number}", one.count(), leases.encode(one))
        for number, one in enumerate(promised)
    ]
    chunks += [ChunkSource("cosignature", "any name", 1, one) for one in records]
    draft = ManifestDraft(
        kind=Kind.WORK,
        producer="central",
        stream=world.stream,
        sequence=world.sequence,
        created_us=1,
        audience=SITE,
        epoch=EPOCH,
        commit=world.sequence,
    )
    world.sequence += 1
    made = write_bundle(world.root / "unnamed", draft, chunks, world.authority.central)
    return (world.root / "unnamed").rename(world.root / f"{made}.pulk")


def opened(world: World, path: Path) -> OpenBundle:
    return open_bundle(path, world.home.trust(), audience=SITE, kinds=frozenset({Kind.WORK}))


def judge(world: World, path: Path) -> None:
    """Check a bundle as accept does. Raises what `cosign.check` raises."""
    with opened(world, path) as bundle:
        promised = [leases.decode(bundle.chunk(place)) for place in bundle.find("lease")]
        cosign.check(world.home, bundle, promised)


def test_by_default_nothing_is_demanded(world: World) -> None:
    judge(world, pack(world, [EVIL], [lease_of(EVIL)]))
    judge(world, pack(world, [DATASET], [lease_of(EVIL)]))


def test_central_alone_is_refused_by_a_site_that_demands_cosignatures(tmp_path: Path) -> None:
    world = demanding(tmp_path)
    path, before = pack(world, [EVIL], [lease_of(EVIL)]), snapshot(world)
    with pytest.raises(CosignatureMissing) as refused:
        judge(world, path)
    assert refused.value.fields["found"] == 0
    assert ANNA.public.hex()[:16] in refused.value.text()
    world.deliver(path)
    assert accept_all(world.home).refused == 1
    assert [one.code for one in quarantine.every(world.spool)] == ["cosignature-missing"]
    assert (path.stem, "cosignature-missing") in state.read_refusals(world.spool)
    after = {name: raw for name, raw in snapshot(world).items() if "refus" not in name}
    assert after == {name: raw for name, raw in before.items() if "refus" not in name}
    assert not world.out("work", "claimable")


def test_the_report_says_what_is_demanded(tmp_path: Path, world: World) -> None:
    (tmp_path / "demanding").mkdir()
    for one, said in (
        (world, {}),
        (
            demanding(tmp_path / "demanding", 2),
            {"cosignatures": " ".join(["2", *sorted(k.public.hex() for k in (ANNA, BELA))])},
        ),
    ):
        tick(one.home)
        (path,) = [path for path in one.out("out") if one.read(path).manifest.kind is Kind.REPORT]
        with open_bundle(
            path, one.trust(), audience="central", kinds=frozenset({Kind.REPORT})
        ) as bundle:
            profile = dict(reports.decode(bundle.chunk(bundle.one("report"))).profile)
        assert {k: v for k, v in profile.items() if k == "cosignatures"} == said


def test_what_a_listed_user_cosigned_runs(tmp_path: Path) -> None:
    world = demanding(tmp_path)
    path = pack(world, [DATASET], [lease_of(DATASET)], [record(DATASET, BELA)])
    judge(world, path)
    world.deliver(path)
    assert accept_all(world.home).shards == 1


def test_news_without_work_need_no_cosignature(tmp_path: Path) -> None:
    world = demanding(tmp_path)
    world.deliver(pack(world, [], []))
    assert accept_all(world.home).bundles == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.sweeps
@given(
    st.lists(st.lists(st.sampled_from([ANNA, BELA, CARLA]), min_size=1, max_size=4), max_size=4),
    st.integers(1, 2),
)
def test_a_bundle_passes_exactly_when_enough_different_listed_keys_signed(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[MemoryKey]], required: int
) -> None:
    world = demanding(tmp_path_factory.mktemp("world"), required)
    digest = spec.dataset_digest(spec.encode(DATASET))
    records = [signed.encode(signed.sign(DATASET_TYPE, digest, group)) for group in groups]
    path = pack(world, [DATASET], [lease_of(DATASET)], records)
    signers = {key.public for group in groups for key in group} - {CARLA.public}
    if len(signers) >= required:
        judge(world, path)
    else:
        with pytest.raises(CosignatureMissing) as refused:
            judge(world, path)
        assert refused.value.fields["found"] == len(signers)


def test_what_does_not_hold_counts_for_nobody(tmp_path: Path) -> None:
    world = demanding(tmp_path)
    digest = spec.dataset_digest(spec.encode(DATASET))
    good = signed.sign(DATASET_TYPE, digest, [ANNA])
    records = [
        b"junk",
        record(EVIL, ANNA),  # over another document
        signed.encode(replace(signed.sign(DATASET_TYPE, b"o" * 32, [ANNA]), body=digest)),
        signed.encode(signed.sign(TRUST_TYPE, digest, [ANNA])),
        signed.encode(Signed(digest, (replace(good.signatures[0], key=BELA.public),))),
        signed.encode(Signed(digest, (Signature(bytes(32), bytes(64)),))),
    ]
    with pytest.raises(CosignatureMissing):
        judge(world, pack(world, [DATASET], [lease_of(DATASET)], records))
    judge(world, pack(world, [DATASET], [lease_of(DATASET)], [*records, signed.encode(good)]))


def test_every_document_of_the_bundle_needs_its_own(tmp_path: Path) -> None:
    world = demanding(tmp_path)
    with pytest.raises(CosignatureMissing) as refused:
        judge(world, pack(world, [DATASET, EVIL], [lease_of(DATASET)], [record(DATASET, ANNA)]))
    assert refused.value.fields["dataset"] == "b" * 26


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dataset_digest": b"o" * 32}, "not in the bundle"),
        ({"blocks": (Block(1, IntervalSet.of([4]), (0,)),)}, "other steps"),
        ({"blocks": (Block(1, IntervalSet.of([3, 4]), (0,)),), "steps": 1}, "job 4"),
        ({"blocks": (Block(1, IntervalSet.of([2**32 - 1]), (0,)),), "steps": 1}, "job"),
        ({"blocks": (Block(1, IntervalSet.of([0, 1]), (0, 1)),)}, "step 1 has 1 tasks"),
        ({"blocks": (Block(1, IntervalSet.of([0]), (0, 2)),), "steps": 3}, "step 2"),
        ({"spec_hashes": ((0, bytes(32)), (1, spec_hash(DATASET, 1)))}, "another spec hash"),
        ({"spec_hashes": ((0, spec_hash(DATASET, 0)),)}, "other steps"),
        ({"spec_hashes": ()}, "other steps"),
    ],
)
def test_a_lease_must_expand_from_its_document(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    world = demanding(tmp_path)
    steps = fields.pop("steps", None)
    if steps is not None:
        hashes = [(step, spec_hash(DATASET, min(step, 1))) for step in range(steps)]
        fields["spec_hashes"] = tuple(one for one in hashes if one[0] != 1 or steps < 3)
    path = pack(world, [DATASET], [lease_of(DATASET, **fields)], [record(DATASET, ANNA)])
    with pytest.raises(LeaseOutsideDocument, match=says):
        judge(world, path)


def test_a_lease_of_some_jobs_and_one_step_expands_from_its_document(tmp_path: Path) -> None:
    world = demanding(tmp_path)
    some = lease_of(
        DATASET,
        blocks=(Block(7, IntervalSet.of([1, 3]), (0,)),),
        spec_hashes=((0, spec_hash(DATASET, 0)),),
    )
    judge(world, pack(world, [DATASET], [some], [record(DATASET, ANNA)]))


def test_a_document_that_was_left_out_because_it_is_here_is_judged_as_well(
    tmp_path: Path,
) -> None:
    world = demanding(tmp_path)
    world.deliver(pack(world, [DATASET], [lease_of(DATASET)], [record(DATASET, ANNA)]))
    assert accept_all(world.home).bundles == 1
    other = lease_of(DATASET, lease=LeaseId(b"o" * 16))
    for records, refused in (([record(DATASET, ANNA)], 0), ([], 1)):
        whole = pack(world, [DATASET], [other], records)
        with opened(world, whole) as bundle:
            keep = frozenset(range(len(bundle.manifest.chunks))) - {bundle.one("dataset")}
        thin.write_thin(whole, world.spool.folder("in") / whole.name, keep)
        assert accept_all(world.home).refused == refused


def test_a_refused_bundle_is_taken_once_the_site_lists_its_cosigner(tmp_path: Path) -> None:
    world = demanding(tmp_path, 1, ANNA)
    world.deliver(pack(world, [DATASET], [lease_of(DATASET)], [record(DATASET, BELA)]))
    assert accept_all(world.home).refused == 1
    config = world.home.folder / "relay.toml"
    config.write_text(config.read_text().replace(ANNA.public.hex(), BELA.public.hex()))
    (refused,) = quarantine.every(world.spool)
    quarantine.release(refused, world.spool.folder("in") / refused.path.name)
    assert accept_all(open_home(world.home.folder)).shards == 1


def test_cosigners_are_named_by_files_beside_the_configuration(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    (world.home.folder / "anna.pub").write_text(f"{ANNA.public.hex()} anna\n")
    config = world.home.folder / "relay.toml"
    before = config.read_text()
    config.write_text(f'{before}[trust]\ncosigners = ["anna.pub"]\ncosignatures_required = 1\n')
    assert open_home(world.home.folder).config.trust.cosigners == (ANNA.public,)


@pytest.mark.parametrize(
    "text",
    [
        "cosignatures_required = 1",
        f'cosigners = ["{ANNA.public.hex()}", "{ANNA.public.hex()}"]\ncosignatures_required = 2',
        f'cosigners = "{ANNA.public.hex()}"',
        'cosigners = ["missing.pub"]',
        'cosigners = ["ab"]',
        f'cosigners = ["{"00" * 32}"]',
        f'cosigners = ["01{"00" * 31}"]',
        "cosigners = [1]",
        "cosignatures_required = -1",
        "cosignature_required = 1",
    ],
)
def test_a_demand_that_cannot_be_meant_is_refused_with_the_configuration(
    world: World, text: str
) -> None:
    config = world.home.folder / "relay.toml"
    config.write_text(f"{config.read_text()}[trust]\n{text}\n")
    with pytest.raises(ConfigRefused, match="trust"):
        open_home(world.home.folder)
