"""Where a segment has attempts: per step and block the lowest and the highest job."""

from __future__ import annotations

import numpy as np

from central.core.segment_columns import Numbers
from central.core.state_byte import BLOCK_BITS
from central.store.rows import Span


def spans(steps: Numbers, jobs: Numbers) -> tuple[Span, ...]:
    """Return the spans of attempts at (step, job)."""
    if not len(steps):
        return ()
    low_job, high_job = int(jobs.min()), int(jobs.max())
    step, block = int(steps[0]), low_job >> BLOCK_BITS
    if block == high_job >> BLOCK_BITS and int(steps.min()) == int(steps.max()):
        return (Span(step, block, low_job, high_job),)
    key = (steps << 32) | jobs
    order = None if bool(np.all(key[1:] >= key[:-1])) else np.sort(key)
    key = key if order is None else order
    blocks = key >> BLOCK_BITS
    edges = np.flatnonzero(blocks[1:] != blocks[:-1]) + 1
    low = key[np.concatenate(([0], edges))]
    high = key[np.concatenate((edges - 1, [len(key) - 1]))]
    mask = (1 << 32) - 1
    return tuple(
        Span(first >> 32, (first & mask) >> BLOCK_BITS, first & mask, last & mask)
        for first, last in zip(low.tolist(), high.tolist(), strict=True)
    )
