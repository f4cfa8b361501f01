"""What is given to sbatch: its options, and the script that starts a pilot on every node. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from site_adapters import shell
from site_adapters.contract import PilotRequest


@dataclass(frozen=True, slots=True)
class Batch:
    """What a site's operator decides about batch jobs. Empty and 0: the scheduler's default.

    `nodes`: of each batch job. `signal_s`: so long before its end a pilot gets SIGTERM.
    `options` are given to sbatch as they are.
    """

    nodes: int = 1
    walltime_s: int = 0
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""
    reservation: str = ""
    cpus: int = 0
    memory_mib: int = 0
    exclusive: bool = True
    requeue: bool = False
    signal_s: int = 60
    options: tuple[str, ...] = ()


def batch_id(name: str, job: int, node: int, restart: int) -> str:
    """Return the batch id of one start of one pilot: `slurm:NAME:JOB:NODE:RESTART`."""
    return f"slurm:{name}:{job}:{node}:{restart}"


def parse_batch_id(text: str) -> tuple[str, int, int, int] | None:
    """Return name, job, node and restart of a batch id; None where it is none of ours."""
    kind, *rest = text.split(":")
    if kind != "slurm" or len(rest) != 4 or not all(one.isdecimal() for one in rest[1:]):
        return None
    return rest[0], int(rest[1]), int(rest[2]), int(rest[3])


def options(request: PilotRequest, batch: Batch, comment: str, log: str) -> list[str]:
    """Return sbatch's options; `log` may hold Slurm's own `%a`."""
    minutes = -(-batch.walltime_s // 60)
    # With steps the signal goes to them, not to the shell; without, the pilot is the shell.
    signal = f"{'B:' if batch.nodes == 1 else ''}TERM@{batch.signal_s}"
    told = {
        "job-name": request.name,
        "comment": comment,
        "array": f"0-{request.jobs - 1}",
        "nodes": str(batch.nodes),
        "ntasks-per-node": "1",
        "chdir": str(request.folder),
        "output": log,
        "open-mode": "append",
        "signal": signal if batch.signal_s else "",
        "time": str(minutes) if minutes else "",
        "partition": batch.partition,
        "account": batch.account,
        "qos": batch.qos,
        "constraint": batch.constraint,
        "gres": batch.gres,
        "reservation": batch.reservation,
        "cpus-per-task": str(batch.cpus) if batch.cpus else "",
        "mem": str(batch.memory_mib) if batch.memory_mib else "0" if batch.exclusive else "",
    }
    found = [f"--{name}={value}" for name, value in told.items() if value]
    found += ["--exclusive"] if batch.exclusive else []
    found += ["--no-kill"] if batch.nodes > 1 else []
    return [*found, "--requeue" if batch.requeue else "--no-requeue", *batch.options]


def script(request: PilotRequest, batch: Batch) -> str:
    """Return the batch script, for any POSIX shell."""
    lines = [
        "#!/bin/sh",
        f"# {request.name}: one pilot on each node of this allocation",
        "umask 077",
    ]
    if batch.walltime_s:  # Slurm tells a batch job its end from 23.02 on
        end = f"${{SLURM_JOB_END_TIME:-$(($(date +%s) + {batch.walltime_s}))}}"
        lines.append(f'export SLURM_JOB_END_TIME="{end}"')
    lines += [f"export {name}={shlex.quote(value)}" for name, value in request.environment]
    pilot = (
        f'PULK_BATCH_ID="slurm:{request.name}:$SLURM_ARRAY_TASK_ID:'
        '${SLURM_PROCID:-0}:${SLURM_RESTART_COUNT:-0}"\n'
        f"exec {shell.command(request.argv, 'PULK_BATCH_ID')}"
    )
    if batch.nodes == 1:
        return "\n".join([*lines, "SLURM_PROCID=0", pilot, ""])
    cpus = [f"--cpus-per-task={batch.cpus}"] if batch.cpus else []
    step = [
        "srun", f"--nodes={batch.nodes}", f"--ntasks={batch.nodes}", "--ntasks-per-node=1",
        "--no-kill", "--kill-on-bad-exit=0", "--input=none", "--unbuffered", *cpus,
        "/bin/sh", "-c", pilot,
    ]  # fmt: skip
    # The steps hear every signal themselves; the shell only has to outlive them.
    return "\n".join([*lines, "trap : TERM", f"{shlex.join(step)} &", *_WAIT, ""])


_WAIT = (
    "step=$!",
    'wait "$step"; status=$?',
    'while kill -0 "$step" 2>/dev/null; do wait "$step"; status=$?; done',
    'exit "$status"',
)
