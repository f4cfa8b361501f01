"""A seal: the file in which a pilot hands over a segment, and the claim that names the pilot.

A pilot signs its seals with a key it made in memory and named in its claim: evidence against
tampering on a shared filesystem. A salvaged segment has no pilot's signature. Either way the
site's signature over the result bundle is what central relies on.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical, shape
from bundle.ids import PilotRun
from bundle.limits import SEAL_LIMITS, SMALL_LIMITS

SEAL_PAYLOAD_TYPE = "pulk/segment/1"


@dataclass(frozen=True, slots=True)
class Seal:
    """A segment's raw bytes with its signature, and the logs and telemetry that go with it.

    `batch_id` is that of the pilot's claim, which may be gone when the seal is collected.
    """

    segment: bytes
    pilot_key: bytes  # 32 bytes, public
    signature: bytes  # 64 bytes over the segment's digest; empty where a relay salvaged it
    logs: bytes  # see `encode_logs`
    telemetry: bytes  # see `bundle.records.telemetry`
    batch_id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works in `claimed/<pilot_run>/`, written by the pilot before it claims a shard.

    `start_ticks` (field 22 of /proc/PID/stat) tells its process from a later one of the same pid.
    """

    pilot_run: PilotRun
    pilot_key: bytes
    batch_id: str
    host: str
    boot_id: str
    pid: int
    start_ticks: int
    started_us: int
    slots: int
    offline: str
    isolation: str = ""  # as in a segment's Host; left out where empty
    retired: str = ""  # why its node was found broken; left out where empty
    radio_key: bytes = b""  # CURVE's public key, by which the relay knows it; left out where empty


def encode(seal: Seal) -> bytes:
    """Return the bytes of a seal file."""
    return canonical.encode({name: getattr(seal, name) for name in Seal.__slots__})


def decode(raw: bytes, *, where: str) -> Seal:
    """Read a seal file. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, SEAL_LIMITS, where=where), where)
    return Seal(
        segment=value.bytes("segment"),
        pilot_key=value.bytes("pilot_key", 32),
        signature=value.bytes("signature"),
        logs=value.bytes("logs"),
        telemetry=value.bytes("telemetry"),
        batch_id=value.text("batch_id"),
    )


def encode_claim(claim: Claim) -> bytes:
    """Return the bytes of a claim file."""
    row = {name: getattr(claim, name) for name in Claim.__slots__}
    for name in ("isolation", "retired", "radio_key"):
        if not row[name]:
            del row[name]
    return canonical.encode(row)


def decode_claim(raw: bytes, *, where: str) -> Claim:
    """Read a claim file. Raises NotCanonical or WrongShape."""
    value = shape.Reader.of(canonical.decode(raw, SMALL_LIMITS, where=where), where)
    return Claim(
        pilot_run=PilotRun(value.bytes("pilot_run", 8)),
        pilot_key=value.bytes("pilot_key", 32),
        batch_id=value.text("batch_id"),
        host=value.text("host"),
        boot_id=value.text("boot_id"),
        pid=value.count("pid"),
        start_ticks=value.count("start_ticks"),
        started_us=value.count("started_us"),
        slots=value.count("slots"),
        offline=value.text("offline"),
        isolation=value.text("isolation") if value.has("isolation") else "",
        retired=value.text("retired") if value.has("retired") else "",
        radio_key=value.bytes("radio_key", 32) if value.has("radio_key") else b"",
    )


def encode_logs(logs: dict[int, bytes]) -> bytes:
    """Return the raw bytes of a log chunk: attempt's local number to the bytes of its log."""
    return canonical.encode([[local, logs[local]] for local in sorted(logs)])


def decode_logs(raw: bytes) -> dict[int, bytes]:
    """Read a log chunk. Raises NotCanonical or WrongShape."""
    value = shape.Reader({"logs": canonical.decode(raw, SEAL_LIMITS, where="logs")}, "segment")
    return {row.count(0): row.bytes(1) for row in value.readers("logs")}
