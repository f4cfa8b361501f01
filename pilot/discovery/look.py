"""One look at the node: what a pilot may use of it, as `pulk pilot node` shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pilot.core import node as facts
from pilot.core.node import Node
from pilot.discovery import containers, disk, parse_scheduler, system

ROOT = Path("/")


def look(
    environment: Mapping[str, str] | None = None,
    root: Path = ROOT,
    affinity: frozenset[int] | None = None,
) -> Node:
    """Return the facts of this node; nothing that is missing or strange makes it fail.

    `root` and `affinity` are given for a copy of another node's files.
    """
    told = os.environ if environment is None else environment
    batch = parse_scheduler.batch(
        told,
        _classad(told.get("_CONDOR_MACHINE_AD", "")),
        _classad(told.get("_CONDOR_JOB_AD", "")),
    )
    cores = system.cores(root, frozenset(os.sched_getaffinity(0)) if affinity is None else affinity)
    milli = facts.cpu_milli(cores, system.quotas_milli(root), batch.cpus)
    memory = system.memory(root)
    memory_mib = max(1, facts.least(memory.memory_mib, batch.memory_mib))
    scratch = disk.scratch(root, batch.scratch)
    disk_bytes = facts.least(scratch.free_bytes, batch.disk_bytes)
    if scratch.is_ram:
        disk_bytes = facts.least(disk_bytes, memory_mib << 20)
    seen, asked = _gpus(root, told)
    ours, notes = facts.narrowed(seen, batch.gpus, batch.scheduler)
    return Node(
        cores=cores,
        cpu_milli=milli,
        memory_mib=memory_mib,
        swap_mib=memory.swap_mib,
        scratch=scratch,
        disk_bytes=disk_bytes,
        gpus=ours,
        batch=batch,
        end_us=batch.end_us,
        may_pin=facts.may_pin(cores, milli),
        containers=containers.look(told.get("PATH", "")),
        notes=(*batch.notes, *asked, *notes, *_order_notes(ours, batch, told)),
    )


def _gpus(root: Path, told: Mapping[str, str]) -> tuple[tuple[facts.Gpu, ...], tuple[str, ...]]:
    """Return every GPU of the node, and what is to be said of them."""
    if not system.has_gpus(root):
        return (), ()
    from pilot.discovery import gpus  # with the makers' formats: most nodes need none of it

    seen = gpus.look(root, told)
    return seen.gpus, seen.notes


def _order_notes(
    ours: tuple[facts.Gpu, ...], batch: facts.Batch, told: Mapping[str, str]
) -> tuple[str, ...]:
    """Warn where numbers may name other devices: CUDA counts the fastest first unless told."""
    by_number = any(word.isdecimal() for word in batch.gpus or ())
    if (
        by_number
        and len({one.model for one in ours}) > 1
        and told.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    ):
        return ("GPUs of several models are assigned by number; set CUDA_DEVICE_ORDER=PCI_BUS_ID",)
    return ()


def _classad(path: str) -> bytes:
    return system.text(Path(path)) if path else b""
