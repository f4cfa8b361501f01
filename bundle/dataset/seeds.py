"""Seeds: the same dataset, job and step always draw the same numbers."""

from __future__ import annotations

from bundle.digest import digest

SEED_MAX = 2**31 - 1


def seed(dataset_seed: int, job: int, step: int) -> int:
    """Return the seed of one task: 1 to 2^31 - 1, so that Fortran and C generators take it."""
    numbers = b"".join(number.to_bytes(8, "big") for number in (dataset_seed, job, step))
    return _fold(digest("seed", numbers))


def named_seed(dataset_seed: int, name: str) -> int:
    """Return the seed of a generated file: the same wherever a file of this name is read."""
    return _fold(digest("seed.file", dataset_seed.to_bytes(8, "big") + name.encode()))


def _fold(value: bytes) -> int:
    return int.from_bytes(value[:8], "big") % SEED_MAX + 1
