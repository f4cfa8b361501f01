"""What a pilot tells of itself: the tasks that run now, as its slots said last."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from bundle.radio.messages import State, TaskNow
from pilot.attempts import Running
from pilot.watching.limits import MIB

Figures = Mapping[int, tuple[int, int]]  # by local number: cpu in milli-cores, memory in bytes


def state(
    running: Iterable[Running], figures: Figures, slots: int, free: int, shards: int
) -> State:
    """Return the state of this moment; a task that was not looked at yet has no figures."""
    now_us = time.monotonic_ns() // 1000
    tasks = []
    for one in running:
        step, job = one.start.place
        cpu_milli, memory = figures.get(one.local, (0, 0))
        age_ms = max(0, now_us - one.asked_mono_us) // 1000
        dataset = one.shard.claimed.lease.dataset
        tasks.append(TaskNow(dataset, job, step, one.local, age_ms, cpu_milli, -(-memory // MIB)))
    return State(slots, free, shards, tuple(tasks))
