"""A Slurm in a network namespace of its own, as behind a site's firewall."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sites.field import Program
from tests.testbed import network as networks
from tests.testbed import slurm as slurms
from tests.testbed.network import Network


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


@pytest.fixture
def login_node(network: Network, cluster: slurms.Cluster) -> Program:
    """Where relays run: behind the firewall, with Slurm's programs."""
    return Program(network.site, {k: v for k, v in cluster.environment.items() if k != "HOME"})


@pytest.fixture
def far_away(network: Network) -> Program:
    """Where central runs."""
    return Program(network.central)
