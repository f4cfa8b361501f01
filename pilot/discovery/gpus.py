"""Asks the GPU makers' tools, where the node has devices for them to show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pilot.core.node import Gpu
from pilot.discovery import parse_gpus as parse
from pilot.discovery import parse_system
from pilot.discovery.system import text

TOOL_S_MAX = 20.0
OUTPUT_BYTES_MAX = 16 << 20
NVIDIA_DEVICES, AMD_DEVICE = "dev/nvidia[0-9]*", "dev/kfd"
_QUERY = (f"--query-gpu={','.join(parse.QUERY)}", "--format=csv")
_ROCM = ("--showuniqueid", "--showproductname", "--showmeminfo", "vram", "--showbus")
_PLACES = "/usr/local/bin:/usr/bin:/bin:/usr/local/nvidia/bin:/opt/rocm/bin"


@dataclass(frozen=True, slots=True)
class Found:
    """The GPUs that the tools show, whoever they are assigned to."""

    gpus: tuple[Gpu, ...] = ()
    notes: tuple[str, ...] = ()


class ToolFailed(Exception):
    """A tool is missing, failed or took too long; the argument says which and how."""


def look(root: Path, environment: Mapping[str, str]) -> Found:
    """Return every GPU of the node; costs two looks into /dev where there is none."""
    path = os.pathsep.join(filter(None, (environment.get("PATH", ""), _PLACES)))
    gpus: list[Gpu] = []
    notes: list[str] = []
    for has, ask in (
        (any(root.glob(NVIDIA_DEVICES)), _nvidia),
        ((root / AMD_DEVICE).exists(), _amd),
    ):
        if not has:
            continue
        try:
            found = ask(root, path)
        except (ToolFailed, parse.Refused) as error:
            notes.append(f"GPUs not used: {error}")
        else:
            gpus += found.gpus
            notes += found.notes
    return Found(tuple(gpus), tuple(notes))


def run(tool: str, arguments: tuple[str, ...], path: str, limit_s: float = TOOL_S_MAX) -> bytes:
    """Return what a tool prints. One that hangs in its driver is left behind. Raises ToolFailed."""
    import subprocess

    output = os.memfd_create("pulk-tool")
    try:
        process = subprocess.Popen(
            (tool, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={"PATH": path, "LC_ALL": "C"},
            start_new_session=True,
        )
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.returncode = -9  # nobody waits for what the kernel may not let go
            raise ToolFailed(f"{tool} took more than {limit_s:g} s") from None
        if status != 0:
            raise ToolFailed(f"{tool} {' '.join(arguments)[:40]} ended with status {status}")
        return os.pread(output, OUTPUT_BYTES_MAX, 0)
    except OSError as error:
        raise ToolFailed(f"{tool}: {error.strerror or error}") from error
    finally:
        os.close(output)


def _nvidia(root: Path, path: str) -> Found:
    tool = "nvidia-smi"
    try:
        seen = parse.query_csv(run(tool, _QUERY, path))
    except (ToolFailed, parse.Refused):  # a driver that does not know one of the columns
        seen = parse.query_xml(run(tool, ("-q", "-x"), path))
    instances: tuple[parse.Instance, ...] = ()
    if any(one.mig for one in seen):
        detailed = {one.gpu.uuid: one for one in parse.query_xml(run(tool, ("-q", "-x"), path))}
        seen = tuple(
            replace(one, instances_mib=detailed.get(one.gpu.uuid, one).instances_mib)
            for one in seen
        )
        instances = parse.listing(run(tool, ("-L",), path))[1]
    placed = tuple(replace(one, gpu=replace(one.gpu, numa=_numa(root, one))) for one in seen)
    return Found(*parse.cut_into_instances(placed, instances))


def _amd(root: Path, path: str) -> Found:
    seen = parse.rocm_json(run("rocm-smi", (*_ROCM, "--showtoponuma", "--json"), path))
    gpus = (
        one.gpu if one.gpu.numa >= 0 else replace(one.gpu, numa=_numa(root, one)) for one in seen
    )
    return Found(tuple(gpus))


def _numa(root: Path, one: parse.Seen) -> int:
    if not one.bus:
        return -1
    return parse_system.number(text(root / "sys/bus/pci/devices" / one.bus / "numa_node"))
