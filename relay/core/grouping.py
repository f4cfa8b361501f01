"""Which seals travel in one result bundle, and what must be said once in each stream."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from bundle.ids import BundleId, LeaseId

GROUP_BYTES_MAX = 2 << 30  # soft: a bundle ends once it holds so much, so that results soon leave
GROUP_CHUNKS_MAX = 16_384


@dataclass(frozen=True, slots=True)
class SealSize:
    """What decides where a seal travels. `bytes` and `chunks` count its outputs too."""

    name: str
    work: BundleId
    lease: LeaseId
    attempts: int
    bytes: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Preface:
    """Chunks that explain segments: digests to introduce and those told before in the stream."""

    introduces: tuple[bytes, ...]
    refers: tuple[bytes, ...]


def group_seals(
    seals: Iterable[SealSize],
    attempts_max: int,
    *,
    bytes_max: int = GROUP_BYTES_MAX,
    chunks_max: int = GROUP_CHUNKS_MAX,
) -> tuple[tuple[SealSize, ...], ...]:
    """Cut the seals, kept in order, into bundles within the limits; one seal is never cut."""
    groups: list[tuple[SealSize, ...]] = []
    current: list[SealSize] = []
    attempts = size = chunks = 0
    for seal in seals:
        is_full = (
            attempts + seal.attempts > attempts_max
            or size + seal.bytes > bytes_max
            or chunks + seal.chunks > chunks_max
        )
        if current and is_full:
            groups.append(tuple(current))
            current, attempts, size, chunks = [], 0, 0, 0
        current.append(seal)
        attempts, size, chunks = attempts + seal.attempts, size + seal.bytes, chunks + seal.chunks
    if current:
        groups.append(tuple(current))
    return tuple(groups)


def plan_preface(needed: Iterable[bytes], told: Set[bytes]) -> Preface:
    """Split the digests that a bundle rests on into those to introduce and those to refer to."""
    ordered = tuple(dict.fromkeys(needed))
    return Preface(
        introduces=tuple(one for one in ordered if one not in told),
        refers=tuple(one for one in ordered if one in told),
    )
