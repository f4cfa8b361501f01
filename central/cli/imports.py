"""`pulk import`: workflows of other systems as dataset documents on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import click

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
