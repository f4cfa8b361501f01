"""All attempts that arrive at one dataset in one transaction, as columns over all segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bundle.fates import FATES, counts
from central.core.changes import UsageSum
from central.core.dag import Dag
from central.core.facts import USAGE_MAX
from central.core.segment_columns import SUCCESS, Numbers
from central.core.state_byte import Mask
from central.state.recall import Recalled

COUNTED = np.array([counts(fate) for fate in FATES])  # by a fate's place: it uses up the budget
_SUMS = ("wall_ms", "cpu_ms", "read_bytes", "written_bytes")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """See the module. Every array has one number per attempt."""

    segments: Sequence[Recalled]
    segment: Numbers  # place in `segments`
    number: Numbers  # place inside its segment
    step: Numbers
    job: Numbers
    generation: Numbers
    fate: Numbers
    consumed: Numbers  # how many outcomes it consumed

    @classmethod
    def of(cls, segments: Sequence[Recalled]) -> Arrivals:
        """Lay the attempts of segments one after the other."""
        counts_ = [one.columns.count for one in segments]
        return cls(
            segments,
            np.repeat(np.arange(len(segments)), counts_),
            np.concatenate([np.arange(count) for count in counts_]),
            *(_joined(segments, name) for name in ("step", "job", "generation", "fate")),
            np.concatenate([one.columns.consumed.counts() for one in segments]),
        )

    def current_spec(self, dag: Dag, step: int, part: Numbers) -> Mask:
        """Return which attempts at a step were made from the spec in force."""
        hashes = dag.spec_hash(step)
        fits = np.array([one.spec_hashes.get(step) == hashes for one in self.segments])
        return fits[self.segment[part]]

    def succeeded(self, part: Numbers) -> Mask:
        """Return which attempts are successes."""
        return np.asarray(self.fate[part] == SUCCESS)

    def failed(self, part: Numbers) -> Mask:
        """Return which attempts are failures that use up the retry budget."""
        found: Mask = COUNTED[self.fate[part]]
        return found

    def usage(self, part: Numbers) -> UsageSum:
        """Return what attempts used together; one counts for at most USAGE_MAX in each sum."""
        sums = [
            int(np.minimum(_joined(self.segments, name)[part], USAGE_MAX).sum()) for name in _SUMS
        ]
        peaks = _joined(self.segments, "memory_peak_mib")[part]
        peak = min(int(peaks.max()), USAGE_MAX) if len(peaks) else 0
        return UsageSum(len(part), *sums, memory_peak_mib=peak)


def _joined(segments: Sequence[Recalled], name: str) -> Numbers:
    return np.concatenate([one.columns[name] for one in segments])
