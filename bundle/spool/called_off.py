"""`called-off-tasks` in the spool: which tasks of leases nobody wants any more.

A line for each step of a lease, words apart by a space: the lease in hex, the step, and its jobs as
`first-last`, apart by commas. Lines that say nothing like it are passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from bundle.ids import JOB_MAX, LEASE_ID_BYTES, STEP_MAX, LeaseId
from bundle.intervals import IntervalSet

Off = dict[LeaseId, dict[int, IntervalSet]]
"""Jobs by step, by lease."""


def write(off: Mapping[LeaseId, Mapping[int, IntervalSet]]) -> bytes:
    """Return the bytes of the file."""
    lines = [
        f"{lease.hex()} {step} {','.join(f'{low}-{past - 1}' for low, past in jobs.spans)}\n"
        for lease, steps in sorted(off.items())
        for step, jobs in sorted(steps.items())
    ]
    return "".join(lines).encode()


def read(raw: bytes) -> Off:
    """Return what the bytes of the file say."""
    found: Off = {}
    for line in raw.decode(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            name, number, runs = line.split(" ")
            lease, step = LeaseId(bytes.fromhex(name)), int(number)
            jobs = IntervalSet.spanning(_span(run) for run in runs.split(","))
            if len(lease) == LEASE_ID_BYTES and 0 <= step <= STEP_MAX:
                add(found, lease, step, jobs)
    return found


def add(off: Off, lease: LeaseId, step: int, jobs: IntervalSet) -> None:
    """Add jobs of a step of a lease."""
    steps = off.setdefault(lease, {})
    steps[step] = steps.get(step, IntervalSet()) | jobs


def _span(text: str) -> tuple[int, int]:
    first, last = map(int, text.split("-"))
    if not 0 <= first <= last <= JOB_MAX:
        raise ValueError(text)
    return first, last + 1
