"""Very many pilots in one process, with the pilot's own code for claims, shards and the radio.

Only what runs tasks is missing: a shard that was claimed is held for a while and then dropped.
Run as `python -m benchmarks.radio_pilots SPOOL SITE COUNT TASKS HOLD_S RADIO`, it writes a line
when its pilots are there, works until standard input ends, and writes what it did as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import zmq

from bundle.ids import DatasetId, PilotRun, dataset_id
from bundle.radio.address import Address
from bundle.radio.messages import VERSIONS, Hello, State, TaskNow
from bundle.records import seal as seals
from bundle.records.seal import Claim
from bundle.spool.layout import Spool
from bundle.spool.shard import ShardFile
from pilot.claims import Claims
from pilot.radio.finder import Finder
from pilot.radio.receiver import Receiver
from pilot.radio.silence import Silence

LOOK_S = 0.05
EVERY = 0  # the selector's number of standard input


class Ears:
    """What a receiver registers its descriptor with: tells whose it is."""

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.poll = select.epoll()
        self.whose: dict[int, Silence] = {}
        self.now: Silence | None = None

    def register(self, descriptor: int, _events: int, _data: Any) -> None:
        """Listen for the receiver that is at work."""
        assert self.now is not None
        self.whose[descriptor] = self.now
        self.poll.register(descriptor, select.EPOLLIN)

    def unregister(self, descriptor: int) -> None:
        """Listen no more."""
        self.poll.unregister(descriptor)
        del self.whose[descriptor]


class Node(Receiver):
    """A pilot's radio; what each node would verify for itself is verified once for all here."""

    known: ClassVar[dict[bytes, Address | None]] = {}

    def _read(self, raw: bytes) -> Address | None:
        if raw not in self.known:
            self.known[raw] = super()._read(raw)
        return self.known[raw]


@dataclass(slots=True)
class Simulated:
    """One pilot. `held` is its shard and until when it works at it."""

    run: PilotRun
    radio: Silence
    finder: Finder
    tasks: tuple[TaskNow, ...]
    held: tuple[ShardFile, float] | None = None
    claimed: int = 0
    found: list[ShardFile] = field(default_factory=list)


def start(
    spool: Spool, site: str, ears: Ears, context: Any, tasks: int, has_radio: bool
) -> Simulated:
    """Make a pilot: folder, claim, radio."""
    run = PilotRun(os.urandom(8))
    spool.claimed(run).mkdir(mode=0o700)
    name: DatasetId = dataset_id(bytes(16))
    rows = tuple(TaskNow(name, n, 0, n, 60_000, 990, 1500) for n in range(tasks))
    made: list[Simulated] = []

    def hello() -> Hello:
        return Hello(VERSIONS, f"bench:{run.hex()}", f"node-{run.hex()}", tasks)

    def state() -> State:
        return State(tasks, 0, 1, tuple(made[0].tasks) if made[0].held else ())

    radio: Silence = Silence()
    if has_radio:
        radio = Node(
            *(spool, site, ears, hello, state, lambda _: made[0].finder.soon(), lambda _: None),  # type: ignore[arg-type]
            context=context,
        )
    claim = Claim(
        *(run, os.urandom(32), f"bench:{run.hex()}", f"node-{run.hex()}", "boot", 1, 1),
        *(time.time_ns() // 1000, max(1, tasks), "namespace", "isolated", "", radio.public_key),
    )
    spool.claim(run).write_bytes(seals.encode_claim(claim))  # not synced: it is no pilot's in truth
    made.append(Simulated(run, radio, Finder(Claims(spool, run), radio, run * 2), rows))
    return made[0]


def serve(pilots: list[Simulated], ears: Ears, hold_s: float, spool: Spool) -> Iterator[Simulated]:
    """Let all pilots work for ever; yields each that has claimed a shard, and None when idle."""
    due = {id(one): time.monotonic() + LOOK_S * at / len(pilots) for at, one in enumerate(pilots)}
    by_radio = {id(one.radio): one for one in pilots}
    while True:
        woken = []
        for descriptor, _ in ears.poll.poll(0.01):
            if descriptor == EVERY:
                return
            radio = ears.whose.get(descriptor)
            if radio is not None:
                ears.now = radio
                radio.on_ready()
                woken.append(by_radio[id(radio)])
        now_s = time.monotonic()
        for one in pilots:
            if due[id(one)] <= now_s:
                woken.append(one)
        for one in woken:
            ears.now = one.radio
            one.radio.tick(now_s)
            if one.held is not None and one.held[1] <= now_s:
                spool.held_shard(one.run, one.held[0].name).unlink()
                one.held = None
                one.finder.soon()
            if one.held is None and (file := one.finder.claim(now_s)) is not None:
                one.held = (file, now_s + hold_s)
                one.claimed += 1
                yield one
            wake_s = one.held[1] if one.held is not None else one.finder.next_s
            due[id(one)] = max(now_s + 0.01, min(one.radio.next_s, wake_s))


def main(arguments: list[str]) -> None:
    """Simulate so many pilots until standard input ends."""
    root, site, count, tasks, hold_s, radio = arguments
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    spool, ears = Spool(Path(root)), Ears()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 2 * int(count) + 100)
    ears.poll.register(sys.stdin.fileno(), select.EPOLLIN)
    pilots = [
        start(spool, site, ears, context, int(tasks), radio == "radio") for _ in range(int(count))
    ]
    print("there", flush=True)
    first_s = last_s = 0.0
    for _ in serve(pilots, ears, float(hold_s), spool):
        last_s = time.time()
        first_s = first_s or last_s
    used = resource.getrusage(resource.RUSAGE_SELF)
    heard = sum(one.radio.is_heard for one in pilots)
    about = {"claimed": sum(one.claimed for one in pilots), "heard": heard}
    times = {"first_s": first_s, "last_s": last_s, "cpu_s": used.ru_utime + used.ru_stime}
    print(json.dumps(about | times), flush=True)
    os._exit(0)  # thousands of sockets need not be closed one by one


if __name__ == "__main__":
    main(sys.argv[1:])
