"""One central for all; a line for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.central.site import enrolled
from tests.central.test_http import start
from tests.relay.carriers.far import Far
from tests.relay.carriers.lines import FolderLine, HttpsLine, Line, SshLine
from tests.testbed import sshd as sshds
from tests.testbed.sshd import Sshd
from tests.testbed.tls import Certifier
from tests.testbed.wire import wired


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """A real sshd; skips by name where there can be none."""
    try:
        server = sshds.start()
    except sshds.Unavailable as error:
        pytest.skip(str(error))
    yield server
    server.close()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """A served central with work for its site."""
    folder = tmp_path_factory.mktemp("far")
    served = start(enrolled(folder))
    found = Far(served, folder)
    try:
        found.prepare()
        yield found
    finally:
        assert served.stop() == 0, served.log.read_text()


@pytest.fixture
def https(far: Far, tmp_path: Path) -> Iterator[HttpsLine]:
    (tmp_path / "parts").mkdir(exist_ok=True)
    certifier = Certifier(tmp_path)
    with wired(*far.place, tls=certifier.server()) as wire:
        yield HttpsLine(far, tmp_path / "parts", wire, certifier)


@pytest.fixture
def folder(far: Far, tmp_path: Path) -> FolderLine:
    (tmp_path / "parts").mkdir(exist_ok=True)
    return FolderLine(far, tmp_path / "parts", tmp_path / "exchange")


@pytest.fixture
def ssh(far: Far, sshd: Sshd, tmp_path: Path) -> Iterator[SshLine]:
    (tmp_path / "parts").mkdir(exist_ok=True)
    sshd.allow()
    with wired("127.0.0.1", sshd.port) as wire:
        made = SshLine(far, tmp_path / "parts", tmp_path / "exchange", wire, sshd=sshd)
        yield made
        sshd.log_out()


@pytest.fixture(params=["https", "folder", "ssh"])
def line(request: pytest.FixtureRequest) -> Line:
    """One way after the other."""
    found: Line = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["https", "ssh"])
def wired_line(request: pytest.FixtureRequest) -> Line:
    """Those that can be cut in the middle."""
    found: Line = request.getfixturevalue(request.param)
    return found
