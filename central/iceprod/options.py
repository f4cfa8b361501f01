"""The options of a task: what the config says, what IceProd adds, and its defaults."""

from __future__ import annotations

from typing import Any

from central.iceprod.model import Config, Task

DEFAULT_OPTIONS: dict[str, Any] = {
    "dataset": 0,
    "job": 0,
    "jobs_submitted": 1,
    "resource_url": "http://prod-exe.icecube.wisc.edu/",
    "data_url": "gsiftp://gridftp.icecube.wisc.edu/",
    "svn_repository": "http://code.icecube.wisc.edu/svn/",
    "site_temp": "osdf:///icecube/wipac/scratch/simprod",
    "dataset_temp": "$(site_temp)/$(dataset)",
    "job_temp": "$(site_temp)/$(dataset)/$(job)",
}


def options_of(
    config: Config, task: Task, number: int, job: int | str, jobs: int | str
) -> dict[str, Any]:
    """Return the options of a task of a job: the config's own, what IceProd adds, its defaults."""
    own = {"dataset": number, "job": job, "jobs_submitted": jobs, "task": task.name}
    return DEFAULT_OPTIONS | dict(config.options) | own | {"debug": False}
