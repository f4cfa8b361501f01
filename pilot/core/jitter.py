"""How long a pilot waits before it starts, so that a thousand do not start in one moment."""

from __future__ import annotations

from zlib import crc32


def jitter_s(batch_id: str, host: str, most_s: float) -> float:
    """Return seconds from 0 to below `most_s`, the same for the same batch job and host.

    Spread evenly over hosts and batch jobs; drawn from no clock, so a restart waits as long.
    """
    return most_s * crc32(f"{batch_id}\0{host}".encode(errors="surrogateescape")) / (1 << 32)
