"""`pulk dataset tasks`, `jobs` and `attempts`: which there are, how they stand; one in full."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundle.cli.progress import each
from bundle.fates import Fate
from central.cli import shown_tasks
from central.cli.asking import asking, client_of, full_id, rows, show_answer, step_no

if TYPE_CHECKING:
    from bundle.client import Client

VERDICTS = ("held", "ready", "leased", "done", "failed", "cancelled", "removed")
FATES = tuple(one.value for one in Fate)
LIMIT = 100
_limit = click.option(
    "--limit", type=click.IntRange(0), default=LIMIT, show_default=True, help="0: all."
)
_central = asking(required=True)


@click.command()
@click.argument("dataset_id")
@click.argument("job", type=click.IntRange(0), required=False)
@click.argument("step", required=False)
@click.option("--step", "of_step", help="Of this step only, by name or index.")
@click.option("--verdict", type=click.Choice(VERDICTS), help="Only those that stand so.")
@click.option("--logs", is_flag=True, help="With JOB and STEP: what its newest attempts wrote.")
@_limit
@_central
def tasks(
    *,
    dataset_id: str,
    job: int | None,
    step: str | None,
    of_step: str | None,
    verdict: str | None,
    logs: bool,
    limit: int,
    central: str,
    token_file: Path,
    as_json: bool,
) -> None:
    """List tasks; with JOB those of a job, with JOB and STEP all that is known of one."""
    client = client_of(central, token_file)
    full = full_id(client, dataset_id)
    if logs and (job is None or step is None):
        raise click.UsageError("--logs goes with JOB and STEP")
    if job is not None and step is not None and logs:
        wrote = client.get(f"/datasets/{full}/tasks/{job}/{step_no(client, full, step)}/logs")
        words = "" if as_json else shown_tasks.logs(wrote["attempts"])
        show_answer(wrote, as_json, words if wrote["complete"] else words + shown_tasks.OLDER)
        return
    if job is not None and step is not None:
        answer = client.task(full, job, step_no(client, full, step))
        show_answer(answer, as_json, "" if as_json else shown_tasks.task(answer))
        return
    number = None if of_step is None else step_no(client, full, of_step)
    bounds = {} if job is None else {"first": job, "last": job}
    asked = {"step": number, "verdict": verdict, **bounds}
    found = client.lines(f"/datasets/{full}/tasks", **asked)
    listed = list(islice(found, limit or None))
    names = {} if as_json else _names(client.counts(full))
    words = "" if as_json else shown_tasks.tasks(listed, names, _more(listed, limit))
    show_answer({"dataset": full, "tasks": listed}, as_json, words)


@click.command()
@click.argument("dataset_id")
@click.option("--state", type=click.Choice(VERDICTS), help="Only those that stand so.")
@_limit
@_central
def jobs(
    *,
    dataset_id: str,
    state: str | None,
    limit: int,
    central: str,
    token_file: Path,
    as_json: bool,
) -> None:
    """List jobs with how each of their steps stands."""
    client = client_of(central, token_file)
    full = full_id(client, dataset_id)
    found = client.pages(f"/datasets/{full}/jobs", "jobs", state=state)
    listed = list(islice(found, limit or None))
    words = "" if as_json else shown_tasks.jobs(listed, _more(listed, limit))
    show_answer({"dataset": full, "jobs": listed}, as_json, words)


@click.command()
@click.argument("dataset_id")
@click.option("--step", help="Name or index of the step.")
@click.option("--job", type=click.IntRange(0), help="Index of the job.")
@click.option("--fate", type=click.Choice(FATES), help="Only attempts that ended this way.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True)
@click.option("--after", help="Go on after this attempt.")
@click.option("--logs", is_flag=True, help="What each of them wrote, in place of the table.")
@_central
def attempts(
    *,
    dataset_id: str,
    step: str | None,
    logs: bool,
    central: str,
    token_file: Path,
    as_json: bool,
    **asked: str | int | None,
) -> None:
    """List attempts: when, where, how each ended and why, what it used; --json has all of it."""
    client = client_of(central, token_file)
    full = full_id(client, dataset_id)
    asked["step"] = None if step is None else step_no(client, full, step)
    answer = client.get(f"/datasets/{full}/attempts", detail="true", **asked)
    listed = rows(answer, "attempts")
    if logs:
        _add_logs(client, full, listed)
    if as_json:
        show_answer(answer, as_json, "")
        return
    show = shown_tasks.logs if logs else shown_tasks.attempts
    more = f"\nthere may be more: --after {answer['next']}" if answer["next"] is not None else ""
    click.echo(show(listed, _names(client.counts(full))) + more)


def _add_logs(client: Client, dataset: str, listed: list[dict[str, Any]]) -> None:
    """Say of each attempt what it wrote; nil where that is not among its task's newest."""
    tasks = dict.fromkeys((one["job"], one["step"]) for one in listed)
    wrote: dict[int, str] = {}
    for job, step in each(list(tasks), "logs"):
        answer = client.get(f"/datasets/{dataset}/tasks/{job}/{step}/logs")
        wrote |= {one["no"]: one["log"] for one in answer["attempts"]}
    for one in listed:
        one["log"] = wrote.get(one["no"])


def _names(counted: list[dict[str, Any]]) -> dict[int, str]:
    return {int(one["step"]): str(one["name"]) for one in counted}


def _more(listed: list[Any], limit: int) -> str:
    return "\nthere may be more: --limit 0 lists all" if limit and len(listed) == limit else ""
