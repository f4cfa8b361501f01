"""Shards go to nodes that do not see the spool in parcels, and what was made there comes back."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.digest import file_digest
from bundle.ids import DatasetId, PilotRun
from bundle.records import seal as seals
from bundle.records.foreign import ForeignPins, ForeignTask
from bundle.spool.layout import Spool
from relay import claims, handing, returns, staff, works
from relay.home import Home, now_us, open_home
from relay.tick import tick
from site_adapters.contract import (
    Ending,
    Finding,
    Limits,
    PilotRequest,
    PilotState,
    PilotView,
    SubmitFailed,
)
from tests.relay.world import Pilot, World, make_world

CONFIG = """
[pilots]
count = 2
slots = 1
folder = "pilot"
[batch]
adapter = "htcondor"
shared_filesystem = false
shards = 2
canary = false
[tasks]
software_files = { pip = "freeze.txt" }
"""


class Post:
    """A pool whose nodes are folders: a parcel is unpacked there, and fetched once it is over."""

    pilots_each = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[str, PilotState] = {}
        self.fetched: set[str] = set()
        self.refuses = False

    def submit(self, request: PilotRequest) -> tuple[str, ...]:
        if self.refuses:
            raise SubmitFailed(name=request.name, reason="no")
        assert request.parcel is not None
        node = self.node(f"post:{request.name}")
        node.mkdir(parents=True)
        with tarfile.open(request.parcel) as tar:
            tar.extractall(node, filter="data")
        self.states[f"post:{request.name}"] = PilotState.RUNNING
        return (f"post:{request.name}",)

    def node(self, batch_id: str) -> Path:
        return self.folder / batch_id.partition(":")[2]

    def survey(self) -> Mapping[str, PilotView]:
        ending = {PilotState.ABSENT: Ending.FAILED}
        return {
            one: PilotView(one.partition(":")[2], one, state, 1, ending.get(state))
            for one, state in self.states.items()
        }

    def returned(self, batch_id: str) -> Path | None:
        """Give what HTCondor gives: three folders of the spool, without what came along."""
        if self.states.get(batch_id) is not PilotState.ABSENT:
            return None
        back = self.node(batch_id).with_suffix(".back")
        if batch_id not in self.fetched:
            self.fetched.add(batch_id)
            node = self.node(batch_id)
            for name in (node / "inputs").read_text().splitlines():
                (node / "spool" / "data" / name).unlink()
            for name in ("sealed", "claimed", "data"):
                shutil.copytree(node / "spool" / name, back / name, symlinks=True)
        return back if back.is_dir() else None

    def clear(self, batch_id: str, mark: str) -> bool:
        del mark
        return batch_id in self.fetched

    def cancel(self, batch_ids: Iterable[str]) -> None:
        for one in batch_ids:
            self.states[one] = PilotState.ABSENT

    def forget(self, batch_id: str) -> None:
        self.states.pop(batch_id, None)

    def limits(self) -> Limits | None:
        return None

    def examine(self) -> tuple[Finding, ...]:
        return ()


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path / "nodes")


@pytest.fixture
def world(tmp_path: Path, post: Post) -> World:
    world = make_world(tmp_path, CONFIG)
    folder = world.home.folder
    (folder / "pilot").mkdir()
    (folder / "pilot" / "__main__.py").write_text("")
    (folder / "freeze.txt").write_text("x==1\n")
    world.home = replace(world.home, adapter=post)
    return world


def only(post: Post) -> str:
    (batch_id,) = [one for one, state in post.states.items() if state is PilotState.RUNNING]
    return batch_id


def pilot_at(post: Post, batch_id: str) -> Pilot:
    return Pilot.start(Spool(post.node(batch_id) / "spool"), batch_id=batch_id)


def work_at(post: Post, batch_id: str) -> None:
    """Let a pilot do its one shard at a node, and end, and its job too."""
    pilot = pilot_at(post, batch_id)
    assert pilot.work_through() == 1
    pilot.end()
    post.cancel([batch_id])


def ran(world: World) -> list[int]:
    """The jobs of all attempts that travel home, as often as they do."""
    found = world.results(world.out("out", "sent"))
    return sorted(a.job for one in found for s in one.segments for a in s.attempts)


def test_a_parcel_is_a_spool_that_a_pilot_can_work_on_and_its_seals_come_home(
    world: World, post: Post
) -> None:
    world.deliver(world.pack(world.lease(0, [0, 1]), world.lease(1, [2])))
    assert tick(world.home).started == 1
    batch_id = only(post)
    assert not list(world.spool.folder("claimable").iterdir())
    node = post.node(batch_id)
    assert (node / "freeze.txt").exists()
    assert (node / "relay.toml").read_bytes() == (world.home.folder / "relay.toml").read_bytes()
    pilot = pilot_at(post, batch_id)
    assert pilot.work_through() == 2
    pilot.end()
    assert not ran(world)
    post.cancel([batch_id])
    tick(world.home)
    assert ran(world) == [0, 1, 2]
    assert not list(world.spool.folder("claimed").iterdir())
    assert not list(world.spool.folder("tmp").glob("*"))
    assert tick(world.home).started == 0


def test_what_a_shard_builds_upon_travels_with_it_and_does_not_come_back(
    world: World, post: Post
) -> None:
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1], needs=(0,))))
    tick(world.home)
    first = only(post)
    work_at(post, first)
    tick(world.home)
    second = only(post)
    node = post.node(second)
    (made,) = (node / "inputs").read_text().split()
    assert (node / "spool" / "data" / made).read_bytes() == b"output of job 0"
    (work,) = works.live(world.spool)
    assert list(Spool(node / "spool").kept_seals(work.id).iterdir())
    work_at(post, second)
    tick(world.home)
    assert ran(world) == [0, 1]


def test_what_a_shard_reads_of_other_datasets_travels_with_it(world: World, post: Post) -> None:
    content = b"made in another dataset"
    digest = hashlib.sha256(content).digest()
    task = ForeignTask(3, 0, "an attempt", ((digest, len(content)),))
    pins = ForeignPins(DatasetId("b" * 26), "make", 1, ("made",), (task,))
    lease = replace(world.lease(0, [0]), foreign=(pins,))
    world.deliver(world.pack(lease, data=[content]))
    tick(world.home)
    node = post.node(only(post))
    (made,) = (node / "inputs").read_text().split()
    assert made.endswith(digest.hex())
    assert (node / "spool" / "data" / made).read_bytes() == content


def test_what_a_dead_pilot_had_journaled_counts_and_the_rest_is_offered_again(
    world: World, post: Post
) -> None:
    world.deliver(world.pack(world.lease(0, range(4))))
    tick(world.home)
    first = only(post)
    pilot = pilot_at(post, first)
    header = pilot.take()
    assert header is not None
    pilot.journal(header, [0, 1])
    post.cancel([first])
    tick(world.home)
    assert ran(world) == [0, 1]
    second = only(post)
    pilot = pilot_at(post, second)
    header = pilot.take()
    assert header is not None and header.turn == 2
    _, attempts = pilot.journal(header, [2, 3])
    pilot.seal(header, attempts)
    pilot.end()
    post.cancel([second])
    tick(world.home)
    assert ran(world) == [0, 1, 2, 3]


def test_shards_of_which_nothing_came_back_are_offered_again(world: World, post: Post) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    first = only(post)
    post.cancel([first])
    tick(world.home)
    header = pilot_at(post, only(post)).take()
    assert header is not None and header.turn == 2


def test_a_shard_that_went_on_in_a_later_turn_is_offered_as_neither(
    world: World, post: Post
) -> None:
    world.deliver(world.pack(world.lease(0, range(3))))
    tick(world.home)
    first = only(post)
    pilot = pilot_at(post, first)
    header = pilot.take()
    assert header is not None
    _, attempts = pilot.journal(header, [0, 1])
    pilot.seal(header, attempts, complete=False)
    later = replace(header, turn=2)
    _, attempts = pilot.journal(later, [2])
    pilot.seal(later, attempts)
    pilot.end()
    post.cancel([first])
    assert tick(world.home).started == 0
    assert ran(world) == [0, 1, 2]


def test_taking_is_done_again_after_a_crash_without_a_trace(world: World, post: Post) -> None:
    world.deliver(world.pack(world.lease(0, [0, 1])))
    tick(world.home)
    batch_id = only(post)
    work_at(post, batch_id)
    back = post.returned(batch_id)
    assert back is not None
    saved = shutil.copytree(back, back.with_suffix(".saved"))
    returns.take(world.home, batch_id, back)
    shutil.copytree(saved, back)
    tick(world.home)
    assert ran(world) == [0, 1]
    shutil.copytree(saved, back)
    tick(world.home)
    assert ran(world) == [0, 1]


def test_of_a_node_only_what_is_what_it_is_called_is_taken(
    world: World, post: Post, tmp_path: Path
) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    batch_id = only(post)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    node = Spool(post.node(batch_id) / "spool")
    lie = node.folder("data") / "aa" / ("a" * 64)
    link = node.data(file_digest(secret))
    for path in (lie, link):
        path.parent.mkdir(exist_ok=True)
    lie.write_bytes(b"not that")
    link.symlink_to(secret)
    (node.folder("sealed") / "../sealed/x.seal").write_bytes(b"?")
    stranger = Pilot.start(node, batch_id="another")
    nameless = node.claimed(PilotRun(os.urandom(8)))
    nameless.mkdir()
    (nameless / "claim").symlink_to(secret)
    (node.folder("claimed") / "..odd").mkdir()
    post.cancel([batch_id])
    tick(world.home)
    assert not [one for one in world.spool.folder("data").rglob("*") if one.is_file()]
    assert claims.read(world.spool, stranger.run) is None
    assert not world.spool.claimed(stranger.run).exists()
    assert not list(world.spool.folder("sealed").iterdir())


def test_a_refused_submission_leaves_its_shards_on_offer(world: World, post: Post) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    post.refuses = True
    assert tick(world.home).started == 0
    assert len(list(world.spool.folder("claimable").iterdir())) == 1
    assert not list(world.spool.folder("claimed").iterdir())


def test_one_pilot_goes_ahead_until_a_seal_came_home(world: World, post: Post) -> None:
    relay = world.home.folder / "relay.toml"
    relay.write_text(relay.read_text().replace("canary = false", "canary = true"))
    world.home = replace(open_home(world.home.folder), adapter=post)
    world.deliver(world.pack(*(world.lease(at, [at]) for at in range(6))))
    assert tick(world.home).started == 1
    assert tick(world.home).started == 0
    first = only(post)
    pilot = pilot_at(post, first)
    assert pilot.work_through() == 2
    pilot.end()
    post.cancel([first])
    assert tick(world.home).started == 2


def test_pilots_that_bring_nothing_are_not_started_again_and_again(
    world: World, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_still = now_us()
    monkeypatch.setattr(staff, "now_us", lambda: stands_still)
    world.deliver(world.pack(world.lease(0, [0])))
    started = 0
    for _ in range(6):
        started += tick(world.home).started
        post.cancel(list(post.states))
    assert started == 2  # as many as the site may have at once


def killed(world: World, monkeypatch: pytest.MonkeyPatch, *, submitted: bool) -> None:
    """Let a tick die in the middle of handing shards over; its process is another from then on."""
    submit = world.home.adapter.submit

    def dies(request: PilotRequest) -> tuple[str, ...]:
        if submitted:
            submit(request)
        raise KeyboardInterrupt

    monkeypatch.setattr(world.home.adapter, "submit", dies)
    with pytest.raises(KeyboardInterrupt):
        tick(world.home)
    monkeypatch.undo()
    for run in claims.pilot_runs(world.spool):
        claim = claims.read(world.spool, run)
        assert claim is not None
        gone = replace(claim, start_ticks=claim.start_ticks + 1)
        world.spool.claim(run).write_bytes(seals.encode_claim(gone))


@pytest.mark.parametrize("submitted", [False, True])
def test_a_relay_that_dies_while_it_hands_shards_over_loses_none(
    world: World, post: Post, monkeypatch: pytest.MonkeyPatch, submitted: bool
) -> None:
    world.deliver(world.pack(world.lease(0, [0, 1])))
    killed(world, monkeypatch, submitted=submitted)
    assert tick(world.home).started == (0 if submitted else 1)
    batch_id = only(post)
    work_at(post, batch_id)
    tick(world.home)
    assert ran(world) == [0, 1]


def test_what_finds_no_room_waits_where_it_is(
    world: World, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    batch_id = only(post)
    work_at(post, batch_id)

    def full(home: Home, batch_id: str, folder: Path) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(returns, "take", full)
    assert tick(world.home).started == 0  # its shard is still the pilot's
    assert not ran(world)
    monkeypatch.undo()
    tick(world.home)
    assert ran(world) == [0]


def test_stand_ins_are_named_by_what_they_were_submitted_as(world: World, post: Post) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    tick(world.home)
    (run,) = claims.pilot_runs(world.spool)
    claim = claims.read(world.spool, run)
    assert claim is not None and claim.batch_id == only(post)
    handing.adopt(world.home, post.survey())
    assert claims.read(world.spool, run) == claim
