"""`pulk pilot`: the process on a node that runs tasks."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.group()
def group() -> None:
    """The process on a node that runs tasks."""


@group.command()
@click.option(
    "--spool",
    "root",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The site's spool.",
)
@click.option("--batch-id", required=True, help="What the scheduler calls this batch job.")
@click.option(
    "--slots", "count", required=True, type=click.IntRange(1, 1024), help="Tasks at once."
)
@click.option(
    "--idle-s",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0),
    help="End after so long without work.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML with [tasks] path and [task_environment]; nothing else is read.",
)
def run(root: Path, batch_id: str, count: int, idle_s: float, config: Path | None) -> None:
    """Claim shards from the spool and run them until nothing is left."""
    from bundle.ids import PILOT_RUN_BYTES, PilotRun
    from bundle.spool.layout import Spool
    from pilot.slots import Slots

    os.umask(0o077)
    spool = Spool(root.resolve())
    pilot_run = PilotRun(os.urandom(PILOT_RUN_BYTES))
    folder = spool.claimed(pilot_run) / "slots"
    folder.mkdir(mode=0o700, parents=True)
    slots = Slots(folder, spool.folder("data"), count)

    # What takes long to import comes after: the slots settle in meanwhile.
    from pilot.config import load
    from pilot.run import Pilot

    Pilot(spool, slots, pilot_run, batch_id, load(config), idle_s).run()
