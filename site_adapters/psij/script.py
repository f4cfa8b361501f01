"""What runs on a node: one shell script for each pilot, which marks its start and its end. Pure.

Whoever makes the folder of the claim decides, once for ever: the script, and the pilot starts; or
the adapter, and it never will, however late the scheduler comes to it. So what a scheduler starts
a second time is no second pilot either.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from site_adapters import shell
from site_adapters.contract import PilotRequest
from site_adapters.psij.records import batch_id

CLAIM, BEGAN, ENDED, SCRIPT, SUBMIT = ".claim", ".began", ".ended", ".sh", ".submit"
_IDS = "${SLURM_JOB_ID:-${PBS_JOBID:-${LSB_JOBID:-${COBALT_JOBID:-}}}}"


@dataclass(frozen=True, slots=True)
class Batch:
    """What a site's operator decides about batch jobs. Empty and 0: the scheduler's default.

    `scheduler` is the name of PSI/J's executor. `options` are PSI/J's custom attributes, as
    `pbs.l=software=1`.
    """

    scheduler: str
    walltime_s: int
    queue: str = ""
    account: str = ""
    reservation: str = ""
    cpus: int = 0
    memory_mib: int = 0
    gpus: int = 0
    exclusive: bool = True
    options: tuple[str, ...] = ()


def script(request: PilotRequest, batch: Batch, job: int, files: Path, log: Path) -> str:
    """Return a pilot's script, for any POSIX shell; `files`: the folder of its marks."""

    def place(suffix: str) -> str:
        return shlex.quote(str(files / f"{job}{suffix}"))

    def mark(text: str, suffix: str) -> str:
        part = place(f"{suffix}.part")
        return f'printf "%s\\n" "{text}" > {part} && mv {part} {place(suffix)}'

    lines = [
        "#!/bin/sh",
        f"# {request.name}: pilot {job}",
        "umask 077",
        f"mkdir {place(CLAIM)} || exit 75",
        f"exec >> {shlex.quote(str(log))} 2>&1 < /dev/null",
        mark(_IDS, BEGAN),
        f'export PULK_ALLOCATION_END="$(($(date +%s) + {batch.walltime_s}))"',
        *(f"export {name}={shlex.quote(value)}" for name, value in request.environment),
        f"BATCH_ID={shlex.quote(batch_id(request.name, job))}",
        f"cd {shlex.quote(str(request.folder))} || exit 71",
        f"{shell.command(request.argv, 'BATCH_ID')} &",
        *_WAIT,
        mark("$status", ENDED),
        'exit "$status"',
        "",
    ]
    return "\n".join(lines)


# These schedulers signal all processes of a batch job: the pilot hears them itself, and to hear
# twice would cost its tasks their time for checkpoints. The shell only has to outlive them.
_WAIT = (
    "pilot=$!",
    "trap : TERM INT",
    'wait "$pilot"; status=$?',
    'while kill -0 "$pilot" 2>/dev/null; do wait "$pilot"; status=$?; done',
)
