"""Attempts as a node of 64 slots makes them: what the wire bench packs.

Tasks of one core run about ten minutes (log-normal, sigma 0.35) at 98.5 % CPU, hold 812 MiB, read
the same tables of 212 MB, write one file of 48 MB (sigma 1.2 MB, random content). One in a hundred
fails (with one line of evidence) and is tried again at once. Attempts come in the order in which
they end, as a pilot records them.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator

from bundle.fates import Fate
from bundle.records.attempt import Attempt, Usage

SLOTS = 64
FAILED = 0.01
SOFTWARE = "corsika==7.7500 numpy==1.26.4"
BOOTED_US = 1_764_000_000_000_000
PAGE_BYTES = 4096

Running = tuple[int, int, Attempt]  # when it ends, local number, what it will be


def attempts(seed: int) -> Iterator[Attempt]:
    """Yield attempts without end; the same ones for the same seed."""
    node = _Node(seed)
    running: list[Running] = [node.start(slot, 10**12 + 7000 * slot) for slot in range(SLOTS)]
    heapq.heapify(running)
    while True:
        ended_us, _, attempt = running[0]
        yield attempt
        if attempt.fate is not Fate.SUCCESS:
            node.again.append(attempt.job)
        heapq.heapreplace(running, node.start(attempt.slot, ended_us))


class _Node:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.again: list[int] = []  # jobs that failed
        self.local = 0
        self.job = 0

    def start(self, slot: int, free_us: int) -> Running:
        """Return the attempt that starts on a slot once it is free."""
        chance = self.random
        self.local += 1
        if self.again:
            job = self.again.pop()
        else:
            job, self.job = self.job, self.job + 1
        began_us = free_us + int(chance.gauss(2500, 600))
        succeeds = chance.random() >= FAILED
        wall_ms = int(600_000 * chance.lognormvariate(0, 0.35))
        if not succeeds:
            wall_ms = int(wall_ms * chance.random())
        ended_us = began_us + 1000 * wall_ms + int(abs(chance.gauss(9500, 2500)))
        size = int(chance.gauss(48_000_000, 1_200_000)) if succeeds else 0
        fate, code, signal, evidence = self._end(succeeds)
        usage = Usage(
            wall_ms=wall_ms,
            cpu_ms=max(0, int(wall_ms * chance.gauss(0.985, 0.005))),
            memory_peak_mib=int(chance.gauss(812, 9)),
            disk_peak_bytes=PAGE_BYTES * (size // PAGE_BYTES + chance.randrange(12, 40)),
            read_bytes=212_340_112 + int(abs(chance.gauss(0, 3000))),
            written_bytes=size + chance.randrange(2000, 6000),
        )
        attempt = Attempt(
            *(job, 0, 0, self.local, fate, code, signal),
            started_us=BOOTED_US + began_us + chance.choice((0, 0, 0, 1, 1, 2)),
            started_mono_us=began_us,
            ended_mono_us=ended_us,
            slot=slot,
            usage=usage,
            outputs=((chance.randbytes(32), size),) if succeeds else (),
            software=SOFTWARE,
            evidence=evidence,
        )
        return ended_us, self.local, attempt

    def _end(self, succeeds: bool) -> tuple[Fate, int, int, str]:
        chance = self.random
        if succeeds:
            return Fate.SUCCESS, 0, 0, ""
        return chance.choice(
            (
                (Fate.PAYLOAD_ERROR, 1, 0, f"exit code 1: event {chance.randrange(9999)}: no seed"),
                (Fate.OOM, -1, 9, f"memory {chance.randrange(2000, 2100)} MiB, limit 2000 MiB"),
                (Fate.SIGNAL, -1, 11, "killed by signal 11"),
            )
        )
