"""A node's facts for people and for programs. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bundle.limits import MIB
from pilot.core.node import Gpu, Node

UNKNOWN = "unknown"


def document(node: Node) -> dict[str, Any]:
    """Return the facts as one JSON document, sizes and times with their units in the names."""
    batch, scratch = node.batch, node.scratch
    return {
        "cores": [{"cpu": core.number, "numa": core.numa} for core in node.cores],
        "cpu_milli": node.cpu_milli,
        "may_pin": node.may_pin,
        "memory_mib": node.memory_mib,
        "swap_mib": node.swap_mib,
        "disk_bytes": node.disk_bytes,
        "scratch": {
            "path": scratch.path,
            "filesystem": scratch.filesystem,
            "free_bytes": scratch.free_bytes,
            "is_ram": scratch.is_ram,
            "is_shared": scratch.is_shared,
        },
        "gpus": [
            {name: getattr(one, name) for name in Gpu.__slots__ if name != "index"}
            for one in node.gpus
        ],
        "containers": {"runtime": node.containers.name, "version": node.containers.version},
        "scheduler": batch.scheduler,
        "batch_id": batch.batch_id,
        "restarts": batch.restarts,
        "end_us": node.end_us,
        "notes": list(node.notes),
    }


def lines(node: Node) -> list[tuple[str, str]]:
    """Return (name, words) for each fact."""
    rows = [
        ("cores", _cores(node)),
        ("memory", f"{node.memory_mib} MiB, swap {node.swap_mib} MiB"),
        ("scratch", _scratch(node)),
        *(("gpu", _gpu(one)) for one in node.gpus),
        ("containers", str(node.containers) or "no runtime"),
        ("batch job", _batch(node)),
        ("allocation", f"ends {_date(node.end_us)}"),
        *(("!", note) for note in node.notes),
    ]
    return rows if node.gpus else [*rows[:3], ("gpu", "none"), *rows[3:]]


def _cores(node: Node) -> str:
    words = f"{node.cpu_milli / 1000:g} of cpus {_ranges([one.number for one in node.cores])}"
    words += f", {node.numa_nodes} NUMA node{'s' if node.numa_nodes != 1 else ''}"
    return words if node.may_pin else f"{words}; shared with others, so nothing is bound to them"


def _scratch(node: Node) -> str:
    one = node.scratch
    if not one.path:
        return "no folder that can be written"
    kind = " (RAM: counts as memory)" if one.is_ram else " (shared)" if one.is_shared else ""
    return f"{one.path}, {one.filesystem or UNKNOWN}{kind}, {node.disk_bytes // MIB} MiB free"


def _gpu(one: Gpu) -> str:
    words = [one.uuid, one.model or UNKNOWN, f"{one.memory_mib or UNKNOWN} MiB"]
    words += [f"MIG {one.mig}"] if one.mig else []
    words += [f"NUMA node {one.numa}"] if one.numa >= 0 else []
    return ", ".join(words)


def _batch(node: Node) -> str:
    one = node.batch
    if not one.scheduler:
        return "of no scheduler that is known"
    return f"{one.scheduler} {one.batch_id or UNKNOWN}, started {one.restarts + 1} times"


def _date(at_us: int) -> str:
    if not at_us:
        return f"at a time {UNKNOWN}"
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="seconds")


def _ranges(numbers: list[int]) -> str:
    found: list[list[int]] = []
    for one in sorted(numbers):
        if found and one == found[-1][1] + 1:
            found[-1][1] = one
        else:
            found.append([one, one])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in found)
