"""`pulk rehearse`: any dataset document through the whole loop on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bundle.dataset.refusals import DatasetRefused
from bundle.dataset.spec import Dataset
from bundle.ids import DatasetId, Task
from bundle.intervals import IntervalSet
from bundle.trust.trust_file import TrustView
from central.cli.progress import Progress
from central.rehearsal import report
from central.rehearsal.evidence import judge, witnessed
from central.rehearsal.faults import random_kills
from central.rehearsal.ledger import read_ledger
from central.rehearsal.loop import Harm, LastLook, Ran, Rehearsal
from central.rehearsal.stage import SiteSize, default_path

EXIT_UNSOUND = 1
SLOTS_MAX = 256


@click.command("rehearse")
@click.argument("dataset", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--jobs", type=click.IntRange(1), help="Run only this many jobs of it.")
@click.option(
    "--slots", type=click.IntRange(1, SLOTS_MAX), help="Tasks at once [default: one per core]."
)
@click.option(
    "--pilots", type=click.IntRange(1, SLOTS_MAX), default=2, help="Pilots that share the slots."
)
@click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path),
    help="Where all of it is kept [default: a new folder in the temporary one].",
)
@click.option(
    "--isolation",
    type=click.Choice(["auto", "required", "plain"]),
    default="auto",
    help="How tasks are held: isolated where that works, isolated or not at all, plain.",
)
@click.option("--kills", type=click.IntRange(0), default=0, help="SIGKILLs at random moments.")
@click.option("--seed", type=int, default=1, help="Seed of the random kills.")
@click.option("--within", type=float, default=5.0, help="Seconds in which the kills fall.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    dataset: Path,
    jobs: int | None,
    slots: int | None,
    pilots: int,
    root: Path | None,
    isolation: str,
    kills: int,
    seed: int,
    within: float,
    as_json: bool,
) -> None:
    """Run a dataset document through central, relay and pilots here, with the network cut.

    Says what each step really used, and writes the requirements it measured. Ends with exit
    code 1 where a task failed or the verdict is not sound.
    """
    from central.document import load

    document = load(dataset)
    if any(step.foreign for step in document.steps):
        reason = "it needs tasks of another dataset, and a rehearsal has one alone"
        remedy = "rehearse that one; try this one with those needs taken out and small files"
        raise DatasetRefused(where=str(dataset), reason=f"{reason}: {remedy} under [files]")
    if jobs is not None:
        document = replace(document, jobs=min(jobs, document.jobs))
    root = (root or Path(tempfile.mkdtemp(prefix="pulk-rehearsal-"))).absolute()
    harm = Harm(kills=random_kills(seed, kills, within))
    size = replace(size_for(document, slots, pilots), isolation=isolation)
    summary, _ = rehearse(document, root, size, harm, as_json=as_json)
    if summary["failed"] or not report.sound(summary):
        sys.exit(EXIT_UNSOUND)


def size_for(dataset: Dataset, slots: int | None, pilots: int) -> SiteSize:
    """Return a site that fits this machine: every slot is used, work comes in a few bundles."""
    tasks = dataset.tasks()
    total = min(slots or len(os.sched_getaffinity(0)), tasks)
    pilots = min(pilots, total)
    per_shard = tasks // (4 * pilots)
    least = 1 if dataset.jobs > 1 else 20  # a job cut too finely waits for the relay at each cut
    return SiteSize(
        pilots=pilots,
        slots=max(1, total // pilots),
        tasks_wanted=max(tasks // 2, 200),
        shard_tasks_max=max(least, min(500, per_shard)),
        task_path=default_path(),
    )


def rehearse(
    dataset: Dataset,
    root: Path,
    size: SiteSize,
    harm: Harm,
    *,
    as_json: bool,
    last_look: LastLook | None = None,
) -> tuple[dict[str, Any], Ran]:
    """Run, judge, report; returns the summary and what ran."""
    console = Console(stderr=as_json)
    for word in (signal.SIGTERM, signal.SIGHUP):  # end as Ctrl-C does: nothing is left running
        signal.signal(word, signal.default_int_handler)
    with Progress(console, dataset) as progress:
        rehearsal = Rehearsal(root, size, harm, progress.tell)
        ran = rehearsal.run(dataset, progress.update, last_look)
    central = ran.stage.central_dir
    done_tasks = {
        Task(DatasetId(ran.dataset_id), job, int(step))
        for step, jobs in ran.fsck["done"][ran.dataset_id].items()
        for job in IntervalSet.from_wire(jobs)
    }
    attempts = witnessed(central / "archive", TrustView.load(central / "trust"))
    verdict = judge(
        ran.dataset,
        attempts,
        read_ledger(ran.stage.ledger),
        done_tasks,
        ran.fsck["attempts"],
        ran.fsck["wall_ms"],
    )
    summary = report.document(ran, attempts, verdict)
    report.write_requirements(root / "requirements.json", summary["steps"])
    report.show(console, ran, summary)
    console.print(f"  everything is kept in {root}", highlight=False, soft_wrap=True)
    if as_json:
        click.echo(json.dumps(summary))
    return summary, ran
