"""Which tasks a control is about beside steps and jobs: by verdict, how and where they ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bundle.fates import Fate
from central.core import state_byte
from central.core.facts import Verdict
from central.core.state_byte import VERDICTS, Bytes, Mask

# What can only be said of a task that something happened to.
_BEGUN = frozenset({Verdict.LEASED, Verdict.DONE, Verdict.FAILED})


@dataclass(frozen=True, slots=True)
class Only:
    """Which tasks are meant; what is empty says nothing.

    Attributes:
        verdicts: where they stand.
        fates: an attempt at them, of what counts now, ended so.
        site: it ran there; with no fate asked for, also what the site holds.
        soft: they failed, or failed on the way: neither done nor leased nor cancelled.
    """

    verdicts: frozenset[Verdict] = frozenset()
    fates: frozenset[Fate] = frozenset()
    site: str = ""
    soft: bool = False

    @property
    def is_of_begun(self) -> bool:
        """Whether nothing that is untouched can be meant."""
        by_verdict = bool(self.verdicts) and self.verdicts <= _BEGUN
        return bool(self.soft or self.fates or self.site or by_verdict)

    def stands(self, codes: Bytes, failures: Bytes) -> Mask:
        """Return which of many tasks are meant as far as verdicts and failures say.

        Args:
            codes: their verdicts, as places in `Verdict`.
            failures: how often they failed so far as counts.
        """
        found = np.ones(len(codes), np.bool_)
        if self.verdicts:
            found &= np.isin(codes, [VERDICTS.index(one) for one in self.verdicts])
        if self.soft:
            waits = (codes == state_byte.HELD) | (codes == state_byte.READY)
            found &= (codes == state_byte.FAILED) | (waits & (failures > 0))
        return found

    def to_wire(self) -> dict[str, Any]:
        """Return what it says as plain values, for the audit trail and idempotency keys."""
        said: dict[str, Any] = {
            "verdicts": sorted(one.value for one in self.verdicts),
            "fates": sorted(one.value for one in self.fates),
            "site": self.site,
            "soft": self.soft,
        }
        return {name: value for name, value in said.items() if value}


ALL = Only()
