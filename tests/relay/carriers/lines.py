"""The three ways to central that the suite runs on, each with its far end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bundle.ids import BundleId
from relay.carrier.contract import Carrier
from relay.carrier.exchange import ExchangeCarrier, is_whole
from relay.carrier.folder import TO_CENTRAL, TO_SITE, Folder, NearFolder
from relay.carrier.http import HttpCarrier
from relay.carrier.laid import Laid
from relay.carrier.ssh import FarFolder, Reach
from tests.relay.carriers.far import Far
from tests.testbed.sshd import Sshd
from tests.testbed.tls import Certifier
from tests.testbed.wire import Wire

TIMEOUT_S = 10.0


class Line(Protocol):
    """One way to central. `wire` is what can be cut; None where there is nothing to cut."""

    parts: Path
    wire: Wire | None

    def carrier(self) -> Carrier:
        """Return a carrier as the next tick has it."""

    def has(self, bundle: BundleId) -> bool:
        """Return whether a bundle lies whole at the other end."""

    def away(self) -> AbstractContextManager[None]:
        """Return a context in which the other end is not there."""


def _nothing(_bundle: BundleId) -> bool:
    return False


def _everything(_bundle: BundleId) -> bool:
    return True


@dataclass(slots=True)
class HttpsLine:
    """A real `central serve` behind the end of TLS, with a certificate of an own authority."""

    far: Far
    parts: Path
    wire: Wire
    certifier: Certifier

    def carrier(self) -> Carrier:
        url = f"https://localhost:{self.wire.port}"
        return HttpCarrier(
            url, self.far.standing, TIMEOUT_S, parts=self.parts, ca=self.certifier.ca
        )

    def has(self, bundle: BundleId) -> bool:
        return self.far.knows(bundle)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.wire.is_dead = True
        yield
        self.wire.is_dead = False


@dataclass(slots=True)
class FolderLine:
    """An exchange folder on this machine."""

    far: Far
    parts: Path
    root: Path
    wire: Wire | None = None
    folder: Folder = field(init=False)

    def __post_init__(self) -> None:
        for side in (TO_CENTRAL, TO_SITE):
            (self.root / side).mkdir(parents=True)
        self.folder = NearFolder(self.root)
        shutil.copy(self.far.file, self.root / TO_SITE / f"{self.far.offered}.pulk")

    def carrier(self) -> Carrier:
        laid = Laid(self.parts / "laid", self.parts)
        return ExchangeCarrier(self.folder, self.parts, laid, is_done=_nothing, is_held=_everything)

    def has(self, bundle: BundleId) -> bool:
        return is_whole(self.root / TO_CENTRAL / f"{bundle}.pulk", bundle)

    @contextmanager
    def away(self) -> Iterator[None]:
        aside = self.root.rename(self.root.with_name("aside"))
        yield
        aside.rename(self.root)


@dataclass(slots=True)
class SshLine(FolderLine):
    """An exchange folder behind a real sshd, over a connection that somebody opened."""

    sshd: Sshd = field(kw_only=True)

    def __post_init__(self) -> None:
        FolderLine.__post_init__(self)
        self.folder = FarFolder(
            Reach("login", str(self.root), config=str(self.sshd.config), timeout_s=TIMEOUT_S)
        )
        self.log_in()

    def log_in(self) -> None:
        assert self.wire is not None
        self.sshd.log_out()
        self.sshd.through(self.wire.port)
        self.sshd.log_in()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.sshd.log_out()
        yield
        self.log_in()
