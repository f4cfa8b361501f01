"""`pulk demo`: the whole loop with every fault on purpose, as a newcomer sees it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.loop.conftest import COMMAND

pytestmark = pytest.mark.programs


def test_the_demo_survives_its_faults_and_draws_the_spectrum(tmp_path: Path) -> None:
    pytest.importorskip("chromo", reason="the demo's payloads need chromo and nuflux (pulk[demo])")
    done = subprocess.run(
        [*COMMAND, "demo", "--dir", str(tmp_path / "demo"), "--jobs", "20", "--json"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert (summary["lost"], summary["double"], summary["done"]) == (0, 0, 61)
    assert set(summary["faults"]) == {
        "delivered twice",
        "held back, to arrive after the next one",
        "lost on the way",
        "relay killed between collecting and sending",
        "pilot killed in mid-shard",
    }
    assert summary["bundles"]["duplicates"] >= 1
    assert (tmp_path / "demo" / "spectrum.png").read_bytes()[:4] == b"\x89PNG"
    provenance = json.loads((tmp_path / "demo" / "provenance.json").read_text())
    assert len(provenance["inputs"]) == 20
    assert "numpy" in provenance["software"]
