"""The example's payloads: no network, the same bytes for the same seed, provenance, a spectrum."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset import graph, macros
from bundle.dataset.spec import Command, Dataset, Per
from central import document
from central.rehearsal.picture import draw

pytestmark = pytest.mark.programs

EXAMPLE = Path(__file__).parents[2] / "examples" / "airshower" / "dataset.toml"
SMALL = {"events": "60", "interactions": "2", "log_energy_max": "4"}


def small() -> Dataset:
    dataset = document.load(EXAMPLE)
    parameters = {**dict(dataset.parameters), **SMALL}
    return replace(dataset, jobs=1, parameters=tuple(sorted(parameters.items())))


def without_network() -> list[str]:
    command = ["unshare", "--map-root-user", "--net"]
    ran = subprocess.run([*command, "true"], capture_output=True, timeout=20, check=False)
    return command if ran.returncode == 0 else []


def run(dataset: Dataset, root: Path) -> dict[str, bytes]:
    """Run the one job of a dataset, each step in a folder of its own; return every output."""
    contents: Mapping[str, bytes] = dict(dataset.files)
    made: dict[str, bytes] = {}
    for index in graph.order(dataset):
        step = dataset.steps[index]
        folder = root / step.name
        folder.mkdir(parents=True)
        for name in step.files:
            (folder / name).write_bytes(contents[name])
        for one in step.inputs:
            name = one.name if step.per is Per.JOB else f"0/{one.name}"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(made[dataset.steps[one.step].outputs[one.output].name])
        assert isinstance(step.run, Command)
        argv = [macros.expand(text, dataset, index, 0) for text in step.run.argv]
        path = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
        environment = {"PATH": path, "HOME": str(folder), "PULK_SOFTWARE": str(folder / "software")}
        subprocess.run(
            [*without_network(), *argv], cwd=folder, env=environment, timeout=60, check=True
        )
        made |= {one.name: (folder / one.name).read_bytes() for one in step.outputs}
    return made


def test_one_job_twice_gives_the_same_bytes_and_says_what_it_ran(tmp_path: Path) -> None:
    pytest.importorskip("chromo", reason="the example's models (chromo) are not installed")
    pytest.importorskip("nuflux", reason="the example's fluxes (nuflux) are not installed")
    dataset = small()
    once, again = run(dataset, tmp_path / "1"), run(dataset, tmp_path / "2")
    assert once == again
    software = (tmp_path / "1" / "propagate" / "software").read_text().split()
    assert "urqmd==3.4" in software
    assert any(line.startswith("chromo==") for line in software)
    spectrum = json.loads(once["spectrum.json"])
    filled = [n for n, flux in enumerate(spectrum["total"]["flux"]) if flux > 0]
    assert filled
    for n in filled:  # far from the truth with so few events, but of its order of magnitude
        reference = spectrum["total"]["reference"][n]
        assert 0.01 < spectrum["total"]["flux"][n] / reference < 10
    (tmp_path / "spectrum.json").write_bytes(once["spectrum.json"])
    draw(tmp_path / "spectrum.json", tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").read_bytes()[:4] == b"\x89PNG"


def test_the_example_has_at_least_twenty_jobs_and_ends_in_one_fan_in() -> None:
    dataset = document.load(EXAMPLE)
    assert dataset.jobs >= 20
    assert [step.per for step in dataset.steps] == [Per.JOB] * 3 + [Per.DATASET]
