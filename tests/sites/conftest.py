"""A Slurm and an HTCondor pool in a network namespace of their own, behind a site's firewall."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sites.field import Program
from tests.testbed import htcondor as htcondors
from tests.testbed import network as networks
from tests.testbed import slurm as slurms
from tests.testbed.network import Network

# Every job of the pool is put where there is nothing but loopback.
ALONE = '#!/bin/sh\nexec unshare --user --map-current-user --net -- "$@"\n'


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Two namespaces and the firewall between them; skips by name where there can be none."""
    try:
        made = networks.join()
    except networks.Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(scope="session")
def cluster(network: Network) -> Iterator[slurms.Cluster]:
    """A Slurm behind the firewall; skips by name where there can be none."""
    try:
        made = slurms.start(min_job_age_s=10, inside=network.site)
    except slurms.Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture(scope="session")
def pool(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[htcondors.Pool]:
    """A pool behind the firewall, whose jobs have no network; skips where there can be none."""
    wrapper = tmp_path_factory.mktemp("pool") / "alone"
    wrapper.write_text(ALONE)
    wrapper.chmod(0o755)
    try:
        made = htcondors.start(network.site, f"USER_JOB_WRAPPER = {wrapper}\n")
    except htcondors.Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


@pytest.fixture
def login_node(network: Network, cluster: slurms.Cluster) -> Program:
    """Where relays run: behind the firewall, with Slurm's programs."""
    return Program(network.site, {k: v for k, v in cluster.environment.items() if k != "HOME"})


@pytest.fixture
def submit_node(network: Network, pool: htcondors.Pool) -> Program:
    """Where relays run: behind the firewall, with a token for the pool."""
    return Program(network.site, pool.environment)


@pytest.fixture
def far_away(network: Network) -> Program:
    """Where central runs."""
    return Program(network.central)


@pytest.fixture
def unseen() -> Iterator[Path]:
    """A folder that no machine of a pool sees."""
    with htcondors.unseen() as folder:
        yield folder
