"""Where everything in a spool lies. Names on disk are ids and digests, never a user's text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle.ids import BundleId, LeaseId, PilotRun, StreamId

FOLDERS = (
    "in",
    "work",
    "claimable",
    "claimed",
    "sealed",
    "out",
    "sent",
    "rejected",
    "quarantine",
    "data",
    "tmp",
    "streams",
    "edits",
)


@dataclass(frozen=True, slots=True)
class ShardName:
    """A shard's name in the spool: its lease and how often it has been offered (turn >= 1)."""

    lease: LeaseId
    turn: int

    def __str__(self) -> str:
        return f"{self.lease.hex()}-{self.turn:04d}"

    @classmethod
    def parse(cls, text: str) -> ShardName | None:
        """Read `<lease hex>-<turn>`; None for any other name (a stray file is not ours)."""
        lease, _, turn = text.partition("-")
        if len(lease) != 32 or not turn.isdecimal():
            return None
        try:
            found = cls(LeaseId(bytes.fromhex(lease)), int(turn))
        except ValueError:
            return None
        return found if str(found) == text else None  # one shard, one spelling


@dataclass(frozen=True, slots=True)
class SealName:
    """A seal's file name: the shard it answers and the pilot that ran it."""

    shard: ShardName
    pilot_run: PilotRun

    def __str__(self) -> str:
        return f"{self.shard}-{self.pilot_run.hex()}.seal"

    @classmethod
    def parse(cls, text: str) -> SealName | None:
        """Read a seal's file name; None for any other name."""
        stem, dot, ending = text.partition(".")
        shard_text, _, pilot_run = stem.rpartition("-")
        shard = ShardName.parse(shard_text)
        if shard is None or not dot or ending != "seal" or len(pilot_run) != 16:
            return None
        try:
            found = cls(shard, PilotRun(bytes.fromhex(pilot_run)))
        except ValueError:
            return None
        return found if str(found) == text else None


@dataclass(frozen=True, slots=True)
class Spool:
    """The paths of one spool."""

    root: Path

    def folder(self, name: str) -> Path:
        """Return one of `FOLDERS`."""
        return self.root / name

    @property
    def trust(self) -> Path:
        """The trust file that relay and pilots verify with."""
        return self.root / "trust"

    @property
    def drain(self) -> Path:
        """While this file exists pilots start nothing new, seal and end."""
        return self.root / "drain"

    @property
    def tombstones(self) -> Path:
        """Ids of deleted datasets, a line each: pilots stop what runs of them."""
        return self.root / "tombstones"

    @property
    def called_off(self) -> Path:
        """Leases whose tasks were all cancelled, in hex, a line each: pilots stop what runs."""
        return self.root / "called-off"

    @property
    def edits(self) -> Path:
        """The newest documents of datasets that were edited, see `bundle.spool.edits`."""
        return self.root / "edits"

    @property
    def called_off_tasks(self) -> Path:
        """Tasks of leases that go on otherwise: see `bundle.spool.called_off`."""
        return self.root / "called-off-tasks"

    @property
    def radio(self) -> Path:
        """Where the site's relay is heard, signed; it is there while `pulk relay run` listens."""
        return self.root / "radio"

    def work(self, bundle: BundleId) -> Path:
        """The folder of one accepted work bundle."""
        return self.root / "work" / bundle

    def work_bundle(self, bundle: BundleId) -> Path:
        """The accepted work bundle itself."""
        return self.work(bundle) / "bundle.pulk"

    def kept_seals(self, bundle: BundleId) -> Path:
        """The folder of seals that already travel in a result bundle."""
        return self.work(bundle) / "sealed"

    def claimable(self, shard: ShardName) -> Path:
        """The file whose rename claims the shard."""
        return self.root / "claimable" / f"{shard}.shard"

    def claimed(self, pilot_run: PilotRun) -> Path:
        """The folder of one pilot."""
        return self.root / "claimed" / pilot_run.hex()

    def claim(self, pilot_run: PilotRun) -> Path:
        """The file that says who the pilot is."""
        return self.claimed(pilot_run) / "claim"

    def held_shard(self, pilot_run: PilotRun, shard: ShardName) -> Path:
        """A shard file while a pilot holds it."""
        return self.claimed(pilot_run) / f"{shard}.shard"

    def journal(self, pilot_run: PilotRun, shard: ShardName) -> Path:
        """The journal of a pilot for one shard."""
        return self.claimed(pilot_run) / f"{shard}.journal"

    def seal(self, seal: SealName) -> Path:
        """A seal that waits for collection."""
        return self.root / "sealed" / str(seal)

    def data(self, file: bytes) -> Path:
        """A file by its digest, read-only."""
        name = file.hex()
        return self.root / "data" / name[:2] / name

    def stream(self, stream: StreamId) -> Path:
        """The folder that numbers one stream."""
        return self.root / "streams" / stream.hex()

    def seals_of(self, bundle: BundleId, lease: LeaseId) -> list[Path]:
        """Return every seal that answers a lease, waiting or travelling, in order of turn."""
        prefix = lease.hex()
        found: dict[str, Path] = {}
        for folder in (self.root / "sealed", self.kept_seals(bundle)):
            if folder.is_dir():
                for path in folder.iterdir():
                    if path.name.startswith(prefix) and SealName.parse(path.name) is not None:
                        found[path.name] = path
        return [found[name] for name in sorted(found)]
