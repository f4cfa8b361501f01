"""What really happened, recomputed from the archived bundles and the ledger alone.

Central's own counters are compared with this, so that a mistake in the merge cannot hide itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bundle.dataset import graph
from bundle.dataset.spec import Dataset
from bundle.fates import Fate
from bundle.ids import AttemptKey, Task
from bundle.records import segment as segments
from bundle.records.attempt import Attempt, outcome_digest
from bundle.records.segment import SegmentHeader
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.rehearsal.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Witnessed:
    """One attempt as an archived segment tells it."""

    key: AttemptKey
    header: SegmentHeader
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Edges:
    """How many edges of the DAG were checked, and which were not respected."""

    checked: int
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a rehearsal: `lost` and `double` must be 0."""

    lost: tuple[str, ...]
    double: tuple[str, ...]
    repeated: int  # successes that had to run again because a kill came before their fsync
    edges: Edges


def witnessed(archive: Path, trust: TrustView) -> list[Witnessed]:
    """Read every attempt of every archived result bundle, each attempt key once."""
    found: dict[AttemptKey, Witnessed] = {}
    for path in sorted(archive.rglob("*.pulk")):
        with open_bundle(path, trust, audience=None, kinds=frozenset(Kind)) as bundle:
            if bundle.manifest.kind is not Kind.RESULT:
                continue
            for place in bundle.find("segment"):
                segment = segments.decode(bundle.chunk(place))
                for attempt in segment.attempts:
                    key = key_of(segment.header, attempt)
                    found[key] = Witnessed(key, segment.header, attempt)
    return list(found.values())


def key_of(header: SegmentHeader, attempt: Attempt) -> AttemptKey:
    """Return the key of an attempt in a segment."""
    task = Task(header.dataset, attempt.job, attempt.step)
    return AttemptKey(task, attempt.generation, header.lease, header.pilot_run, attempt.local)


def judge(
    dataset: Dataset,
    attempts: Iterable[Witnessed],
    ledger: Ledger,
    done: set[Task],
    counted_attempts: int,
    counted_wall_ms: int,
) -> Verdict:
    """Compare central's counts with the ledger and the archive.

    A payload that ended well but left no declared output behind has failed, and is not lost.

    Args:
        done: the tasks that central calls done.
        counted_attempts: how many attempts central counts.
        counted_wall_ms: how much wall time central counts for them.
    """
    seen = {one.key: one for one in attempts}
    succeeded = ledger.succeeded()
    sealed = {key for key, one in seen.items() if one.attempt.fate is Fate.SUCCESS}
    failed = {key for key, one in seen.items() if one.attempt.fate is not Fate.SUCCESS}
    undone = {key for key in succeeded if key.task not in done}
    lost = [f"{key} ended well and is not done" for key in undone - failed]
    lost += [f"{task} is done but no payload says so" for task in done - ledger.tasks_succeeded()]
    lost += [f"{key} is sealed but never ran" for key in sealed - succeeded]
    double = []
    if counted_attempts != len(seen):
        double.append(f"{counted_attempts} attempts counted, {len(seen)} distinct in the archive")
    wall_ms = sum(one.attempt.usage.wall_ms for one in seen.values())
    if counted_wall_ms != wall_ms:
        double.append(f"{counted_wall_ms} ms counted, {wall_ms} ms in the archive")
    return Verdict(
        tuple(sorted(lost)), tuple(double), len(succeeded - seen.keys()), check_edges(dataset, seen)
    )


def check_edges(dataset: Dataset, seen: dict[AttemptKey, Witnessed]) -> Edges:
    """Check every edge into every successful attempt.

    The digest consumed must be an outcome of the parent; where such a success ran on the same
    node, one of them must have ended before this one started, by that node's monotonic clock.
    """
    outcomes: dict[tuple[int, int], list[tuple[bytes, Witnessed]]] = defaultdict(list)
    successes = [one for one in seen.values() if one.attempt.fate is Fate.SUCCESS]
    for one in successes:
        place = (one.attempt.step, one.attempt.job)
        outcomes[place].append((outcome_digest(one.attempt.outputs), one))
    checked, violations = 0, []
    for child in successes:
        parents = graph.parents(dataset, child.attempt.step, child.attempt.job)
        if len(parents) != len(child.attempt.consumed):
            violations.append(f"{child.key} consumed {len(child.attempt.consumed)} outcomes")
            continue
        for parent, consumed in zip(parents, child.attempt.consumed, strict=True):
            checked += 1
            sources = [one for outcome, one in outcomes[parent] if outcome == consumed]
            if not any(_before(one, child) for one in sources):
                violations.append(f"{child.key} did not wait for step {parent[0]} job {parent[1]}")
    return Edges(checked, tuple(violations))


def _before(parent: Witnessed, child: Witnessed) -> bool:
    if parent.header.host.boot_id != child.header.host.boot_id:
        return True  # across nodes the digest is the proof
    return parent.attempt.ended_mono_us <= child.attempt.started_mono_us
