"""`pulk dataset outputs`: what tasks put out, where it lies, and the files that came home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from bundle.cli.progress import each
from bundle.errors import PulkError
from central.cli import shown_tasks
from central.cli.asking import asking, client_of, full_id, show_answer, step_no

if TYPE_CHECKING:
    from bundle.client import Client

LIMIT = 1000


class NotHere(PulkError):
    """Some outputs did not travel home: others consumed them, and the document keeps them not.

    They lie at the site that made them, under their digest, as long as it has room.
    """

    code = "outputs-not-here"
    what = "{count} of {all} outputs did not travel home: {some}"
    remedy = 'keep such an output in the document ({{"name": ..., "keep": true}}), reset its tasks'


@click.command()
@click.argument("task", metavar="DATASET[/JOB[/STEP]]")
@click.option("--step", help="Only of this step, by name or index.")
@click.option(
    "--limit", type=click.IntRange(0), default=LIMIT, show_default=True, help="Tasks; 0: all."
)
@click.option(
    "--to", type=click.Path(path_type=Path), help="Fetch into this folder, as STEP/JOB/NAME."
)
@asking(required=True)
def outputs(
    *,
    task: str,
    step: str | None,
    limit: int,
    to: Path | None,
    central: str,
    token_file: Path,
    as_json: bool,
) -> None:
    """List what tasks put out: name, size, digest, and where it is; with --to fetch it."""
    client = client_of(central, token_file)
    found = list(_outputs(client, task, step, limit))
    away = [one for one in found if one["bundle"] is None]
    if to is not None:
        for one in each(found, "files"):
            if one["bundle"] is not None:
                place = to / one["step"] / str(one["job"]) / _inside(one["name"])
                client.save_file(one["sha256"], place)
                one["file"] = str(place)
    show_answer({"outputs": found}, as_json, "" if as_json else shown_tasks.outputs(found))
    is_asked_for = step is not None or "/" in task  # else what steps pass on is left out quietly
    if to is not None and away and (is_asked_for or len(away) == len(found)):
        some = ", ".join(f"{one['task']} {one['name']}" for one in away[:3])
        raise NotHere(count=len(away), all=len(found), some=some)


def _outputs(client: Client, task: str, step: str | None, limit: int) -> Iterator[dict[str, Any]]:
    for dataset, job, number in each(list(_tasks(client, task, step, limit)), "tasks"):
        story = client.task(dataset, job, number)
        for one in story["outputs"]:
            about = {"task": story["task"], "job": job, "step": story["name"], **one}
            yield about | {"site": story["site"]}


def _tasks(
    client: Client, task: str, step: str | None, limit: int
) -> Iterator[tuple[str, int, int]]:
    of, _, rest = task.partition("/")
    job, _, place = rest.partition("/")
    if rest and not job.isdecimal():
        raise click.BadParameter(f"{task!r} is not dataset/job/step", param_hint="TASK")
    dataset = full_id(client, of)
    given = place or step
    number = None if given is None else step_no(client, dataset, given)
    if place and number is not None:
        yield dataset, int(job), number
        return
    bounds = {"first": job, "last": job} if job else {}
    rows = client.lines(f"/datasets/{dataset}/tasks", verdict="done", step=number, **bounds)
    for count, row in enumerate(rows):
        if limit and count >= limit:
            return
        yield dataset, row["job"], row["step"]


def _inside(name: str) -> PurePosixPath:
    """Return the name of an output as a path that leads nowhere else. Raises UsageError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise click.UsageError(f"{name!r} leads out of the folder")
    return path


__all__ = ["outputs"]
