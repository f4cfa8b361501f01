"""Facts about the node for the records: what they say of the host, and samples of its load."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bundle.limits import MIB
from bundle.records.host import Host, HostGpu
from bundle.records.telemetry import Sample
from bundle.version import VERSION
from pilot.core.node import Node
from pilot.core.provenance import modules
from pilot.discovery import disk, parse_system
from pilot.discovery.system import text

_CPUS, _MEMORY = Path("/proc/stat"), Path("/proc/meminfo")


def describe(offline: str, isolation: str, node: Node, environment: Mapping[str, str]) -> Host:
    """Return the facts of this node that travel in every segment.

    `offline` and `isolation` are the slots' words. `environment` is what tasks start from: what is
    loaded there counts before the pilot's own.
    """
    return Host(
        name=os.uname().nodename,
        kernel=f"{os.uname().sysname} {os.uname().release}",
        cpu_model=parse_system.cpu_model(text(Path("/proc/cpuinfo"))) or os.uname().machine,
        cores=max(1, node.cpu_milli // 1000),
        memory_mib=node.memory_mib,
        boot_id=boot_id(),
        python=".".join(map(str, sys.version_info[:3])),
        pulk=VERSION,
        offline=offline,
        swap_mib=node.swap_mib,
        numa_nodes=node.numa_nodes,
        gpus=tuple(HostGpu(one.uuid, one.model, one.memory_mib, one.mig) for one in node.gpus),
        scratch=node.scratch.filesystem,
        scheduler=node.batch.scheduler,
        batch_id=node.batch.batch_id,
        restarts=node.batch.restarts,
        modules=modules(environment, os.environ),
        isolation=isolation,
        containers=str(node.containers),
    )


def boot_id() -> str:
    """Return what tells one boot of this node from another."""
    return text(Path("/proc/sys/kernel/random/boot_id")).decode(errors="replace").strip()


class Samples:
    """Looks at the node every few seconds."""

    def __init__(self, place: Path) -> None:
        """Watch the filesystem that holds `place`."""
        self._place = place
        self._ticks = _ticks()

    def take(self, running: int) -> Sample:
        """Return a sample; cpu is the average since the last one."""
        before, self._ticks = self._ticks, _ticks()
        busy, total = (now - then for now, then in zip(self._ticks, before, strict=True))
        memory = parse_system.meminfo_bytes(text(_MEMORY))
        used = memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
        return Sample(
            at_us=time.time_ns() // 1000,
            cpu_milli=max(0, 1000 * busy * (os.cpu_count() or 1) // max(1, total)),
            memory_used_mib=max(0, used) // MIB,
            disk_free_bytes=disk.free_bytes(self._place),
            running=running,
        )


def _ticks() -> tuple[int, int]:
    return parse_system.cpu_ticks(text(_CPUS))
