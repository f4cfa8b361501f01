"""Real WfCommons instances through the whole loop."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA
from tests.loop.conftest import COMMAND, assert_sound, rehearse

pytestmark = pytest.mark.programs

# Instance to time scale and size scale, so that each takes less than a minute on two cores.
SCALES = {
    "srasearch-chameleon-20a-001.json": (0.0005, 1e-5),
    "montage-chameleon-2mass-01d-001.json": (0.02, 1e-4),
    "1000genome-chameleon-10ch-100k-001.json": (0.002, 1e-5),
    "bwa-chameleon-medium-001.json": (0.005, 0.01),
    "epigenomics-chameleon-hep-3seq-50k-001.json": (0.004, 1e-4),
    "montage-chameleon-2mass-04d-001.json": (0.005, 1e-4),
    "rnaseq-dirt02-001.json": (0.01, 0.001),
    "seismology-chameleon-500p-001.json": (0.05, 0.01),
    "soykb-chameleon-20fastq-10ch-001.json": (0.001, 1e-4),
    "old_schema/HEAD--srasearch-chameleon-10a-003.json": (0.0005, 1e-5),
    "old_schema/v1.0--srasearch-chameleon-10a-003.json": (0.0005, 1e-5),
    "old_schema/v1.1--srasearch-chameleon-10a-003.json": (0.0005, 1e-5),
    "old_schema/v1.2--srasearch-chameleon-10a-003.json": (0.0005, 1e-5),
    "old_schema/v1.3--srasearch-chameleon-10a-003.json": (0.0005, 1e-5),
}
IN_TEST = ("srasearch-chameleon-20a-001.json", "montage-chameleon-2mass-01d-001.json")


@pytest.mark.parametrize("name", IN_TEST)
def test_a_real_workflow_ends_with_every_task_done(
    tmp_path: Path, workflows: Path, name: str
) -> None:
    _rehearse(workflows, name, tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("name", [name for name in SCALES if name not in IN_TEST])
def test_every_real_workflow_ends_with_every_task_done(
    tmp_path: Path, workflows: Path, name: str
) -> None:
    _rehearse(workflows, name, tmp_path)


@pytest.mark.campaign
def test_no_instance_is_forgotten(workflows: Path) -> None:
    found = {str(path.relative_to(workflows)) for path in workflows.rglob("*.json")}
    assert found == set(SCALES), SHARED_DATA


def _rehearse(workflows: Path, name: str, folder: Path) -> None:
    time_scale, size_scale = SCALES[name]
    document = folder / "dataset.json"
    with document.open("w") as out:
        subprocess.run(
            [
                *(*COMMAND, "import", "wfcommons", str(workflows / name)),
                *("--time-scale", str(time_scale), "--size-scale", str(size_scale)),
            ],
            stdout=out,
            check=True,
            timeout=60,
        )
    summary = rehearse(document, folder / "run")
    assert_sound(summary)
    assert summary["tasks"] == len(json.loads(document.read_text())["steps"])
