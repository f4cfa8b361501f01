"""The state bytes of one dataset while a transaction lasts: loaded by block, changed, written back.

A block is `state_byte.BLOCK_JOBS` jobs of one step. What was read stays beside what it becomes, so
that counters change by the difference of verdicts. A stored block is two numbers (how many of its
tasks are ready, and failed: little-endian, 4 bytes each) and its bytes, compressed.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import zstandard

from central.core import state_byte
from central.core.state_byte import BLOCK_BITS, BLOCK_JOBS, Bytes, Jobs
from central.errors import BlockDamaged
from central.store.protocol_facts import Tasks
from central.store.rows import BlockKey, BlockRow

_NUMBERS = struct.Struct("<II")


class _Zstd(threading.local):
    """Both directions, for one thread: of two that share one, each may get the other's bytes."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


_ZSTD = _Zstd()


@dataclass(slots=True)
class _Block:
    before: Bytes
    now: Bytes
    ready: int
    failed: int
    dirty: bool = False

    def is_shared(self) -> bool:
        return self.now is self.before


class Blocks:
    """See the module. Jobs that are asked for together are ascending."""

    def __init__(self, tasks: Tasks, dataset: int) -> None:
        """Start with nothing loaded."""
        self._tasks, self._dataset = tasks, dataset
        self._blocks: dict[BlockKey, _Block] = {}
        self._held: frozenset[BlockKey] = frozenset()

    def load(self, keys: Iterable[BlockKey]) -> None:
        """Load blocks, in one query."""
        missing = {key for key in keys if key not in self._blocks}
        if not missing:
            return
        found = self._tasks.blocks(self._dataset, missing)
        for key in missing:
            try:
                self._blocks[key] = unpack(found.get(key))
            except (zstandard.ZstdError, struct.error, ValueError) as error:
                raise self._damaged(key) from error

    def _damaged(self, key: BlockKey) -> BlockDamaged:
        first = key[1] << BLOCK_BITS
        last = first + BLOCK_JOBS - 1
        return BlockDamaged(dataset=self._dataset, step=key[0], first=first, last=last)

    def load_jobs(self, wanted: Iterable[tuple[int, Jobs]]) -> None:
        """Load the blocks of jobs of steps, in one query."""
        keys: set[BlockKey] = set()
        for step, jobs in wanted:
            keys.update((step, block) for block in blocks_of(jobs))
        self.load(keys)

    def read(self, step: int, jobs: Jobs, *, before: bool = False) -> Bytes:
        """Return the bytes of jobs of a step, as they are now or were before."""
        self.load_jobs([(step, jobs)])
        found = np.empty(len(jobs), np.uint8)
        for block, part in pieces(jobs):
            one = self._blocks[step, block]
            found[part] = (one.before if before else one.now)[jobs[part] & (BLOCK_JOBS - 1)]
        return found

    def write(self, step: int, jobs: Jobs, states: Bytes) -> None:
        """Replace the bytes of jobs of a step."""
        self.load_jobs([(step, jobs)])
        for block, part in pieces(jobs):
            one = self._blocks[step, block]
            if one.is_shared():
                one.now = one.before.copy()
            one.now[jobs[part] & (BLOCK_JOBS - 1)] = states[part]
            one.dirty = True

    def note(self, step: int, jobs: Jobs, before: Bytes, after: Bytes) -> None:
        """Count the ready and failed tasks of blocks by the difference of verdicts."""
        for block, part in pieces(jobs):
            one, old, new = self._blocks[step, block], before[part], after[part]
            ready = _count(new, state_byte.READY) - _count(old, state_byte.READY)
            failed = _count(new, state_byte.FAILED) - _count(old, state_byte.FAILED)
            if ready or failed:
                one.ready += ready
                one.failed += failed
                one.dirty = True

    @property
    def loaded(self) -> int:
        """How many blocks are in memory."""
        return len(self._blocks)

    def hold(self, keys: Iterable[BlockKey]) -> None:
        """Keep what blocks were before, whatever is settled or dropped, until `release`."""
        self._held = frozenset(keys)
        self.load(self._held)

    def release(self) -> None:
        """Hold nothing any more, and settle what was held."""
        self._held = frozenset()
        self.settle()

    def settle(self) -> None:
        """Take what the bytes are now for what they were before."""
        for key, one in self._blocks.items():
            if key not in self._held:
                one.before = one.now

    def settle_jobs(self, step: int, jobs: Jobs) -> None:
        """Take what the bytes of jobs are now for what they were before."""
        for block, part in pieces(jobs):
            one, at = self._blocks[step, block], jobs[part] & (BLOCK_JOBS - 1)
            if not one.is_shared():
                one.before = one.before.copy()
                one.before[at] = one.now[at]

    def save(self) -> None:
        """Write the blocks that changed, in the order of their keys."""
        dirty = sorted(key for key, one in self._blocks.items() if one.dirty)
        rows = [_row(key, self._blocks[key]) for key in dirty]
        if rows:
            self._tasks.save_blocks(self._dataset, rows)
        for key in dirty:
            self._blocks[key].dirty = False

    def drop(self) -> None:
        """Write what changed and forget all that is loaded, to keep memory bounded."""
        self.settle()
        self.save()
        self._blocks = {key: one for key, one in self._blocks.items() if key in self._held}


def blocks_of(jobs: Jobs) -> list[int]:
    """Return the blocks that ascending jobs lie in, each once."""
    if not len(jobs):
        return []
    if jobs[0] >> BLOCK_BITS == jobs[-1] >> BLOCK_BITS:
        return [int(jobs[0] >> BLOCK_BITS)]
    blocks = jobs >> BLOCK_BITS
    return [int(blocks[0]), *blocks[1:][blocks[1:] != blocks[:-1]].tolist()]


def pieces(jobs: Jobs) -> Iterator[tuple[int, slice]]:
    """Yield each block that ascending jobs lie in, and which of them."""
    if not len(jobs):
        return
    first = int(jobs[0] >> BLOCK_BITS)
    if first == int(jobs[-1] >> BLOCK_BITS):
        yield first, slice(0, len(jobs))
        return
    blocks = jobs >> BLOCK_BITS
    edges = (np.flatnonzero(blocks[1:] != blocks[:-1]) + 1).tolist()
    for low, past in zip([0, *edges], [*edges, len(jobs)], strict=True):
        yield int(blocks[low]), slice(low, past)


def unpack(raw: bytes | None) -> _Block:
    """Return a stored block; one that is not stored is all zero."""
    if raw is None:
        states = np.zeros(BLOCK_JOBS, np.uint8)
        return _Block(states, states, 0, 0)
    ready, failed = _NUMBERS.unpack_from(raw)
    states = states_of(raw)
    return _Block(states, states, ready, failed)


def states_of(raw: bytes) -> Bytes:
    """Return the bytes of a stored block."""
    plain = _ZSTD.decompressor.decompress(raw[_NUMBERS.size :], max_output_size=BLOCK_JOBS)
    found: Bytes = np.frombuffer(plain, np.uint8)
    if len(found) != BLOCK_JOBS:
        raise ValueError(len(found))
    return found


def _row(key: BlockKey, block: _Block) -> BlockRow:
    state = packed_block(block.now, block.ready, block.failed)
    return BlockRow(key[0], key[1], state, block.ready, block.failed)


def packed_block(states: Bytes, ready: int = 0, failed: int = 0) -> bytes:
    """Return a block as it is stored."""
    return _NUMBERS.pack(ready, failed) + _ZSTD.compressor.compress(states.tobytes())


def _count(codes: Bytes, code: int) -> int:
    return int(np.count_nonzero(codes == code))
