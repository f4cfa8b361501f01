"""`pulk import`: workflows of other systems as dataset documents on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bundle.dataset.refusals import DatasetRefused
from bundle.limits import JOBS_MAX

SCALE = click.FloatRange(0.0, 1e6, min_open=True)


@click.group()
def group() -> None:
    """Turn another system's workflow into a dataset document."""


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--time-scale", type=SCALE, default=1.0, show_default=True, help="Factor on recorded times."
)
@click.option(
    "--size-scale",
    type=SCALE,
    default=1.0,
    show_default=True,
    help="Factor on recorded files and memory.",
)
@click.option("--name", default="", help="Name of the dataset; the workflow's own by default.")
def wfcommons(file: Path, time_scale: float, size_scale: float, name: str) -> None:
    """Print the dataset document of a WfCommons instance (WfFormat 1.0 to 1.5)."""
    from central import document
    from central.workflows.wfcommons import Scale, load

    made = load(file, Scale(time_scale, size_scale), name)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(json.dumps(document.render(made.dataset), indent=1))


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--jobs",
    type=click.IntRange(1, JOBS_MAX),
    default=1,
    show_default=True,
    help="How many jobs; a config does not say it.",
)
@click.option("--number", type=click.IntRange(0, 2**62), help="Dataset number, for $(dataset).")
@click.option("--name", default="", help="Name of the dataset; made of its number by default.")
@click.option("--job", "shown", help="Print the commands of these jobs instead: 0,1,999.")
@click.option("--stand-in", is_flag=True, help="Steps that only write down what they would run.")
@click.option("--json", "as_json", is_flag=True, help="With --job: one JSON document on stdout.")
@click.option("--strict", is_flag=True, help="Exit code 1 where something was not carried over.")
def iceprod(
    file: Path,
    jobs: int,
    number: int | None,
    name: str,
    shown: str | None,
    stand_in: bool,
    as_json: bool,
    strict: bool,
) -> int:
    """Print the dataset document of an IceProd config (schema 3, 3.1 and 3.2); - reads stdin.

    What is not simply the same is told on stderr, each with its path in the config.
    """
    from central import document
    from central.iceprod import translate
    from central.iceprod.load import load, parse
    from central.iceprod.model import Weight
    from central.iceprod.refusals import IceprodRefused
    from central.iceprod.stand_in import stand_in as with_stand_in

    is_stdin = str(file) == "-"
    config = parse(sys.stdin.buffer.read(), "stdin") if is_stdin else load(file)
    wanted = translate.Wanted(jobs, name, number)
    try:
        made = translate.translate(config, wanted)
    except (IceprodRefused, DatasetRefused) as error:
        where = "stdin" if is_stdin else file
        raise type(error)(where=f"{where}: {error.where}", **error.fields) from None
    for one in sorted(made.remarks, key=lambda one: one.weight, reverse=True):
        click.echo(f"{one.weight}: {one.path}: {one.words}", err=True)
    if shown is None:
        dataset = with_stand_in(made.dataset) if stand_in else made.dataset
        click.echo(json.dumps(document.render(dataset), indent=1))
    else:
        _show(
            {job: translate.commands(config, wanted, job) for job in _jobs(shown)},
            as_json=as_json,
        )
    lost = sum(one.weight is Weight.LOST for one in made.remarks)
    if lost:
        things = "1 thing was" if lost == 1 else f"{lost} things were"
        click.echo(f"{things} not carried over, see above: complete config or document", err=True)
    return 1 if lost and strict else 0


def _jobs(text: str) -> list[int]:
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError:
        found = [-1]
    if not all(0 <= one < JOBS_MAX for one in found):
        raise click.BadParameter("give numbers of jobs: 0,1,999", param_hint="--job")
    return found


def _show(found: dict[int, dict[str, tuple[str, ...]]], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {"job": job, "task": task, "commands": list(commands)}
            for job, tasks in found.items()
            for task, commands in tasks.items()
        ]
        click.echo(json.dumps(rows))
        return
    for job, tasks in found.items():
        for task, commands in tasks.items():
            click.echo(f"## job {job}, task {task}")
            for one in commands:
                click.echo(one)
