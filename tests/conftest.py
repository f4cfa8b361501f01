"""What all tests share: Hypothesis profiles, and where the real inputs lie."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.testbed import htcondor as htcondors
from tests.testbed import memory
from tests.testbed import postgresql as postgresqls
from tests.testbed import slurm as slurms

settings.register_profile(
    "test", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "campaign", deadline=None, max_examples=3000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("PULK_HYPOTHESIS", "test"))

POSTGRESQL_BYTES = 4 << 30  # more than its log and all that tests put into it
NOT_TO_BE_HAD = "apptainer, which no package of Debian 12 brings,"
REPOSITORY = Path(__file__).parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI as root nothing may skip, but for what neither a clone nor Debian 12 contains."""
    report = yield
    strict = os.environ.get("CI") == "true" and os.geteuid() == 0
    reason = str(call.excinfo.value) if call.excinfo is not None else ""
    may_skip = any(words in reason for words in ("../shared", NOT_TO_BE_HAD))
    if strict and report.skipped and not may_skip:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not skip under CI: {reason}"
    return report


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresqls.Server]:
    """A real PostgreSQL server for this session; skips by name where there can be none."""
    try:
        server = postgresqls.start(memory.folder(POSTGRESQL_BYTES, Path("/tmp")))
    except postgresqls.Unavailable as error:
        pytest.skip(str(error))
    yield server
    server.close()


@pytest.fixture(scope="session")
def slurm() -> Iterator[slurms.Cluster]:
    """A real Slurm for this session; skips by name where there can be none."""
    try:
        cluster = slurms.start(min_job_age_s=5)
    except slurms.Unavailable as error:
        pytest.skip(str(error))
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def htcondor() -> Iterator[htcondors.Pool]:
    """A real HTCondor pool for this session; skips by name where there can be none."""
    try:
        pool = htcondors.start()
    except htcondors.Unavailable as error:
        pytest.skip(str(error))
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def workflows() -> Path:
    """The folder of real WfCommons instances; skips where this clone has none beside it."""
    folder = SHARED_DATA / "workflows"
    if not folder.is_dir():
        pytest.skip("the real WfCommons instances (../shared/data/workflows) are not here")
    return folder
