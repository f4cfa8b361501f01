"""What every part of central works with, and the few things they all ask for."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundle.digest import digest
from bundle.errors import PulkError
from bundle.ids import EPOCH_NONCE_BYTES, BundleId, DatasetId, Epoch, SiteName, StreamId, Task
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.trust import trust_file
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import CENTRAL, Kind, ManifestDraft
from bundle.wire.write import ChunkSource, write_bundle
from central import neighbours
from central.archive import Archive
from central.config import Config
from central.core.controls import Controls
from central.core.dag import Dag
from central.core.facts import Control, Place
from central.decoded import decoded
from central.errors import (
    DatabaseBusy,
    DatabaseTrouble,
    MissingDataset,
    SetBack,
    SignerNotInForce,
    UnknownDataset,
    UnknownSite,
    UnknownTask,
)
from central.home import Home
from central.state import leased
from central.state.recall import Recall
from central.store.protocol import Store
from central.store.rows import BundleRow, DatasetRow, LeaseRow, UserRow

EPOCH_NONCE, EPOCH_COUNTER = "epoch.nonce", "epoch.counter"
BEYOND = "beyond"  # a head beyond this central's own, which a site brought: it says nothing then
LEASES_BYTES_MAX = 8 << 20  # of leases that are kept decoded, as they are encoded
SHAPES_MAX = 32  # datasets whose documents are kept decoded
CONTROLS_MAX = 8  # datasets whose controls are kept joined, where they name jobs


@dataclass(slots=True)
class Workings:
    """One central at work. Used by one thread at a time."""

    home: Home
    config: Config
    store: Store
    archive: Archive
    signer: KeyFile | None  # None: it replays an archive and makes nothing of its own
    epoch: Epoch
    clock_us: Callable[[], int]
    tell_people: Callable[[Workings], None] | None = None  # called where people were changed
    version: int = 0  # raised by every transaction that changed something, others' too
    stirred: set[int] = field(default_factory=set)  # datasets changed since the planner looked
    is_all_stirred: bool = False  # any dataset may be
    seen: int = -1  # the newest commit that is known here, by the store's number
    _inside: bool = False  # in a transaction
    _stirring: set[int] = field(default_factory=set)  # by the transaction that is open
    _dags: OrderedDict[bytes, Dag] = field(default_factory=OrderedDict)
    _controls: dict[int, tuple[tuple[list[Control], bytes], Controls]] = field(default_factory=dict)
    _leases: OrderedDict[bytes, Lease] = field(default_factory=OrderedDict)
    _lease_bytes: dict[bytes, int] = field(default_factory=dict)
    _kept_bytes: int = 0
    _trust: tuple[tuple[int, int], TrustView] | None = None
    _is_users_read: bool = False
    _published: list[BundleId] = field(default_factory=list)  # in the transaction that is open
    _doubtful: list[BundleId] = field(default_factory=list)  # archived, and maybe not committed
    recall: Recall = field(init=False)

    def __post_init__(self) -> None:
        """Make what reads attempts back."""
        self.recall = Recall(self)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open the store's transaction, or go on in the one that is open.

        If it fails, what central archived of its own goes too: else the next commit takes the same
        number. A crash leaves such a file, which the next start merges or takes away. Where the
        database can't be asked whether it was committed, the next transaction asks first.
        """
        if self._inside:
            yield
            return
        self._published.clear()
        self.store.people.touched.clear()
        self._stirring = set()
        stirred = set(self.stirred)
        try:
            with self.store.transaction():
                self._inside = True
                try:
                    self._settle()
                    self.notice()
                    stirred |= self.stirred
                    before = self.version
                    yield
                    if self.tell_people is not None and self.store.people.touched:
                        self.tell_people(self)
                    self._tell(changed=self.version != before)
                except BaseException:
                    self._withdraw()
                    raise
                finally:
                    self._inside = False
        except BaseException:
            self.stirred = stirred | self._stirring
            self.recall.forget()
            self._doubtful += self._published
            if not self.is_shared:  # else only under the lock: another one may merge it just now
                with suppress(DatabaseBusy, DatabaseTrouble):
                    self._settle()
            raise
        if self.is_shared:
            self.seen += 1

    @contextmanager
    def looking(self) -> Iterator[int]:
        """See one moment of a shared store, nothing else is changed; yield its newest commit."""
        if not self.is_shared or self._inside:
            yield self.seen
            return
        with self.store.snapshot():
            self.notice()
            yield self.seen

    @property
    def is_shared(self) -> bool:
        """Whether other processes may work on the same database."""
        return self.store.is_shared

    def notice(self) -> bool:
        """Learn what other processes committed since; return whether they did."""
        if not self.is_shared:
            return False
        version = self.store.version
        if version == self.seen:
            return False
        told = neighbours.heard(self.store, self.seen, version)
        if told.stirred is None:
            self.is_all_stirred = True
            self._follow_epoch()
        else:
            self.stirred |= told.stirred
        self.version += told.changed
        self.seen = told.version
        self._is_users_read = False
        return True

    def stir(self, *numbers: int) -> None:
        """Note that datasets are changed; inside a transaction."""
        self.stirred.update(numbers)
        self._stirring.update(numbers)

    def has_doubts(self) -> bool:
        """Return whether a transaction is due that asks what became of an earlier one."""
        return bool(self._doubtful)

    def _tell(self, *, changed: bool) -> None:
        if self.is_shared:
            neighbours.tell(self.store, self.seen + 1, self._stirring, changed=changed)

    def _follow_epoch(self) -> None:
        """Take up the epoch that another process began: `take-over` in another folder."""
        nonce, counter = (self.store.people.meta(name) for name in (EPOCH_NONCE, EPOCH_COUNTER))
        if self.epoch.counter and nonce and counter:  # a replay has none
            self.epoch = Epoch(int(counter), nonce)

    def _withdraw(self) -> None:
        """Take back what the transaction that fails archived, as long as it holds the lock."""
        with suppress(PulkError, OSError):
            while self._published:
                self.archive.take_back(self._published[-1])
                self._published.pop()

    def _settle(self) -> None:
        """Take back what central archived in transactions that left nothing in the database."""
        while self._doubtful:
            bundle = self._doubtful[-1]
            if self.store.bundles.bundle(bundle) is None:
                self.archive.take_back(bundle)
            self._doubtful.pop()

    @property
    def is_set_back(self) -> bool:
        """Whether a site proved that this central signed, or another one, what it does not know."""
        return bool(self.store.people.meta(BEYOND))

    @property
    def trust(self) -> TrustView:
        """The trust file as it is now, and the users."""
        state = self.home.trust.stat()
        changed = (state.st_mtime_ns, state.st_ino)
        if self._trust is None or self._trust[0] != changed:
            self._trust = (changed, TrustView(trust_file.load(self.home.trust), frozenset()))
            self._is_users_read = False
        if not self._is_users_read:
            keys = frozenset(one.key for one in self.store.people.users() if not one.removed_us)
            self._trust = (changed, replace(self._trust[1], users=keys))
            self._is_users_read = True
        return self._trust[1]

    def archive_trust(self) -> TrustView:
        """Return whose signatures hold in the archive: those of removed users too."""
        return replace(self.trust, users=frozenset(one.key for one in self.store.people.users()))

    def save_user(self, row: UserRow) -> None:
        """Add, change or remove a user."""
        with self.transaction():
            self.store.people.save_user(row)
        self._is_users_read = False

    def dag(self, digest: bytes, raw: bytes | None = None) -> Dag:
        """Return a dataset's dag by its document's digest. Raises MissingDataset."""
        found = self._dags.get(digest)
        if found is None:
            raw = self.store.datasets.document(digest) if raw is None else raw
            if raw is None:
                raise MissingDataset(dataset=digest.hex())
            found = decoded(raw, digest)
        self.keep_dag(found)
        return found

    def keep_dag(self, dag: Dag) -> None:
        """Keep a document decoded, the newest that were asked for, instead of the oldest."""
        self._dags.setdefault(dag.digest, dag)
        self._dags.move_to_end(dag.digest)
        if len(self._dags) > SHAPES_MAX:
            self._dags.popitem(last=False)

    def lease(self, row: LeaseRow) -> Lease:
        """Return what a known lease says."""
        found = self._leases.get(row.digest)
        if found is None:
            raw = leased.said(row)
            found = leases.decode(raw)
            self.keep_lease(row.digest, found, len(raw))
        return found

    def keep_lease(self, digest: bytes, lease: Lease, size_bytes: int) -> None:
        """Keep a lease decoded, as long as there is room."""
        if digest in self._leases:
            return
        self._leases[digest] = lease
        self._lease_bytes[digest] = size_bytes
        self._kept_bytes += size_bytes
        while self._kept_bytes > LEASES_BYTES_MAX and len(self._leases) > 1:
            oldest, _ = self._leases.popitem(last=False)
            self._kept_bytes -= self._lease_bytes.pop(oldest)

    def dataset(self, dataset: DatasetId) -> DatasetRow:
        """Return a dataset's row. Raises UnknownDataset."""
        row = self.store.datasets.dataset(dataset)
        if row is None:
            raise UnknownDataset(dataset=dataset)
        return row

    def check_site(self, site: str) -> None:
        """Raise UnknownSite where no site of this name was ever enrolled or heard."""
        if all(one.name != site for one in self.store.bundles.sites()):
            raise UnknownSite(site=site)

    def task(self, task: Task) -> tuple[DatasetRow, Dag, Place]:
        """Return a task's dataset, its dag, its place. Raises UnknownDataset, UnknownTask."""
        row = self.dataset(task.dataset)
        dag, place = self.dag(row.digest), (task.step, task.job)
        if not dag.holds(place):
            raise UnknownTask(task=str(task))
        return row, dag, place

    def controls(self, row: DatasetRow) -> Controls:
        """Return all controls of a dataset, joined."""
        found = self.store.datasets.controls(row.no)
        known = self._controls.get(row.no)
        # Regions that are kept are the same objects.
        if known is not None and known[0] == (found, row.digest):
            return known[1]
        made = Controls(found, self.dag(row.digest).tasks)
        if made.is_partial:  # those take long to make
            self._controls[row.no] = ((found, row.digest), made)
            if len(self._controls) > CONTROLS_MAX:
                del self._controls[next(iter(self._controls))]
        return made

    def stream_to(self, site: SiteName) -> StreamId:
        """Return the stream of this epoch's bundles to a site."""
        return StreamId(digest("stream", self.epoch.nonce + site.encode())[:16])

    @property
    def commits(self) -> StreamId:
        """The stream of this epoch's commits."""
        return StreamId(self.epoch.nonce)

    def draft(self, kind: Kind, stream: StreamId, commit: int, audience: str = "") -> ManifestDraft:
        """Return the manifest of central's next bundle in a stream; inside a transaction only."""
        last = self.store.bundles.last_of_stream(stream)
        return ManifestDraft(
            kind=kind,
            producer=CENTRAL,
            stream=stream,
            sequence=last[0] + 1 if last else 0,
            created_us=self.clock_us(),
            previous=bytes.fromhex(last[1]) if last else b"",
            epoch=self.epoch,
            commit=commit,
            audience=audience,
        )

    def publish(
        self,
        draft: ManifestDraft,
        chunks: Iterable[ChunkSource],
        leases: int = 0,
        join: Callable[[BundleId, int], None] | None = None,
    ) -> BundleId:
        """Write one of central's own bundles, join what it says, archive it.

        Inside a transaction. `join` gets the bundle's id and number before it is archived, so that
        what can't be joined is never in the archive.
        """
        signer = self.signing()
        path = self.home.uploads / f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            bundle = write_bundle(path, draft, chunks, signer)
            safe = self.archive.is_safe
            row = BundleRow(
                id=bundle,
                kind=draft.kind.value,
                producer=draft.producer,
                audience=draft.audience,
                stream=draft.stream,
                sequence=draft.sequence,
                epoch=draft.epoch,
                commit=draft.commit,
                created_us=draft.created_us,
                size_bytes=path.stat().st_size,
                leases=leases,
                outcome="merged",
                safe=safe,
            )
            no = self.store.bundles.add_bundle(row)
            if join is not None:
                join(bundle, no)
            self._published.append(bundle)
            if self.archive.put(path, bundle) != safe:  # a mirror failed, or is back
                self.store.bundles.set_outcome(no, "merged", "", "", safe=not safe)
        finally:
            path.unlink(missing_ok=True)
        return bundle

    def signing(self) -> KeyFile:
        """Return the key to sign with, which a trust version taken meanwhile may have replaced.

        Raises SignerNotInForce, and SetBack where this central must not say anything.
        """
        if self.is_set_back:
            raise SetBack(where=str(self.home.root))
        assert self.signer is not None  # noqa: S101  who replays never comes here
        trust = self.trust.trust
        if self.signer.public != trust.current_central:
            fresh = load_signer(self.home.central_key)
            self.signer = fresh if fresh.public in trust.centrals_in_force() else self.signer
        if self.signer.public not in trust.centrals_in_force():
            key = self.signer.public.hex()
            raise SignerNotInForce(where=str(self.home.central_key), key=key, version=trust.version)
        return self.signer


def load_signer(path: Path) -> KeyFile:
    """Read central's key. Raises KeyFileRefused."""
    return KeyFile.load(path, Role.CENTRAL)


def new_epoch(counter: int) -> Epoch:
    """Return a new epoch."""
    return Epoch(counter, os.urandom(EPOCH_NONCE_BYTES))
