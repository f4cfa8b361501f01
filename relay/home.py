"""A relay's folder opened: configuration, key, certificate, trust, spool, adapter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bundle.spool import publish
from bundle.spool.layout import FOLDERS, Spool
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import TrustView
from relay import config as configs
from relay.config import Config
from relay.errors import NotEnrolled
from site_adapters.contract import Adapter
from site_adapters.local import LocalAdapter

KEY = "site.key"
CERTIFICATE = "site.certificate"
REQUEST = "request.enrol"
PILOTS = "pilots"


@dataclass(frozen=True, slots=True)
class Home:
    """What a tick works with."""

    folder: Path
    config: Config
    spool: Spool
    signer: KeyFile
    certificate: bytes
    adapter: Adapter

    @property
    def site(self) -> str:
        """The site's name."""
        return self.config.site.name

    @property
    def tmp(self) -> Path:
        """Where unfinished files lie, on the filesystem of the spool."""
        return self.spool.folder("tmp")

    def trust(self) -> TrustView:
        """Read the trust file as it is now. Raises TrustRefused."""
        return TrustView.load(self.spool.trust)


def open_home(folder: Path) -> Home:
    """Open an enrolled relay's folder. Raises ConfigRefused, NotEnrolled, TrustRefused."""
    folder = folder.absolute()
    config = configs.load(folder / configs.NAME)
    spool = spool_of(folder, config)
    if not (folder / CERTIFICATE).exists() or not spool.trust.exists():
        raise NotEnrolled(where=str(folder))
    return Home(
        folder=folder,
        config=config,
        spool=spool,
        signer=KeyFile.load(folder / KEY, Role.SITE),
        certificate=(folder / CERTIFICATE).read_bytes(),
        adapter=LocalAdapter(folder / PILOTS),
    )


def spool_of(folder: Path, config: Config) -> Spool:
    """Return the spool of a relay's folder."""
    return Spool(folder / config.spool.path)


def make_spool(spool: Spool) -> None:
    """Create the spool's folders where they are missing (mode 0700)."""
    for name in (*FOLDERS, "state"):
        publish.make_folder(spool.folder(name))


def now_us() -> int:
    """Return UTC microseconds by this machine's clock."""
    return time.time_ns() // 1000
