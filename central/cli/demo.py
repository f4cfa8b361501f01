"""`pulk demo`: the airshower example through the whole loop, with faults on purpose."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

import bundle
from bundle.client import Client
from bundle.dataset.spec import Dataset
from bundle.errors import PulkError
from central.cli.rehearse import EXIT_UNSOUND, rehearse
from central.config import HttpSection
from central.rehearsal import report
from central.rehearsal.faults import DEMO_FAULTS
from central.rehearsal.loop import Harm
from central.rehearsal.picture import draw
from central.rehearsal.stage import SiteSize, default_path

EXAMPLE = Path(bundle.__file__).parent.parent / "examples" / "airshower" / "dataset.toml"
JOBS_MIN = 20
SPECTRUM_STEP = "spectrum"

FAULTS_IN_WORDS = """\
[bold]Pulk demo[/]: cosmic-ray air showers from primary to spectrum, with the real programs:
a central server, a relay with its spool, {pilots} pilots whose tasks see no network.
On purpose, while it runs:
  one result bundle is delivered twice · two arrive in the wrong order · one is lost on the way
  a pilot is killed (SIGKILL) in the middle of a shard
  the relay is killed between collecting and sending
"""


class NoExample(PulkError):
    """The demo needs examples/airshower beside the packages. Run it from a clone: `make demo`."""

    code = "no-example"
    what = "the airshower example is not there"
    remedy = "run `make demo` in a clone of Pulk"


@click.command("demo")
@click.option("--jobs", type=click.IntRange(JOBS_MIN), help="How many showers' jobs to run.")
@click.option(
    "--dir", "root", type=click.Path(path_type=Path), default=Path("pulk-demo"), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(jobs: int | None, root: Path, as_json: bool) -> None:
    """Run the whole loop on this machine, with faults on purpose.

    Ends with a table, the verdict, where the provenance of one output can be read, and the
    spectrum as a picture.
    """
    from central.document import load

    if not EXAMPLE.exists():
        raise NoExample(where=str(EXAMPLE))
    dataset = load(EXAMPLE)
    if jobs is not None:
        dataset = replace(dataset, jobs=jobs)
    root = root.absolute()
    _make_room(root)
    console = Console(stderr=as_json)
    size = SiteSize(
        pilots=2,
        slots=1,
        tasks_wanted=3 * (dataset.jobs + 1) // 2,
        shard_tasks_max=6,
        task_path=default_path(),
    )
    console.print(FAULTS_IN_WORDS.format(pilots=size.pilots), highlight=False, soft_wrap=True)
    harm = Harm(bundles=DEMO_FAULTS, pilot_in_mid_shard=True)
    found = Finds(root)
    summary, _ = rehearse(dataset, root, size, harm, as_json=as_json, last_look=found.look)
    for line in found.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if summary["failed"] or not report.sound(summary):
        sys.exit(EXIT_UNSOUND)


class Finds:
    """What the demo fetches from central at the end: the spectrum and where it comes from."""

    def __init__(self, root: Path) -> None:
        """Keep the finds in the demo's folder."""
        self.spectrum = root / "spectrum.json"
        self.provenance = root / "provenance.json"
        self.picture = root / "spectrum.png"
        self._story: dict[str, Any] = {}

    def look(self, client: Client, dataset_id: str, dataset: Dataset) -> None:
        """Fetch the spectrum's provenance and its bytes from central while it still serves."""
        step = next(n for n, one in enumerate(dataset.steps) if one.name == SPECTRUM_STEP)
        self._story = client.task(dataset_id, 0, step)
        self.provenance.write_text(json.dumps(self._story, indent=1) + "\n")
        outputs = self._story.get("outputs") or []
        if outputs:
            self.spectrum.write_bytes(client.file(outputs[0]["sha256"]))
            draw(self.spectrum, self.picture)

    def lines(self) -> list[str]:
        """Say in words where the spectrum comes from and where everything lies."""
        if not self.picture.exists():
            return ["  no spectrum was made"]
        story = self._story
        host = story["host"]
        dataset, job, step = story["task"].split("/")
        central, http = self.provenance.parent / "central", HttpSection()
        address = f"http://{http.host}:{http.port}"
        named = story["software"].split()
        software = " ".join(word for word in named if "==sha256:" not in word)
        return [
            f"Provenance of {SPECTRUM_STEP} ({story['task']}): made {story['started']} on "
            f"{host['name']} ({host['kernel']}, {host['cpu_model']}) with {software},",
            f"  from {len(story['inputs'])} inputs named by digest; all of it in {self.provenance}",
            f"  the spectrum itself: {self.spectrum}, drawn in {self.picture}",
            "To look around, type (the first one in a terminal of its own):",
            f"  pulk central serve {central}",
            f"  export PULK_CENTRAL={address} PULK_TOKEN_FILE={central / 'admin.token'}",
            f"  pulk dataset show {dataset}; pulk dataset tasks {dataset} {job} {step}",
        ]


def _make_room(root: Path) -> None:
    """Remove an earlier demo; what is something else is refused later."""
    if (root / "central" / "central.toml").exists():
        shutil.rmtree(root)
