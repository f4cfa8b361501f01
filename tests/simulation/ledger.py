"""The ledger that payloads append to outside the program, and what an archive holds of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bundle.fates import Fate
from bundle.ids import DatasetId
from bundle.records import segment as segments
from bundle.records.segment import Segment
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle

RESULTS = frozenset({Kind.RESULT})


class Key(NamedTuple):
    """One attempt, as its payload knew it."""

    dataset: DatasetId
    step: int
    job: int
    generation: int
    lease: bytes
    pilot_run: bytes
    local: int


@dataclass(frozen=True, slots=True)
class Said:
    """What became of an attempt, and by which document it ran: its own word or the archive's."""

    fate: Fate
    consumed: tuple[bytes, ...]
    outputs: tuple[tuple[bytes, int], ...]
    wall_ms: int
    document: bytes


@dataclass(slots=True)
class Ledger:
    """Every attempt whose record was fsynced. `gone`: those whose only copy was destroyed."""

    said: dict[Key, Said] = field(default_factory=dict)
    spools: dict[Key, int] = field(default_factory=dict)  # which spool holds it first
    gone: set[Key] = field(default_factory=set)
    begun: set[Key] = field(default_factory=set)  # what a journal said before it ended

    def write(self, key: Key, said: Said, spool: int) -> None:
        """Append one line."""
        assert key not in self.said, f"{key} ran twice under one name"
        self.said[key] = said
        self.spools[key] = spool

    def destroyed(self, spool: int, *, but: set[Key]) -> int:
        """Note that a spool was destroyed; return how many attempts may be lost with it."""
        lost = {key for key, of in self.spools.items() if of == spool} - but - self.gone
        self.gone |= lost
        return len(lost)


@dataclass(slots=True)
class Archived:
    """What the result bundles in an archive hold, read without central."""

    trust: TrustView
    contested: set[Key] = field(default_factory=set)  # of which two contents arrived
    _read: dict[str, dict[Key, Said]] = field(default_factory=dict)

    def of(self, archive: Path) -> dict[Key, Said]:
        """Return every attempt in an archive."""
        found: dict[Key, Said] = {}
        for path in sorted(archive.glob("??/*.pulk")):
            if path.name not in self._read:
                self._read[path.name] = _attempts(path, self.trust)
            for key, said in self._read[path.name].items():
                known = found.setdefault(key, said)
                if known != said:
                    # An old copy of a spool knows less of how an attempt ended than the new one.
                    assert Fate.LOST in (known.fate, said.fate), f"two contents of {key}"
                    self.contested.add(key)
                    found[key] = said if known.fate is Fate.LOST else known
        return found


def _attempts(path: Path, trust: TrustView) -> dict[Key, Said]:
    from bundle.wire.errors import BundleRefused

    found: dict[Key, Said] = {}
    try:
        with open_bundle(path, trust, audience=None, kinds=RESULTS) as bundle:
            for place in bundle.find("segment"):
                found |= said_by(segments.decode(bundle.chunk(place)))
    except BundleRefused:
        return {}  # of another kind
    return found


def said_by(segment: Segment) -> dict[Key, Said]:
    """Return what one segment says."""
    head = segment.header
    return {
        Key(
            head.dataset, one.step, one.job, one.generation, head.lease, head.pilot_run, one.local
        ): Said(one.fate, one.consumed, one.outputs, one.usage.wall_ms, head.dataset_digest)
        for one in segment.attempts
    }
