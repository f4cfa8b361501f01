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
from site_adapters.htcondor.adapter import HTCondorAdapter
from site_adapters.htcondor.description import Batch as HTCondorBatch
from site_adapters.local import LocalAdapter
from site_adapters.psij.adapter import PsijAdapter
from site_adapters.psij.script import Batch as PsijBatch
from site_adapters.slurm.adapter import SlurmAdapter
from site_adapters.slurm.script import Batch

KEY = "site.key"
CERTIFICATE = "site.certificate"
REQUEST = "request.enrol"
PILOTS = "pilots"
PARTS = "parts"


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

    @property
    def parts(self) -> Path:
        """Where parts of central's bundles wait for the rest."""
        return self.spool.root / PARTS

    @property
    def slots(self) -> int:
        """Slots of one pilot: what relay.toml says, else one for each core of a node."""
        config = self.config
        told = config.pilots.slots or config.batch.cpus
        if told or config.batch.adapter == "local":
            return told or config.slots
        limits = self.adapter.limits()
        return round(config.site.cpus) or (limits.cpus if limits else 0) or config.slots

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
        adapter=_adapter(folder / PILOTS, config),
    )


def _adapter(folder: Path, config: Config) -> Adapter:
    given = config.batch
    if given.adapter == "local":
        return LocalAdapter(folder)
    if given.adapter == "htcondor":
        return _htcondor(folder, config)
    if given.adapter == "psij":
        return _psij(folder, config)
    batch = Batch(
        nodes=given.nodes,
        walltime_s=round(config.site.walltime_hours * 3600),
        partition=given.partition,
        account=given.account,
        qos=given.qos,
        constraint=given.constraint,
        gres=given.gres,
        reservation=given.reservation,
        cpus=given.cpus,
        memory_mib=given.memory_mib,
        exclusive=given.exclusive,
        requeue=given.requeue,
        signal_s=given.signal_s,
        options=given.options,
    )
    return SlurmAdapter(folder, batch, given.poll_s, given.command_timeout_s)


def _htcondor(folder: Path, config: Config) -> Adapter:
    given = config.batch
    batch = HTCondorBatch(
        walltime_s=round(config.site.walltime_hours * 3600),
        account=given.account,
        requirements=given.requirements,
        cpus=given.cpus,
        memory_mib=given.memory_mib,
        disk_mib=given.disk_mib,
        gpus=given.gpus,
        exclusive=given.exclusive,
        requeue=given.requeue,
        vacate_s=given.signal_s,
        carries=not given.shared_filesystem,
        options=given.options,
    )
    where = (given.pool, given.schedd)
    return HTCondorAdapter(folder, batch, *where, given.poll_s, given.command_timeout_s)


def _psij(folder: Path, config: Config) -> Adapter:
    given = config.batch
    batch = PsijBatch(
        scheduler=given.scheduler,
        walltime_s=round(config.site.walltime_hours * 3600),
        queue=given.partition,
        account=given.account,
        reservation=given.reservation,
        cpus=given.cpus,
        memory_mib=given.memory_mib,
        gpus=given.gpus,
        exclusive=given.exclusive,
        options=given.options,
    )
    return PsijAdapter(folder, batch, given.poll_s, given.command_timeout_s)


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
