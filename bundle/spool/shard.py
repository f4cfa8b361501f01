"""A shard file: the small file whose rename claims a shard."""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical, shape
from bundle.ids import BundleId, LeaseId
from bundle.limits import SMALL_LIMITS
from bundle.spool.layout import ShardName


@dataclass(frozen=True, slots=True)
class ShardFile:
    """Which lease of which work bundle is offered; `start_before_us` limits starting only."""

    lease: LeaseId
    turn: int
    bundle: BundleId
    shard: int
    start_before_us: int  # UTC microseconds by the site's clock; 0: no limit

    @property
    def name(self) -> ShardName:
        """The shard's name in the spool."""
        return ShardName(self.lease, self.turn)


def encode(shard: ShardFile) -> bytes:
    """Return the bytes of a shard file."""
    return canonical.encode({name: getattr(shard, name) for name in ShardFile.__slots__})


def decode(raw: bytes, *, where: str) -> ShardFile:
    """Read a shard file. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where=where), where)
    return ShardFile(
        lease=LeaseId(value.bytes("lease", 16)),
        turn=value.count("turn"),
        bundle=BundleId(value.text("bundle")),
        shard=value.count("shard"),
        start_before_us=value.count("start_before_us"),
    )
