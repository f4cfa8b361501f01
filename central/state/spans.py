"""Where a segment has attempts: per step and block the lowest and the highest job."""

from __future__ import annotations

import numpy as np

from central.core.segment_columns import SegmentColumns
from central.core.state_byte import BLOCK_BITS
from central.store.rows import Span


def spans(columns: SegmentColumns) -> tuple[Span, ...]:
    """Return the spans of a segment's attempts."""
    if not columns.count:
        return ()
    of = columns.summary
    block = of.job_min >> BLOCK_BITS
    if block == of.job_max >> BLOCK_BITS and of.step_min == of.step_max:
        return (Span(of.step_min, block, of.job_min, of.job_max),)
    key = (columns["step"] << 32) | columns["job"]
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
