"""Documents in force, as the spool shows them: edits that came while their datasets are leased.

The names in `edits/` are looked at once in a while, which costs one list of names; a document is
read, and verified like a work bundle, when a shard of its dataset is at hand.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

from bundle.dataset.spec import Dataset
from bundle.dataset.spec_hash import spec_hash
from bundle.errors import PulkError
from bundle.ids import DatasetId
from bundle.records.edit import Edit
from bundle.spool import edits
from bundle.spool.edits import Named
from bundle.spool.layout import Spool
from bundle.trust.trust_file import TrustView

LOOK_S = 5.0
KEPT_MAX = 16  # documents

log = logging.getLogger("pulk.pilot")


@dataclass(frozen=True, slots=True)
class InForce:
    """The newest document of a dataset, and the edit that put it in force."""

    edit: Edit
    dataset: Dataset
    _hashes: dict[int, bytes] = field(default_factory=dict)

    def spec_hash(self, step: int) -> bytes:
        """Return the spec hash of a step, worked out once."""
        if step not in self._hashes:
            self._hashes[step] = spec_hash(self.dataset, step)
        return self._hashes[step]


class Newest:
    """The newest documents that a spool shows."""

    def __init__(self, spool: Spool) -> None:
        """Look at nothing yet."""
        self._spool = spool
        self._names: dict[DatasetId, Named] = {}
        self._read: OrderedDict[Named, InForce | None] = OrderedDict()
        self._next_s = 0.0

    def look(self, now_s: float) -> frozenset[DatasetId]:
        """Return the datasets of which there is a newer document than at the last look."""
        if now_s < self._next_s:
            return frozenset()
        self._next_s = now_s + LOOK_S
        fresh = {
            dataset: named
            for dataset, named in edits.newest(self._spool.edits).items()
            if dataset not in self._names or named.place > self._names[dataset].place
        }
        self._names.update(fresh)
        return frozenset(fresh)

    def of(self, dataset: DatasetId) -> InForce | None:
        """Return what is in force of a dataset beside what its leases say; None: nothing."""
        named = self._names.get(dataset)
        if named is None:
            return None
        if named in self._read:
            self._read.move_to_end(named)
            return self._read[named]
        found: InForce | None = None
        try:
            trust = TrustView.load(self._spool.trust)
            found = InForce(*edits.read(self._spool.edits, named, trust))
        except PulkError as error:
            log.warning("edited document not used", extra={"reason": error.text()})
        except OSError as error:  # it has gone since, or its filesystem hesitates
            log.warning("edited document not readable", extra={"reason": str(error)})
            del self._names[dataset]  # the next look finds it again, if it is there
            return None
        self._read[named] = found
        if len(self._read) > KEPT_MAX:
            self._read.popitem(last=False)
        return found
