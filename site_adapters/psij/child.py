"""Speaks to a scheduler by PSI/J's batch executors, in a process of its own that may be killed.

Reads one JSON document from standard input and writes one to standard output. Of PSI/J only what
its subclasses use is used: scripts, commands and the reading of their output. Its threads that
watch a queue, and its files of exit codes, would not outlast a tick.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

MISSING = 3  # exit status: there is no PSI/J
NOT_RUN = 4  # exit status: the scheduler's program is not there, so that nothing can have happened


def main() -> int:
    """Obey one order. Returns the exit status; what went wrong is on standard error."""
    order: dict[str, Any] = json.load(sys.stdin)
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever PSI/J prints is no answer
    try:
        import psij
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return MISSING
    try:
        said = _ORDERS[order.pop("order")](psij, **order)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return NOT_RUN
    except Exception as error:  # its kinds differ between versions
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    with os.fdopen(answer, "w") as file:
        json.dump(said, file)
    return 0


def _executor(psij: Any, scheduler: str, folder: str) -> Any:
    """Make an executor. It keeps what it writes in a folder of its own below `folder`."""
    config = psij.JobExecutorConfig(work_directory=Path(folder))
    return psij.JobExecutor.get_instance(scheduler, config=config)


def _job(psij: Any, scheduler: str, script: str, batch: dict[str, Any]) -> Any:
    cpus = batch["cpus"] or None
    # PSI/J tells PBS and LSF no cores of a process; of processes there is one, which has them all
    by_processes = scheduler != "slurm"
    resources = psij.ResourceSpecV1(
        node_count=1,
        processes_per_node=(cpus or 1) if by_processes else 1,
        cpu_cores_per_process=None if by_processes else cpus,
        gpu_cores_per_process=batch["gpus"] or None,
        exclusive_node_use=batch["exclusive"],
        memory=(batch["memory_mib"] << 20) or None,
    )
    attributes = psij.JobAttributes(
        duration=timedelta(seconds=batch["walltime_s"]),
        queue_name=batch["queue"] or None,
        account=batch["account"] or None,
        reservation_id=batch["reservation"] or None,
        custom_attributes=dict(each.split("=", 1) for each in batch["options"]),
    )
    spec = psij.JobSpec(
        executable="/bin/sh", arguments=[script], attributes=attributes, resources=resources
    )
    return psij.Job(spec)


def _write(
    psij: Any, scheduler: str, folder: str, script: str, submit: str, batch: dict[str, Any]
) -> Any:
    """Write the script for the scheduler; return the executor.

    Its shell becomes the pilot's: a signal then finds the shell that waits for the pilot.
    """
    executor = _executor(psij, scheduler, folder)
    executor.work_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    context = executor._create_script_context(_job(psij, scheduler, script, batch))
    context["psij"]["launch_command"] = ["exec", "/bin/sh", script]
    with Path(submit).open("w") as file:
        executor.generate_submit_script(context["job"], context, file)
    return executor


def _submit(psij: Any, submit: str, **told: Any) -> str:
    executor = _write(psij, submit=submit, **told)
    done = _run(executor.get_submit_command(None, Path(submit)))
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:])
    try:
        return str(executor.job_id_from_submit_output(done.stdout)).strip()
    except Exception:  # it is taken all the same; its own mark will name it
        return ""


def _shown(psij: Any, submit: str, **told: Any) -> str:
    """Return the script that would be submitted."""
    _write(psij, submit=submit, **told)
    return Path(submit).read_text()


def _look(psij: Any, scheduler: str, folder: str, ids: list[str]) -> dict[str, Any]:
    done = _run(_executor(psij, scheduler, folder).get_status_command(ids))
    try:
        return _read(psij, scheduler, folder, done.returncode, done.stdout)
    except ValueError as error:
        raise ValueError(f"{error}: {done.stderr.strip()[-200:]}") from error


def _read(
    psij: Any, scheduler: str, folder: str, status: int, output: str
) -> dict[str, tuple[str, str]]:
    """Return word and message of each batch job; one that PSI/J can't read has the word `?`."""
    from site_adapters.psij import reading

    executor = _executor(psij, scheduler, folder)
    found: dict[str, tuple[str, str]] = {}
    for row in reading.rows(scheduler, status, output):
        try:
            read = executor.parse_status_output(0, row)
        except Exception as error:  # assertions and keys that are not there, mostly
            found |= {name: ("?", f"{type(error).__name__} {error}") for name in _names(row)}
            continue
        found |= {str(name): (one.state.name, one.message or "") for name, one in read.items()}
    return found


def _names(row: str) -> list[str]:
    """Return the ids in a row that could not be read."""
    try:
        said = json.loads(row)
        return list(said.get("Jobs", {})) + [one["JOBID"] for one in said.get("RECORDS", [])]
    except ValueError:
        return row.splitlines()[-1].split()[:1]


def _cancel(psij: Any, scheduler: str, folder: str, ids: list[str]) -> list[str]:
    """Cancel each; return what was said of those where it did not work."""
    executor = _executor(psij, scheduler, folder)
    done = [_run(executor.get_cancel_command(each)) for each in ids]
    return [one.stderr.strip()[-200:] for one in done if one.returncode]


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


_ORDERS: dict[str, Callable[..., Any]] = {
    "submit": _submit,
    "show": _shown,
    "look": _look,
    "read": _read,
    "cancel": _cancel,
}

if __name__ == "__main__":
    sys.exit(main())
