"""All attempts that arrive at one dataset in one transaction, as columns over all segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bundle.fates import FATES, counts
from bundle.retry import LOSSES
from central.core.changes import UsageSum
from central.core.dag import Dag
from central.core.facts import USAGE_MAX
from central.core.segment_columns import SUCCESS, Laid, Numbers, firsts
from central.core.state_byte import Mask
from central.state.recall import Recalled

LOST = np.array([fate in LOSSES for fate in FATES])  # by a fate's place: it may show poison
COUNTED = np.array([counts(fate) for fate in FATES])  # by a fate's place: it uses up the budget
_USED = ("wall_ms", "cpu_ms", "read_bytes", "written_bytes", "memory_peak_mib")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """See the module. Every array has one number per attempt."""

    segments: Sequence[Recalled]
    columns: Laid
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
        each = [one.columns.count for one in segments]
        columns, first = Laid(one.columns for one in segments), firsts(each)
        return cls(
            segments=segments,
            columns=columns,
            segment=np.repeat(np.arange(len(segments)), each),
            number=np.arange(first[-1]) - np.repeat(first[:-1], each),
            step=columns["step"],
            job=columns["job"],
            generation=columns["generation"],
            fate=columns["fate"],
            consumed=columns["consumed"],
        )

    def current_spec(self, dag: Dag, step: int, part: Numbers) -> Mask:
        """Return which attempts at a step were made from the spec in force."""
        hashes = dag.spec_hash(step)
        fits = np.array([one.spec_hashes.get(step) == hashes for one in self.segments])
        found: Mask = fits[self.segment[part]]
        return found

    def succeeded(self, part: Numbers) -> Mask:
        """Return which attempts are successes."""
        return np.asarray(self.fate[part] == SUCCESS)

    def failed(self, part: Numbers) -> Mask:
        """Return which attempts are failures that use up the retry budget."""
        found: Mask = COUNTED[self.fate[part]]
        return found

    def lost(self, part: Numbers) -> Mask:
        """Return under which attempts a pilot, or its slot, died."""
        found: Mask = LOST[self.fate[part]]
        return found

    def usage(self, part: Numbers) -> UsageSum:
        """Return what attempts used together; one counts for at most USAGE_MAX in each sum."""
        if not len(part):
            return UsageSum()
        used = {name: self.columns[name][part] for name in _USED}
        sums = {name: int(np.minimum(values, USAGE_MAX).sum()) for name, values in used.items()}
        sums["memory_peak_mib"] = min(int(used["memory_peak_mib"].max()), USAGE_MAX)
        return UsageSum(attempts=len(part), **sums)
