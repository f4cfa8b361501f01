"""What Slurm, HTCondor and others told a batch job, from its environment and its ClassAds. Pure.

Only what the scheduler wrote about this batch job on this node counts. Nobody is asked again: a
query from each node is a flood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pilot.core.node import Batch, least
from pilot.discovery.parse_system import classad, number

END_S = "PULK_ALLOCATION_END"  # UTC seconds: for a batch script whose scheduler does not tell
TOLD_MASKS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_SCRATCH = ("PULK_SCRATCH", "SLURM_TMPDIR", "_CONDOR_SCRATCH_DIR", "PBS_JOBDIR", "TMPDIR")
_KIB_PER_MIB = 1024
_YEAR_2000_S, _YEAR_3000_S = 946_684_800, 32_503_680_000
_DEVICE = re.compile(r"(?:CUDA|OCL)([0-9]{1,4})", re.ASCII)


def batch(environment: Mapping[str, str], machine_ad: bytes = b"", job_ad: bytes = b"") -> Batch:
    """Return what is known of the batch job that this process is part of."""
    if "SLURM_JOB_ID" in environment:
        return _slurm(environment)
    if "_CONDOR_MACHINE_AD" in environment or "_CONDOR_JOB_AD" in environment:
        return _condor(environment, classad(machine_ad), classad(job_ad))
    for scheduler, name, cpus in (("pbs", "PBS_JOBID", "NCPUS"), ("lsf", "LSB_JOBID", "")):
        if name in environment:
            return _made(environment, scheduler, environment[name], cpus=_count(environment, cpus))
    return _made(environment, "", "", gpus=mask(environment))


def mask(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the devices that a mask names, None without a mask.

    As CUDA reads it: the list ends at the first thing that names no device, as `-1` or `none`.
    """
    for name in TOLD_MASKS:
        if name in environment:
            return _devices(environment[name])
    if environment.get("NVIDIA_VISIBLE_DEVICES", "all") not in ("all", ""):
        return _devices(environment["NVIDIA_VISIBLE_DEVICES"])
    return None


def _slurm(environment: Mapping[str, str]) -> Batch:
    cpus = _count(environment, "SLURM_CPUS_ON_NODE")
    memory = _count(environment, "SLURM_MEM_PER_NODE")
    if not memory and cpus:
        memory = cpus * _count(environment, "SLURM_MEM_PER_CPU")
    gpus = mask(environment)
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        if gpus is None and name in environment:
            gpus = _devices(environment[name])
    batch_id = environment["SLURM_JOB_ID"]
    array, place = (environment.get(f"SLURM_ARRAY_{one}", "") for one in ("JOB_ID", "TASK_ID"))
    if array and place:
        batch_id = f"{array}_{place}"
    return _made(
        environment,
        "slurm",
        batch_id,
        restarts=_count(environment, "SLURM_RESTART_COUNT"),
        cpus=cpus,
        memory_mib=memory,
        end_s=_count(environment, "SLURM_JOB_END_TIME"),
        gpus=gpus,
    )


def _condor(
    environment: Mapping[str, str],
    machine: Mapping[str, str | int | float],
    job: Mapping[str, str | int | float],
) -> Batch:
    batch_id = ""
    if isinstance(job.get("clusterid"), int) and isinstance(job.get("procid"), int):
        batch_id = f"{job['clusterid']}.{job['procid']}"
    starts = [_of(job, "jobcurrentstartexecutingdate"), _of(job, "jobcurrentstartdate")]
    ends = [_of(machine, "glidein_todie")]
    for start, limit in zip(starts, ("allowedexecuteduration", "allowedjobduration"), strict=True):
        if start and _of(job, limit):
            ends.append(start + _of(job, limit))
    gpus = mask(environment)
    told = environment.get("_CONDOR_AssignedGPUs", machine.get("assignedgpus"))
    if isinstance(told, str):  # says the same as the mask, in names that may be UUIDs
        gpus = _devices(told)
    return _made(
        environment,
        "htcondor",
        batch_id,
        restarts=_of(job, "numjobstarts"),
        cpus=_of(machine, "cpus") or _count(environment, "OMP_NUM_THREADS"),
        memory_mib=_of(machine, "memory"),
        disk_bytes=_of(machine, "disk") * _KIB_PER_MIB,
        end_s=least(*ends),
        gpus=gpus,
    )


def _made(
    environment: Mapping[str, str],
    scheduler: str,
    batch_id: str,
    *,
    restarts: int = 0,
    cpus: int = 0,
    memory_mib: int = 0,
    disk_bytes: int = 0,
    end_s: int = 0,
    gpus: tuple[str, ...] | None = None,
) -> Batch:
    notes = []
    told_s = _count(environment, END_S)
    ends_s = [one for one in (told_s, end_s) if _YEAR_2000_S < one < _YEAR_3000_S]
    if (told_s or end_s) and not ends_s:
        notes.append("the end of the allocation that is told is no date of our times")
    if scheduler and not ends_s:
        notes.append(f"{scheduler} does not tell when the allocation ends; {END_S} can")
    if gpus is None and scheduler:
        gpus = mask(environment)
    return Batch(
        scheduler=scheduler,
        batch_id=_printable(batch_id),
        restarts=restarts,
        cpus=cpus,
        memory_mib=memory_mib,
        disk_bytes=disk_bytes,
        end_us=min(ends_s, default=0) * 1_000_000,
        gpus=gpus,
        scratch=tuple(dict.fromkeys(environment[one] for one in _SCRATCH if environment.get(one))),
        notes=tuple(notes),
    )


def _devices(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for part in text.split(","):
        matched = _DEVICE.fullmatch(part.strip())
        word = matched[1] if matched else part.strip()
        is_uuid = word.upper().startswith(("GPU-", "MIG-"))
        if not word.isprintable() or not (is_uuid or number(word) >= 0):
            break
        found.append(word)
    return tuple(dict.fromkeys(found))


def _count(environment: Mapping[str, str], name: str) -> int:
    return _bounded(number(environment.get(name, "")))


def _of(ad: Mapping[str, str | int | float], name: str) -> int:
    value = ad.get(name, 0)
    return _bounded(int(value)) if isinstance(value, (int, float)) else 0


def _bounded(value: int) -> int:
    return value if 0 <= value < 1 << 50 else 0


def _printable(text: str) -> str:
    return "".join(one for one in text if one.isprintable())[:128]
