"""Every limit of what is read from outside, in one place, with its unit.

docs/bundle-format.md states the same numbers; a test compares them.
"""

from __future__ import annotations

from typing import NamedTuple

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

BUNDLE_BYTES_MAX = 64 * GIB
MANIFEST_BYTES_MAX = 8 * MIB
SIGNATURES_BYTES_MAX = 64 * KIB
SIGNATURES_MAX = 16
CHUNKS_MAX = 65_536
DATA_CHUNK_BYTES_MAX = 64 * MIB  # a larger file travels in pieces of exactly this size
FILE_BYTES_MAX = 16 * GIB  # one input or output of a task
RATIO_MAX = 100  # raw bytes per stored byte, beyond RATIO_FREE_BYTES
RATIO_FREE_BYTES = 1 * MIB
ZSTD_WINDOW_BYTES_MAX = 8 * MIB
DEPTH_MAX = 16  # nested arrays and maps

ATTEMPTS_PER_BUNDLE_MAX = 100_000
ATTEMPTS_PER_SEGMENT_MAX = 10_000
PLACES_PER_SEGMENT_MAX = 2_000_000  # consumed and outputs of all its attempts
LOG_BYTES_MAX = 64 * KIB  # of one attempt, head and tail together
NAME_CHARS_MAX = 255
STEPS_MAX = 65_536
JOBS_MAX = 2**32
DOCUMENT_FILE_BYTES_MAX = 1 * MIB  # one file that travels inside a dataset document
DOCUMENT_BYTES_MAX = 64 * MIB


class ParseLimits(NamedTuple):
    """What one piece of msgpack may cost to read."""

    bytes_max: int
    elements_max: int
    depth_max: int = DEPTH_MAX


MANIFEST_LIMITS = ParseLimits(MANIFEST_BYTES_MAX, 500_000)  # what is read takes 50 MiB at most
ENVELOPE_LIMITS = ParseLimits(MANIFEST_BYTES_MAX + SIGNATURES_BYTES_MAX + 128, 16)
STATE_LIMITS = ParseLimits(MANIFEST_BYTES_MAX, 2_000_000)  # of a program's own rows and files
SMALL_LIMITS = ParseLimits(1 * MIB, 65_536)  # keys, certificates, claims, reports
DOCUMENT_LIMITS = ParseLimits(DOCUMENT_BYTES_MAX, 4_000_000)
LEASE_LIMITS = ParseLimits(32 * MIB, 4_000_000)
SEGMENT_LIMITS = ParseLimits(64 * MIB, 65_536)  # columns are bytes; texts are what counts
TELEMETRY_LIMITS = ParseLimits(16 * MIB, 500_000)
SEAL_LIMITS = ParseLimits(192 * MIB, 65_536)  # holds segment, logs and telemetry as raw bytes
RECORD_LIMITS = ParseLimits(4 * MIB, 262_144)  # one journal record
