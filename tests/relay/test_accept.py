"""Accepting work bundles: all or nothing, once, whatever is damaged, old or repeated."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.ids import Epoch
from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt
from bundle.spool.layout import FOLDERS
from bundle.spool.shard import ShardName
from bundle.trust import trust_file, versions
from bundle.trust.errors import TrustBusy
from bundle.trust.keys import MemoryKey
from bundle.wire.manifest import Kind, Rules
from relay import quarantine, state, stream, works
from relay.accept import accept_all, is_known
from relay.home import open_home
from relay.tick import tick
from tests.relay.world import World, make_world


def snapshot(world: World) -> dict[str, bytes]:
    """Return every file of the spool that a refused bundle must not change."""
    kept = [name for name in FOLDERS if name not in ("in", "quarantine", "tmp")]
    return {
        str(path): path.read_bytes()
        for name in [*kept, "trust"]
        for path in sorted([world.spool.root / name, *(world.spool.root / name).rglob("*")])
        if path.is_file()
    }


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_a_truncated_bundle_is_quarantined_with_its_reason_and_nothing_changes(
    world: World,
) -> None:
    path = world.pack(world.lease(0, [0]), data=[b"some input"])
    raw, before = path.read_bytes(), snapshot(world)
    cuts = sorted({0, 1, len(raw) - 1, *range(0, len(raw), 97)})
    for cut in cuts:
        (world.spool.folder("in") / path.name).write_bytes(raw[:cut])
        assert accept_all(world.home).refused == 1
        assert snapshot(world) == before
    refused = list(quarantine.every(world.spool))
    assert len(refused) == len(cuts)
    assert all(one.text and one.code != "unknown" for one in refused)
    assert state.read_refusals(world.spool)


def test_a_flipped_bit_anywhere_is_refused_and_nothing_changes(world: World) -> None:
    path = world.pack(world.lease(0, [0]), data=[b"some input"])
    raw, before = path.read_bytes(), snapshot(world)
    for at in range(0, len(raw), 31):
        (world.spool.folder("in") / path.name).write_bytes(flipped(raw, at))
        assert accept_all(world.home).refused == 1
        assert snapshot(world) == before


def test_the_whole_bundle_is_still_taken_after_damaged_copies_of_it(world: World) -> None:
    path = world.pack(world.lease(0, [0]))
    (world.spool.folder("in") / path.name).write_bytes(path.read_bytes()[:-1])
    tick(world.home)
    world.deliver(path)
    assert tick(world.home).accepted == 1
    assert len(world.out("claimable")) == 1


def test_a_bundle_for_another_site_or_of_another_kind_is_refused(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), audience="south"))
    world.deliver(world.pack(kind=Kind.COMMIT, audience=""))
    assert accept_all(world.home).refused == 2
    codes = sorted(one.code for one in quarantine.every(world.spool))
    assert codes == ["wrong-audience", "wrong-kind"]


def test_a_link_in_the_inbox_is_never_followed(world: World) -> None:
    path = world.pack(world.lease(0, [0]))
    (world.spool.folder("in") / path.name).symlink_to(path)
    assert accept_all(world.home).refused == 1
    assert path.exists()


def test_a_bundle_twice_offers_its_shards_once(world: World) -> None:
    path = world.pack(world.lease(0, [0]))
    for _ in range(3):
        world.deliver(path)
        tick(world.home)
    assert len(world.out("claimable")) == 1


def test_an_old_copy_of_a_retired_bundle_is_not_run_again(world: World) -> None:
    path = world.pack(world.lease(0, [0]))
    world.deliver(path)
    tick(world.home)
    pilot = world.pilot()
    pilot.work_through()
    pilot.end()
    tick(world.home)
    everything = [world.read(one) for one in world.out("out")]
    world.deliver(world.pack(receipts=world.receipts(*everything)))
    assert tick(world.home).retired == 1
    world.deliver(path)
    tick(world.home)
    assert not world.out("claimable", "work")
    assert is_known(world.home, everything and works.BundleId(path.stem))


def test_a_lease_in_two_bundles_is_offered_once(world: World) -> None:
    lease, other = world.lease(0, [0]), world.lease(1, [1])
    world.deliver(world.pack(lease))
    tick(world.home)
    world.deliver(world.pack(lease, other))
    tick(world.home)
    assert sorted(path.stem for path in world.out("claimable")) == sorted(
        [str(ShardName(lease.lease, 1)), str(ShardName(other.lease, 1))]
    )


def test_bundles_are_taken_in_any_order(world: World) -> None:
    paths = [world.pack(world.lease(n, [n])) for n in range(4)]
    for path in reversed(paths):
        world.deliver(path)
        tick(world.home)
    assert len(world.out("claimable")) == 4
    assert [numbers.to_wire() for numbers in state.read_received(world.spool).values()] == [
        [[0, 4]]
    ]


def test_a_signed_bundle_that_contradicts_itself_is_refused(world: World) -> None:
    lease = world.lease(0, [0])
    world.deliver(world.pack(lease, lease))
    world.deliver(world.pack(world.lease(0, [0], needs=(7,))))
    world.deliver(world.pack(replace(world.lease(0, [0]), dataset_digest=bytes(32))))
    assert accept_all(world.home).refused == 3
    assert {one.code for one in quarantine.every(world.spool)} == {"work-refused"}


def test_data_lies_read_only_under_its_digest(world: World) -> None:
    path = world.pack(world.lease(0, [0]), data=[b"an input", b""])
    world.deliver(path)
    tick(world.home)
    (work,) = works.live(world.spool)
    assert {world.spool.data(file).read_bytes() for file in work.data} == {b"an input", b""}
    assert {world.spool.data(file).stat().st_mode & 0o777 for file in work.data} == {0o444}


def test_a_bundle_that_would_fill_the_disk_waits_and_is_reported(tmp_path: Path) -> None:
    config = "[pilots]\ncount = 0\n"
    world = make_world(tmp_path, config)
    text = (world.home.folder / "relay.toml").read_text()
    full = text.replace("free_bytes_min = 0", f"free_bytes_min = {2**52}")
    (world.home.folder / "relay.toml").write_text(full)
    path = world.pack(world.lease(0, [0]))
    world.deliver(path)
    assert tick(open_home(world.home.folder)).refused == 1
    assert (path.stem, "no-space") in state.read_refusals(world.spool)
    (world.home.folder / "relay.toml").write_text(text)
    assert tick(open_home(world.home.folder)).accepted == 1


def test_leases_of_a_deleted_dataset_are_not_offered(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    assert len(world.out("claimable")) == 1
    world.deliver(world.pack(tombstones=(world.dataset_id,)))
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    tick(world.home)
    assert not world.out("claimable")
    assert not works.ids(world.spool)


def test_rules_of_an_older_commit_do_not_replace_newer_ones(world: World) -> None:
    world.deliver(world.pack(commit=9, rules=Rules("any", 5)))
    accept_all(world.home)
    world.deliver(world.pack(commit=8, rules=Rules("none", 0)))
    accept_all(world.home)
    assert state.read_central(world.spool).rules == Rules("any", 5)
    world.deliver(world.pack(commit=1, epoch=Epoch(2, bytes(16)), rules=Rules("none", 1)))
    accept_all(world.home)
    assert state.read_central(world.spool).rules == Rules("none", 1)


def test_a_site_that_missed_three_rotations_catches_up_from_one_bundle(world: World) -> None:
    trust, chain, keys = world.authority.trust, [], []
    for version in range(2, 5):
        keys.append(MemoryKey.generate())
        following = replace(trust, version=version, centrals=(keys[-1].public,), raw=b"")
        raw = trust_file.encode(following, [world.authority.root])
        chain.append(raw)
        trust = trust_file.verify_next(trust, raw)
    world.authority = replace(world.authority, central=keys[-1])  # type: ignore[arg-type]
    update = trust_file.encode_chain(chain)
    early = world.pack(world.lease(0, [0]))
    world.deliver(early)
    assert accept_all(world.home).refused == 1  # signed by a key nobody here knows yet
    world.deliver(world.pack(world.lease(1, [1]), trust=update))
    done = accept_all(world.home)
    assert (done.bundles, done.refused) == (2, 0)  # the one in quarantine too
    assert world.home.trust().version == 4
    assert not list(quarantine.every(world.spool))


def test_a_process_that_stands_still_while_it_takes_a_trust_version_holds_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "LOOKS", 3)
    key = MemoryKey.generate()
    following = replace(world.authority.trust, version=2, centrals=(key.public,), raw=b"")
    raw = trust_file.encode(following, [world.authority.root])
    world.authority = replace(world.authority, central=key)
    world.deliver(world.pack(world.lease(0, [0]), trust=trust_file.encode_chain([raw])))
    folder = world.spool.root / versions.FOLDER
    folder.mkdir(exist_ok=True)
    code = "import fcntl, os, sys\nfcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX)\n"
    argv = [sys.executable, "-c", code + "print(1, flush=True); input()", str(folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = snapshot(world)
        with pytest.raises(TrustBusy):
            accept_all(world.home)
        assert snapshot(world) == before
        assert not list(quarantine.every(world.spool))
        other.kill()
    assert accept_all(world.home).bundles == 1
    assert world.home.trust().version == 2


def test_a_trust_update_that_the_roots_did_not_sign_is_passed_over(world: World) -> None:
    following = replace(world.authority.trust, version=2, raw=b"")
    forged = trust_file.encode(
        replace(following, roots=(MemoryKey(bytes(32)).public,)), [MemoryKey(bytes(32))]
    )
    world.deliver(world.pack(world.lease(0, [0]), trust=trust_file.encode_chain([forged])))
    assert accept_all(world.home).bundles == 1
    assert world.home.trust().version == 1
    assert "threshold-not-met" in {code for _, code in state.read_refusals(world.spool)}


def test_receipts_for_numbers_never_given_end_the_stream(world: World) -> None:
    tick(world.home)
    before = stream.current(world.spool)
    news = StreamReceipt(before, merged=IntervalSet.of([0, 5]))
    world.deliver(world.pack(receipts=(news,)))
    accept_all(world.home)
    assert stream.current(world.spool) != before


def test_a_copied_spool_starts_a_new_stream_and_the_old_one_goes_on(world: World) -> None:
    tick(world.home)
    before = stream.current(world.spool)
    copy = world.root / "copied"
    shutil.copytree(world.home.folder, copy, symlinks=True)
    other = open_home(copy)
    assert stream.current(other.spool) != before
    assert stream.current(world.spool) == before


@pytest.mark.parametrize("name", ["notes.txt", "half.pulk.part", ".pulk-"])
def test_files_that_are_no_bundles_are_left_alone(world: World, name: str) -> None:
    (world.spool.folder("in") / name).write_text("x")
    assert accept_all(world.home).refused == 0
    assert (world.spool.folder("in") / name).exists()
