"""The built-in payload: reads every input, burns cpu, holds memory, writes outputs of exact sizes.

It runs in a fork of the slot, so that no interpreter starts. What it writes follows from seed,
output name and the inputs' content alone: the same task writes the same bytes anywhere.
"""

# Descriptors and plain names here, not Path: this runs for every task.
# ruff: noqa: PTH103, PTH123

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence

from pilot import stage

BURN_BYTES = 1 << 16
MIB = 1 << 20


def run(
    work: tuple[int, int, int, Sequence[int]],
    inputs: Sequence[str],
    outputs: Sequence[str],
    environment: Mapping[str, str],
) -> None:
    """Do the work in the current directory.

    Args:
        work: cpu in ms, wall in ms, memory in MiB, bytes of each output.
        inputs: names of the files to read, in the order of the request.
        outputs: names of the files to write.
        environment: gives PULK_SEED.
    """
    cpu_ms, wall_ms, memory_mib, output_bytes = work
    end_s = time.monotonic() + wall_ms / 1000
    cpu_end_s = time.process_time() + cpu_ms / 1000
    held = b"\x01" * (memory_mib * MIB)  # not zeros: every page is touched
    key = hashlib.sha256(environment["PULK_SEED"].encode())
    for name in inputs:
        key.update(_digest(name))
    for name, size in zip(outputs, output_bytes, strict=True):
        folder = name.rpartition("/")[0]
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(name, "wb", buffering=0) as file:
            for piece in stage.seeded(key.digest() + name.encode(), size):
                file.write(piece)
    _burn(cpu_end_s)
    while (left_s := end_s - time.monotonic()) > 0:
        time.sleep(left_s)
    del held


def tell_ledger(environment: Mapping[str, str], status: int) -> None:
    """Append one line to the rehearsal's ledger, where there is one, in a single write."""
    path = environment.get("PULK_LEDGER") or os.environ.get("PULK_LEDGER")
    if path:
        ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(ledger, f"{environment['PULK_ATTEMPT']} {status}\n".encode())
        os.close(ledger)


def _digest(name: str) -> bytes:
    with open(name, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _burn(cpu_end_s: float) -> None:
    block = b"\x00" * BURN_BYTES
    while time.process_time() < cpu_end_s:
        hashlib.sha256(block).digest()
