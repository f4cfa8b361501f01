"""Facts about the node for the records: what they say of the host, and samples of its load."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bundle.limits import MIB
from bundle.records.host import Host, HostGpu
from bundle.records.telemetry import Sample
from pilot import folder
from pilot.core.node import Node
from pilot.core.provenance import modules
from pilot.discovery import disk, parse_system
from pilot.discovery.system import text


def describe(offline: str, isolation: str, node: Node, environment: Mapping[str, str]) -> Host:
    """Return the facts of this node that travel in every segment.

    `offline` and `isolation` are the slots' words. `environment` is what tasks start from: what is
    loaded there counts before the pilot's own.
    """
    return Host(
        name=platform.node(),
        kernel=f"{platform.system()} {platform.release()}",
        cpu_model=parse_system.cpu_model(text(Path("/proc/cpuinfo"))) or platform.machine(),
        cores=max(1, node.cpu_milli // 1000),
        memory_mib=node.memory_mib,
        boot_id=boot_id(),
        python=platform.python_version(),
        pulk=_pulk_version(),
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
    """Looks at the node every few seconds; psutil is imported with the first look."""

    def __init__(self, place: Path) -> None:
        """Watch the filesystem that holds `place`."""
        self._place = place

    def take(self, running: int) -> Sample:
        """Return a sample; cpu is the average since the last one."""
        import psutil

        share = psutil.cpu_percent(interval=None)
        return Sample(
            at_us=time.time_ns() // 1000,
            cpu_milli=round(share * 10 * (os.cpu_count() or 1)),
            memory_used_mib=psutil.virtual_memory().used // MIB,
            disk_free_bytes=disk.free_bytes(self._place),
            running=running,
        )


def _pulk_version() -> str:
    if made_of := folder.version():
        return made_of
    from importlib.metadata import PackageNotFoundError, version  # takes longer than all the rest

    try:
        return version("pulk")
    except PackageNotFoundError:
        return f"unpacked, Python {sys.version_info.major}.{sys.version_info.minor}"
