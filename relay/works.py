"""The work bundles that live here: `work/<id>/` with what was accepted and what has ended.

In the folder: `bundle.pulk`, `accepted` (plans of the shards, data it brought), `waiting/` (shard
files not offered yet: the rename into `claimable/` is the offer, so it happens exactly once),
`ended/<lease>.complete|up`, `outputs` (digests of files its attempts made), `sealed/`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bundle import canonical, shape
from bundle.ids import BundleId, DatasetId, LeaseId
from bundle.limits import LEASE_LIMITS
from bundle.spool import publish
from bundle.spool import shard as shard_files
from bundle.spool.layout import SealName, ShardName, Spool
from bundle.spool.shard import ShardFile
from relay import state
from relay.core.shards import Ended, ShardPlan
from relay.listing import names

ACCEPTED = "accepted"
_BUNDLE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Work:
    """One accepted work bundle. `data`: digests of files that it brought."""

    id: BundleId
    accepted_us: int
    plans: tuple[ShardPlan, ...]
    data: tuple[bytes, ...] = ()

    def plan_of(self, lease: LeaseId) -> ShardPlan | None:
        """Return the plan of a lease of this bundle."""
        return next((plan for plan in self.plans if plan.lease == lease), None)


def encode(work: Work) -> bytes:
    """Return the bytes of the `accepted` record."""
    return canonical.encode(
        {
            "bundle": work.id,
            "accepted_us": work.accepted_us,
            "plans": [
                [p.lease, p.shard, p.dataset, list(p.needs), p.tasks, p.start_before_us]
                for p in work.plans
            ],
            "data": list(work.data),
        }
    )


def decode(raw: bytes, *, where: str) -> Work:
    """Read an `accepted` record. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, LEASE_LIMITS, where=where), where)
    data = shape.Reader(value.rows("data"), f"{where}.data")
    return Work(
        id=BundleId(value.text("bundle")),
        accepted_us=value.count("accepted_us"),
        plans=tuple(
            ShardPlan(
                lease=LeaseId(row.bytes(0, 16)),
                shard=row.count(1),
                dataset=DatasetId(row.text(2)),
                needs=row.counts(3),
                tasks=row.count(4),
                start_before_us=row.count(5),
            )
            for row in value.readers("plans")
        ),
        data=tuple(data.bytes(place, 32) for place in range(len(data.value))),
    )


def ids(spool: Spool) -> list[BundleId]:
    """Return the ids of the work bundles that live here, sorted."""
    found = names(spool.folder("work"))
    return [BundleId(name) for name in found if _BUNDLE_ID.fullmatch(name)]


def load(spool: Spool, bundle: BundleId) -> Work | None:
    """Return a work bundle, or None where it is not (or no longer) here."""
    path = spool.work(bundle) / ACCEPTED
    try:
        return decode(path.read_bytes(), where=str(path))
    except FileNotFoundError:
        return None


def live(spool: Spool) -> list[Work]:
    """Return every work bundle that lives here."""
    return [work for bundle in ids(spool) if (work := load(spool, bundle)) is not None]


def ended(spool: Spool, bundle: BundleId) -> Ended:
    """Return which leases of a work bundle have ended, and how."""
    complete: set[LeaseId] = set()
    up: set[LeaseId] = set()
    for name in names(spool.work(bundle) / "ended"):
        lease, _, how = name.partition(".")
        with contextlib.suppress(ValueError):
            (complete if how == "complete" else up).add(LeaseId(bytes.fromhex(lease)))
    return Ended(frozenset(complete), frozenset(up))


def is_complete(spool: Spool, bundle: BundleId, lease: LeaseId) -> bool:
    """Return whether nothing of a lease is left to do."""
    return (spool.work(bundle) / "ended" / f"{lease.hex()}.complete").exists()


def note_ended(spool: Spool, bundle: BundleId, lease: LeaseId, *, complete: bool) -> None:
    """Remember durably that nothing of a lease is left to do, or that it was given up."""
    how = "complete" if complete else "up"
    path = spool.work(bundle) / "ended" / f"{lease.hex()}.{how}"
    if not path.exists():
        publish.make_folder(path.parent)
        publish.write_file(spool.folder("tmp"), path, b"")


def waiting(spool: Spool, bundle: BundleId) -> frozenset[ShardName]:
    """Return the shards of a work bundle that were not offered yet."""
    return frozenset(shards_in(spool.work(bundle) / "waiting"))


def waiting_file(spool: Spool, bundle: BundleId, shard: ShardName) -> Path:
    """Return where a shard waits to be offered."""
    return spool.work(bundle) / "waiting" / f"{shard}.shard"


def set_waiting(spool: Spool, bundle: BundleId, plan: ShardPlan, shard: ShardName) -> None:
    """Write a shard's file where it waits to be offered; what is there already stays."""
    raw = shard_bytes(bundle, plan, shard.turn)
    target = waiting_file(spool, bundle, shard)
    publish.make_folder(target.parent)
    with contextlib.suppress(publish.AlreadyThere):
        publish.write_new_file(spool.folder("tmp"), target, raw)


def shard_bytes(bundle: BundleId, plan: ShardPlan, turn: int) -> bytes:
    """Return the bytes of a shard file."""
    return shard_files.encode(ShardFile(plan.lease, turn, bundle, plan.shard, plan.start_before_us))


def shards_in(folder: Path) -> Iterator[ShardName]:
    """Yield the shards whose files lie in a folder."""
    for name in names(folder):
        stem, dot, ending = name.partition(".")
        if dot and ending == "shard" and (shard := ShardName.parse(stem)) is not None:
            yield shard


def seals(spool: Spool, bundles: Iterable[BundleId]) -> Iterator[SealName]:
    """Yield the names of all seals that wait, then of those of these work bundles that travel."""
    for folder in (spool.folder("sealed"), *map(spool.kept_seals, bundles)):
        for name in names(folder):
            if (seal := SealName.parse(name)) is not None:
                yield seal


def add_outputs(spool: Spool, bundle: BundleId, files: Iterable[bytes]) -> None:
    """Append digests of files that attempts of this work bundle made; synced, repeats allowed."""
    if rows := list(files):
        state.append_rows(spool.work(bundle) / "outputs", rows)


def outputs(spool: Spool, bundle: BundleId) -> frozenset[bytes]:
    """Return the digests of files that collected attempts of this work bundle made."""
    with contextlib.suppress(FileNotFoundError):
        data = (spool.work(bundle) / "outputs").read_bytes()
        return frozenset(data[at : at + 32] for at in range(0, len(data) - 31, 32))
    return frozenset()
