"""What HTCondor is given: the description of a submission, and a pilot's script. Pure.

Everything that holds a person's text stands in the script, quoted for a shell; the description
holds names that were checked, and paths. An attribute of the job carries the submission's name.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from site_adapters import shell
from site_adapters.contract import PilotRequest
from site_adapters.htcondor import codes

PARCEL = "parcel.tar"
INPUTS = "inputs"  # in a parcel: names of files that need not come back, a line each
SPOOL = "spool"  # in a parcel: the spool that the pilot works on
BACK = ("sealed", "claimed", "data")  # folders of that spool that come back, by these names
LOG = "claimed/log"  # in that spool
EVER_S = 7 * 86_400  # so long an ended job stays in the queue, until what it made is fetched


@dataclass(frozen=True, slots=True)
class Batch:
    """What a site's operator decides about batch jobs. Empty and 0: the pool's default.

    `exclusive`: the whole slot of a machine. `vacate_s`: so long a pilot may take to end in order.
    `carries`: no shared filesystem. `options` are lines of a submit description as they are.
    """

    walltime_s: int = 0
    account: str = ""
    requirements: str = ""
    cpus: int = 0
    memory_mib: int = 0
    disk_mib: int = 0
    gpus: int = 0
    exclusive: bool = True
    requeue: bool = False
    vacate_s: int = 60
    carries: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of a submission lie, on the machine that submits."""

    script: str
    events: str
    log: str  # may hold $(ProcId)
    back: str = ""  # the folder that what comes back arrives in
    parcel: str = ""


def describe(request: PilotRequest, batch: Batch, home: str, places: Places) -> dict[str, str]:
    """Return the submit description; `home` tells whose submissions these are."""
    attributes = {
        "PulkName": _quoted(request.name),
        "PulkHome": _quoted(home),
        "PulkJobs": str(request.jobs),
        "PulkCarries": str(batch.carries).lower(),
        "PulkRequeue": str(batch.requeue).lower(),
    }
    told = {
        "universe": "vanilla",
        "executable": _path(places.script),
        "arguments": "$(ProcId)",
        "batch_name": request.name,
        "log": _path(places.events),
        "notification": "never",
        "want_graceful_removal": "true",
        "job_max_vacate_time": str(batch.vacate_s) if batch.vacate_s else "",
        "accounting_group": batch.account,
        "request_disk": f"{batch.disk_mib}M" if batch.disk_mib else "",
        "request_gpus": str(batch.gpus) if batch.gpus else "",
        "requirements": " && ".join(_requirements(batch)),
        **_size(batch),
        **_walltime(batch.walltime_s),
        **(_carried(places) if batch.carries else _shared(request, places)),
    }
    told |= {f"My.{name}": value for name, value in attributes.items()}
    for line in batch.options:
        name, _, value = line.partition("=")
        told[name.strip()] = value.strip()
    return {name: value for name, value in told.items() if value}


def _size(batch: Batch) -> dict[str, str]:
    """Return what is asked of a machine: all that its slot has, where nothing else is said."""
    cpus, memory = str(batch.cpus or ""), str(batch.memory_mib or "")
    if batch.exclusive:
        cpus = cpus or "TotalSlotCpus"
        memory = memory or "TotalSlotMemory"
    return {"request_cpus": cpus, "request_memory": memory}


def _walltime(walltime_s: int) -> dict[str, str]:
    if not walltime_s:
        return {}
    ran = "time() - JobCurrentStartExecutingDate"
    return {
        "allowed_execute_duration": str(walltime_s),
        "periodic_hold": f"JobStatus == 2 && {ran} > {walltime_s}",
        "periodic_hold_reason": '"its walltime is over"',
        "periodic_hold_subcode": str(codes.WALLTIME_SUBCODE),
    }


def _requirements(batch: Batch) -> list[str]:
    found = [f"({batch.requirements})"] if batch.requirements else []
    if batch.exclusive:
        # Nobody else's job may be in the slot: all that it ever had is free.
        found.append("(TARGET.Cpus >= TARGET.TotalSlotCpus)")
    if not batch.requeue:  # a pilot that was evicted is over; the relay starts another
        found.append("(MY.NumJobStarts =?= undefined || MY.NumJobStarts == 0)")
    return found


def _shared(request: PilotRequest, places: Places) -> dict[str, str]:
    return {
        "should_transfer_files": "NO",
        "transfer_executable": "false",
        "initialdir": _path(str(request.folder)),
        "output": _path(places.log, keeps="$(ProcId)"),
        "error": "/dev/null",
    }


def _carried(places: Places) -> dict[str, str]:
    """Return how a parcel travels; an ended job stays in the queue until its files are fetched."""
    return {
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT_OR_EVICT",
        "transfer_executable": "true",
        "initialdir": _path(places.back),
        "transfer_input_files": _path(places.parcel),
        "transfer_output_files": ",".join(f"{SPOOL}/{one}" for one in BACK),
        # Not here: an eviction does not bring them, and then nothing could be fetched.
        "output": "/dev/null",
        "error": "/dev/null",
        "leave_in_queue": "(JobStatus == 3 || JobStatus == 4) && "
        f"time() - EnteredCurrentStatus < {EVER_S}",
    }


def script(request: PilotRequest, batch: Batch, environment: Sequence[tuple[str, str]] = ()) -> str:
    """Return the script of a pilot, for any POSIX shell; its argument is the job's number.

    `environment` is what a pilot that shares the relay's filesystem has from the relay.
    """
    lines = [
        "#!/bin/sh",
        f"# {request.name}: a pilot",
        "umask 077",
        "exec 2>&1",
        'starts=$(sed -n "s/^NumJobStarts *= *//p" "${_CONDOR_JOB_AD:-/dev/null}")',
        f'batch_id="htcondor:{request.name}:$1:${{starts:-0}}"',
        'export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"',
    ]
    lines += [
        f"export {name}={shlex.quote(value)}"
        for name, value in (*environment, *request.environment)
    ]
    if batch.walltime_s:
        lines.append(f"export PULK_ALLOCATION_END=$(($(date +%s) + {batch.walltime_s}))")
    pilot = shell.command(request.argv, "batch_id")
    if not batch.carries:
        return "\n".join([*lines, f"exec {pilot}", ""])
    return "\n".join([*lines, *_UNPACK, f"{pilot} &", *_END, ""])


# What comes back is laid where HTCondor looks for it before anything else may fail.
_UNPACK = (
    'export HOME="$PWD"',
    f"mkdir -p {' '.join(f'{SPOOL}/{one}' for one in BACK)}",
    f"exec >{SPOOL}/{LOG} 2>&1",
    f"tar -xf {PARCEL} && rm -f {PARCEL} || exit 3",
    'pilot=; trap \'[ -z "$pilot" ] || kill -TERM "$pilot" 2>/dev/null\' TERM',
)
_END = (
    "pilot=$!",
    'wait "$pilot"; status=$?',
    'while kill -0 "$pilot" 2>/dev/null; do wait "$pilot"; status=$?; done',
    f'while read -r name; do rm -f "{SPOOL}/data/$name"; done <{INPUTS}',
    'exit "$status"',
)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(text: str, keeps: str = "") -> str:
    """Return a path for a description, in which `$` begins a macro; `keeps` is one that stays."""
    head, found, tail = text.partition(keeps) if keeps else (text, "", "")
    return head.replace("$", "$(DOLLAR)") + found + tail.replace("$", "$(DOLLAR)")
