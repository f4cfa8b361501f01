"""The HTCondor adapter on a real pool: two partitionable slots, a schedd reached by token."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from site_adapters.contract import Ending, PilotRequest, PilotState
from site_adapters.htcondor import remembered
from site_adapters.htcondor.adapter import HTCondorAdapter
from site_adapters.htcondor.description import Batch
from tests.site_adapters.conformance import SLEEPER, Conformance, Make, python, until, wait_for
from tests.testbed import htcondor as htcondors

pytestmark = pytest.mark.programs

ONE = Batch(exclusive=False, cpus=1, memory_mib=100, vacate_s=5)


@pytest.fixture(autouse=True)
def reached(htcondor: htcondors.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in htcondor.environment.items():
        monkeypatch.setenv(name, value)


class Site:
    """A folder, and the adapters that relay processes make of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{folder.name}-{os.urandom(4).hex()}"

    def adapter(self, batch: Batch = ONE) -> HTCondorAdapter:
        return HTCondorAdapter(self.folder / "pilots", batch, poll_s=0, limit_s=20)

    def submit(self, code: str, *arguments: str, batch: Batch = ONE, jobs: int = 1) -> list[str]:
        request = PilotRequest(self.name, python(code, *arguments), self.folder, jobs=jobs)
        return list(self.adapter(batch).submit(request))

    def cluster(self) -> str:
        (one,) = remembered.every(self.folder / "pilots")
        return str(one.cluster)


@pytest.fixture
def site(tmp_path: Path, htcondor: htcondors.Pool) -> Iterator[Site]:
    yield Site(tmp_path)
    for one in remembered.every(tmp_path / "pilots"):
        if not one.is_over:
            htcondor.said("condor_rm", "-forcex", str(one.cluster))
            htcondor.said("condor_rm", str(one.cluster))


class TestHTCondor(Conformance):
    """All sentences of the contract."""

    @pytest.fixture
    def make(self, site: Site) -> Make:
        return site.adapter
