"""Sealing: what a pilot recorded of one shard becomes a signed, immutable segment."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundle.records import seal as seals
from bundle.records import segment as segments
from bundle.records import telemetry
from bundle.records.attempt import Attempt
from bundle.records.seal import SEAL_PAYLOAD_TYPE, Seal
from bundle.records.segment import Segment, SegmentHeader
from bundle.records.telemetry import Sample
from bundle.spool import publish, shard
from bundle.spool.layout import SealName, ShardName, Spool
from bundle.spool.shard import ShardFile
from bundle.trust.keys import Signer
from bundle.wire.preauth import pae


@dataclass(slots=True)
class Recorded:
    """What stands in one journal."""

    header: SegmentHeader
    attempts: list[Attempt] = field(default_factory=list)
    logs: dict[int, bytes] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    series: dict[int, bytes] = field(default_factory=dict)
    log_bytes: int = 0
    consumed: int = 0

    def add(self, attempt: Attempt, log: bytes, series: bytes = b"") -> None:
        """Add an attempt whose record is durable."""
        self.attempts.append(attempt)
        self.consumed += len(attempt.consumed)
        if log:
            self.logs[attempt.local] = log
            self.log_bytes += len(log)
        if series:
            self.series[attempt.local] = series


def encode(recorded: Recorded, signer: Signer, batch_id: str, *, complete: bool) -> bytes:
    """Return the bytes of the seal."""
    raw = segments.encode(Segment(recorded.header, tuple(recorded.attempts), complete))
    digest = segments.segment_digest(raw)
    return seals.encode(
        Seal(
            segment=raw,
            pilot_key=signer.public,
            signature=signer.sign(pae(SEAL_PAYLOAD_TYPE, digest)),
            logs=seals.encode_logs(recorded.logs),
            telemetry=telemetry.encode(tuple(recorded.samples), recorded.series),
            batch_id=batch_id,
        )
    )


def publish_seal(spool: Spool, recorded: Recorded, raw: bytes) -> None:
    """Put a seal where the relay collects it."""
    name = SealName(_name(recorded.header), recorded.header.pilot_run)
    staged = publish.stage(spool.folder("tmp"), raw)
    publish.publish(staged, spool.seal(name))


def publish_elsewhere(folder: Path, recorded: Recorded, raw: bytes) -> Path:
    """Put a seal where the relay looks for those of pilots whose spool took no more."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / str(SealName(_name(recorded.header), recorded.header.pilot_run))
    publish.publish(publish.stage(folder, raw), target)
    return target


def let_go(spool: Spool, header: SegmentHeader) -> None:
    """Give up a sealed shard: the shard's file first, so that no journal looks unsealed."""
    name = _name(header)
    for path in (
        spool.held_shard(header.pilot_run, name),
        spool.journal(header.pilot_run, name),
    ):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):  # a relay took this pilot for dead
        publish.fsync_folder(spool.claimed(header.pilot_run))


def next_turn(spool: Spool, header: SegmentHeader, held: ShardFile) -> SegmentHeader:
    """Go on with a held shard as its next turn, before the seal of this one is published.

    A relay offers a shard again after an incomplete seal unless a later turn of it is known; the
    rename makes the later turn known first, and there is one shard file at every moment.
    """
    later = replace(header, turn=header.turn + 1)
    here, there = (spool.held_shard(header.pilot_run, _name(one)) for one in (header, later))
    os.rename(here, there)
    publish.write_file(spool.folder("tmp"), there, shard.encode(replace(held, turn=later.turn)))
    return later


def _name(header: SegmentHeader) -> ShardName:
    return ShardName(header.lease, header.turn)
