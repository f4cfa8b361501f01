"""A pilot finds what it may use of a node: copies of nodes' files, tools that print or hang."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pilot.core.node import Core, Node
from pilot.discovery import disk, gpus, parse_system, shown
from pilot.discovery.look import look
from tests.pilot.test_node_parsers import A100, END_US, INSTANCE, SAMPLES, SLURM

MIB = 1 << 20
FOUR = frozenset(range(4))


class Copy:
    """A copy of the files of a node, and of the tools on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools = root / "tools"
        self.tools.mkdir()
        self.file("proc/meminfo", "MemTotal: 16777216 kB\nShmem: 1048576 kB\nSwapTotal: 1024 kB\n")
        self.file("proc/self/cgroup", "0::/job/step\n")
        for node, cpus in ((0, "0-1"), (1, "2-3")):
            self.file(f"sys/devices/system/node/node{node}/cpulist", cpus)

    def file(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def look(self, **environment: str) -> Node:
        return look({"PATH": str(self.tools)} | environment, self.root, FOUR)


@pytest.fixture
def node(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def printing(name: str) -> str:
    return f"cat {shlex.quote(str(SAMPLES / name))}"


def test_cores_come_with_their_numa_nodes_and_memory_without_what_lies_in_ram(node: Copy) -> None:
    found = node.look()
    assert found.cores == (Core(0, 0), Core(1, 0), Core(2, 1), Core(3, 1))
    assert (found.cpu_milli, found.numa_nodes, found.may_pin) == (4000, 2, True)
    assert (found.memory_mib, found.swap_mib) == (15 * 1024, 1)
    assert found.end_us == 0 and found.gpus == () and found.notes == ()


def test_the_tightest_control_group_above_counts_in_version_2(node: Copy) -> None:
    node.file("sys/fs/cgroup/job/cpu.max", "150000 100000\n")
    node.file("sys/fs/cgroup/job/step/cpu.max", "max 100000\n")
    node.file("sys/fs/cgroup/job/memory.max", f"{4096 * MIB}\n")
    node.file("sys/fs/cgroup/job/step/memory.max", f"{8192 * MIB}\n")
    node.file("sys/fs/cgroup/job/step/memory.swap.max", "0\n")
    found = node.look()
    assert (found.cpu_milli, found.memory_mib, found.swap_mib) == (1500, 4096, 0)
    assert not found.may_pin


@pytest.mark.parametrize("top", ["cpu,cpuacct", "cpu"])
def test_control_groups_of_version_1_count_wherever_they_are_mounted(node: Copy, top: str) -> None:
    node.file("proc/self/cgroup", "4:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm/job_7\n0::/\n")
    node.file(f"sys/fs/cgroup/{top}/slurm/job_7/cpu.cfs_quota_us", "200000\n")
    node.file(f"sys/fs/cgroup/{top}/slurm/job_7/cpu.cfs_period_us", "100000\n")
    node.file("sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes", f"{2048 * MIB}\n")
    node.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    found = node.look()
    assert (found.cpu_milli, found.memory_mib) == (2000, 2048)


def test_what_the_scheduler_granted_narrows_the_node(node: Copy) -> None:
    told = SLURM | {"SLURM_CPUS_ON_NODE": "2", "SLURM_MEM_PER_NODE": "1000"}
    found = node.look(**told)
    assert (found.cpu_milli, found.memory_mib, found.end_us) == (2000, 1000, END_US)
    assert not found.may_pin  # which two of the four, nobody said


def test_a_node_of_which_nothing_can_be_read_still_has_a_core_and_memory(tmp_path: Path) -> None:
    found = look({}, tmp_path, frozenset({7}))
    assert found.cpu_milli == 1000 and found.memory_mib > 0 and found.cores == (Core(7, 0),)


def test_a_scratch_folder_in_ram_is_part_of_the_memory(node: Copy) -> None:
    place = node.root / "fast"
    place.mkdir()
    node.file("proc/self/mountinfo", f"1 0 0:1 / {place} rw - tmpfs tmpfs rw\n")
    found = node.look(TMPDIR=str(place))
    assert found.scratch.path == str(place) and found.scratch.is_ram
    assert found.disk_bytes <= found.memory_mib * MIB


def test_a_shared_folder_is_scratch_only_where_there_is_no_other(node: Copy) -> None:
    place = node.root / "far"
    place.mkdir()
    node.file(
        "proc/self/mountinfo", f"1 0 0:1 / {place} rw - lustre x rw\n2 0 0:2 / / rw - xfs y rw\n"
    )
    assert node.look(TMPDIR=str(place)).scratch.path != str(place)
    (seen,) = [
        disk.look(str(place), parse_system.mounts((node.root / "proc/self/mountinfo").read_bytes()))
    ]
    assert seen is not None and seen.is_shared
    assert disk.look(str(node.root / "none"), ()) is None


def test_gpus_are_asked_for_only_where_there_are_devices(node: Copy) -> None:
    node.tool("nvidia-smi", f"touch {node.root}/asked; {printing('h200.csv')}")
    assert node.look().gpus == () and not (node.root / "asked").exists()
    node.file("dev/nvidia0", "")
    node.file("sys/bus/pci/devices/0000:83:00.0/numa_node", "1\n")
    (gpu,) = node.look().gpus
    assert (gpu.model, gpu.numa, gpu.memory_mib) == ("NVIDIA H200", 1, 143_771)


def test_a_driver_that_does_not_know_a_column_is_asked_for_xml_and_mig_for_its_list(
    node: Copy,
) -> None:
    node.file("dev/nvidia0", "")
    node.tool(
        "nvidia-smi",
        f'case "$1" in --query*) exit 2;; -q) {printing("a100-mig.xml")};; '
        f"-L) {printing('a100-mig.list')};; esac",
    )
    everything = node.look()
    assert [one.mig for one in everything.gpus] == ["1g.20gb", "1g.20gb", "2g.40gb"]
    assigned = node.look(CUDA_VISIBLE_DEVICES=f"{INSTANCE}2", **SLURM)
    assert [one.uuid for one in assigned.gpus] == [f"{INSTANCE}2"] and assigned.notes == ()
    assert A100 not in [one.uuid for one in everything.gpus]


def test_gpus_of_both_makers_are_found(node: Copy) -> None:
    node.file("dev/nvidia0", "")
    node.file("dev/kfd", "")
    node.tool("nvidia-smi", printing("geforce.csv"))
    node.tool("rocm-smi", printing("mi100.json"))
    assert [one.vendor for one in node.look().gpus] == ["nvidia", "nvidia", "amd", "amd"]


@pytest.mark.parametrize("script", ["exit 9", "echo NVIDIA-SMI has failed", "printf '\\377\\0'"])
def test_a_tool_that_fails_leaves_no_gpu_and_a_word(node: Copy, script: str) -> None:
    node.file("dev/nvidia0", "")
    node.tool("nvidia-smi", script)
    found = node.look()
    assert found.gpus == () and any("GPUs not used" in note for note in found.notes)


def test_a_tool_that_is_missing_leaves_a_word(node: Copy) -> None:
    node.file("dev/kfd", "")
    assert any("rocm-smi" in note for note in node.look().notes)


def test_a_tool_that_hangs_is_left_behind(node: Copy) -> None:
    node.tool("stuck", "exec sleep 60")
    began_s = time.monotonic()
    with pytest.raises(gpus.ToolFailed, match=r"0\.2 s"):
        gpus.run("stuck", (), f"{node.tools}:/usr/bin:/bin", limit_s=0.2)
    assert time.monotonic() - began_s < 30


def test_numbers_that_may_name_other_devices_are_warned_of(node: Copy) -> None:
    node.file("dev/nvidia0", "")
    node.tool("nvidia-smi", printing("geforce.csv"))
    assert any("PCI_BUS_ID" in one for one in node.look(CUDA_VISIBLE_DEVICES="0,1").notes)
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert node.look(CUDA_VISIBLE_DEVICES="0,1", **order).notes == ()


def test_people_read_every_fact_and_unbound_cores_are_said(node: Copy) -> None:
    node.file("dev/nvidia0", "")
    node.tool("nvidia-smi", printing("h200.csv"))
    lines = dict(shown.lines(node.look(**SLURM, SLURM_CPUS_ON_NODE="2", SLURM_JOB_GPUS="0")))
    assert lines["cores"].startswith("2 of cpus 0-3, 2 NUMA nodes; shared with others")
    assert "NVIDIA H200" in lines["gpu"] and lines["batch job"].startswith("slurm 77")
    assert lines["allocation"] == "ends 2027-01-15T08:00:00+00:00"


@pytest.mark.programs
def test_the_command_shows_this_node() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bundle.cli", "pilot", "node", "--json"],
        capture_output=True,
        timeout=60,
        check=True,
        env=os.environ | {"SLURM_JOB_ID": "5", "SLURM_CPUS_ON_NODE": "1"},
    )
    told = json.loads(done.stdout)
    assert told["cpu_milli"] == 1000 and told["batch_id"] == "5" and told["memory_mib"] > 0
