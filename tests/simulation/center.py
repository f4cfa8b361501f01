"""Central as it is, under a world: opened, killed, restored; each call checked from outside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bundle.dataset import spec
from bundle.ids import BundleId, DatasetId, SiteName, StreamId
from bundle.trust import draft, fingerprint, keyring, survey, trust_file, versions
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import TrustView
from bundle.wire import manifest as manifests
from bundle.wire.errors import BundleRefused
from bundle.wire.manifest import SITES_OWN, Kind, Manifest
from central import backup_record as records
from central import config as configs
from central import home as homes
from central.absorb import Disposition
from central.authority import Authority
from central.backup import backup
from central.backup_record import DATABASE, POOL
from central.core.edit import Size, resized
from central.core.receipts import Outcome
from central.errors import BadControl, EditRefused, SetBack, UnknownDataset
from central.home import Home
from central.restore import restore, take_over
from relay import chains
from tests.simulation import picture
from tests.simulation.disk import Died, Episode, Unsynced
from tests.simulation.faults import Fault
from tests.simulation.forge import manifest_of
from tests.simulation.machine import HOUR_US
from tests.simulation.picture import Picture

if TYPE_CHECKING:
    from tests.simulation.users import Asked
    from tests.simulation.world import World

T = TypeVar("T")
EPISODE_OPERATIONS = 24  # a merge has about so many operations on names


@dataclass
class Center:
    """The central of one world."""

    world: World
    copies: int
    lease_hours: float
    root: Path = field(init=False)
    is_up: bool = True
    skew_us: int = 0
    arrived: dict[StreamId, set[int]] = field(default_factory=dict)
    unsure: set[tuple[StreamId, int]] = field(default_factory=set)
    results: dict[tuple[StreamId, int], set[BundleId]] = field(default_factory=dict)
    answered: set[BundleId] = field(default_factory=set)  # merged, and somebody was told so
    restores: int = 0
    _commits: int = 0
    _picture: Picture | None = None
    _snapshot: Path | None = None
    _unheeded: bool = False  # a trust version was taken, and lets in what was parked
    _dies_after: int = 0

    def __post_init__(self) -> None:
        self._chance = self.world.machine.chance("central")
        self.root = self.world.folder / "central"
        self.home = Home(self.root)
        self.root_key = KeyFile.load(self.world.folder / "central-root" / "root.key", Role.ROOT)
        self.home.config.write_text(  # for whoever opens the folder: a restore does, too
            f"[archive]\ncopies = {self.copies}\n"
            f"[planner]\nshard_tasks_max = {self._chance.choice((1, 3, 8))}\n"
            f"lease_hours = {self.lease_hours}\n"
        )
        self.config = configs.load(self.home.config)
        self._uploads = 0
        self._open()

    def _open(self) -> None:
        self._picture = None
        self.authority = Authority.open(self.home, self.config, clock_us=self._clock)
        self.workings = self.authority._w
        store, real = self.workings.store, self.workings.store.transaction

        @contextmanager
        def transaction() -> Iterator[None]:
            with real():
                yield
            self._commits += 1
            if self._dies_after and self._commits >= self._dies_after:
                raise Died

        store.transaction = transaction  # type: ignore[method-assign]
        self.is_up = True

    def _clock(self) -> int:
        return self.world.machine.now_us + self.skew_us

    def trust(self) -> TrustView:
        """Return the trust file in force."""
        return TrustView(trust_file.load(self.home.trust))

    def picture(self, *, fresh: bool = True) -> Picture:
        """Return where every task stands; not `fresh`: as seen last, if nobody asked since."""
        if fresh or self._picture is None:
            self._picture = picture.of(self.workings)
        return self._picture

    # -- calls from outside --------------------------------------------------------------

    def absorb(self, raw: bytes) -> Disposition | None:
        """Take a bundle as an upload; None where central is down or dies over it."""
        if not self.is_up:
            return None
        self._uploads += 1
        path = self.home.uploads / f"arrived-{self._uploads}"
        path.write_bytes(raw)
        before = self.picture(fresh=False)
        found = self._call(lambda: self.authority.absorb(path), keeps=True)
        if found is not None:
            self._note(path, found)
        else:
            self._note_unanswered(path)
        path.unlink(missing_ok=True)
        if found is not None:
            self.world.machine.tell("central", found.outcome.value, found.code)
            now = self.picture()
            if not self._unheeded:
                self.world.checks.after_absorb(before, now, found)
            self._unheeded = False
        return found

    def absorb_forged(self, raw: bytes, what: Fault) -> None:
        """Take what nobody honest made; it must change nothing."""
        before, unheeded = self.picture(), self._unheeded
        found = self.absorb(raw)
        if found is None:
            return
        self.world.fire(what)
        if what is not Fault.EQUIVOCATED:
            assert found.outcome is not Outcome.MERGED, f"{what}: merged"
            assert unheeded or self.picture() == before, f"{what}: it changed what is known"

    def outbox(self, site: str) -> list[tuple[BundleId, bytes]] | None:
        """Return the bundles that wait for a site; None where central is down or dies."""
        if not self.is_up:
            return None

        def call() -> list[tuple[BundleId, bytes]]:
            name = SiteName(site)
            waiting = self.authority.outbox(name)
            return [(one.id, self.authority.outgoing(name, one.id).read_bytes()) for one in waiting]

        found = self._call(call)
        if self.is_up:
            self.world.checks.after_outbox(self.workings)
        return found

    def submit(self, raw: bytes, key: str) -> DatasetId | None:
        """Submit a dataset; None where nobody answers."""
        if not self.is_up:
            return None
        try:
            found = self._call(lambda: self.authority.submit(raw, idempotency_key=key, token_id=1))
        except SetBack:
            return None
        return None if found is None else found.id

    def control(self, dataset: DatasetId, asked: Asked) -> bool:
        """Ask for a control; False where nobody answers or the dataset is not known (yet)."""
        if not self.is_up:
            return False
        assert asked.word is not None
        word = asked.word

        def call() -> bool:
            try:
                self.authority.control(
                    dataset, word, asked.jobs, asked.steps, idempotency_key=asked.key, token_id=1,
                    only=asked.only,
                )  # fmt: skip
            except (UnknownDataset, SetBack):
                return False
            except BadControl:
                return True
            return True

        return bool(self._call(call))

    def edit(self, dataset: DatasetId, asked: Asked) -> bool:
        """Put another document in a dataset's place; False as for a control."""
        if not self.is_up:
            return False

        def call() -> bool:
            try:
                if asked.size is not None:
                    self._resize(dataset, asked.size, asked.key)
                else:
                    self.authority.edit(dataset, asked.raw, idempotency_key=asked.key, token_id=1)
            except (UnknownDataset, SetBack):
                return False
            except EditRefused:
                return True  # it was deleted meanwhile
            return True

        return bool(self._call(call))

    def _resize(self, dataset: DatasetId, size: Size, key: str) -> None:
        """Give a dataset another size: its document is made by central, of the one in force."""
        raw, _ = self.authority.document(dataset)
        made = resized(spec.decode(raw), size)
        self.world.payloads.know(spec.dataset_digest(spec.encode(made)), made)
        self.authority.resize(dataset, size, idempotency_key=key, token_id=1)

    def enrol(self, request: bytes, words: str) -> bytes:
        """Certify a site."""
        return self.authority.enrol(request, words)

    def root_words(self) -> str:
        """Return the fingerprint of the roots."""
        return fingerprint.of_roots(self.workings.trust.trust)

    # -- what is asked of it by the world ------------------------------------------------

    def leased(self, dataset: DatasetId) -> bool:
        """Whether tasks of a dataset are away."""
        if not self.is_up:
            return False
        with suppress(UnknownDataset):
            steps = self.authority.counts(dataset)["steps"]
            return any(step["counts"].get("leased") for step in steps)
        return False

    def standing(self, dataset: DatasetId) -> set[str]:
        """Return the words of the newest controls that anything of a dataset is under."""
        with suppress(UnknownDataset):
            row = self.workings.dataset(dataset)
            return {str(one.word) for one in self.workings.controls(row).all}
        return set()

    def parked(self) -> int:
        """Return how many files are parked."""
        return sum(1 for _ in self.home.parked.iterdir())

    # -- its end and its return ----------------------------------------------------------

    def _call(self, call: Callable[[], T], *, keeps: bool = False) -> T | None:
        """Do something that central may die over; None where it died."""
        if not keeps:
            self._picture = None
        kind = self._mortal()
        if kind is None:
            return call()
        unsynced = None
        self._dies_after = 0
        at = self._chance.randint(1, EPISODE_OPERATIONS)
        if kind is Fault.CENTRAL_KILLED_COMMITTED:
            at, self._dies_after = -1, self._commits + self._chance.randint(1, 2)
        elif kind is Fault.CENTRAL_POWER:
            shadow = self.world.folder / "shadow"
            shutil.rmtree(shadow, ignore_errors=True)
            shadow.mkdir()
            unsynced = Unsynced(shadow)
            if self._chance.random() < 0.5:
                at, self._dies_after = -1, self._commits + 1
        episode = Episode(at, unsynced=unsynced)
        found: T | None = None
        with self.world.machine.disk.running(episode):
            found = call()
        self._dies_after = 0
        if not episode.dead:
            return found
        self.world.fire(kind)
        if unsynced is not None:
            unsynced.lose(self.home.archive, self._chance.randint(0, len(unsynced.names)))
        self._restart(self._chance.choice((0, 0, HOUR_US, 5 * HOUR_US)))
        return None

    def _mortal(self) -> Fault | None:
        if not self.world.faulty or self._chance.random() > self.world.plan.central_dies:
            return None
        return self._chance.choice(
            (Fault.CENTRAL_KILLED, Fault.CENTRAL_KILLED_COMMITTED, Fault.CENTRAL_POWER)
        )

    def _restart(self, after_us: int) -> None:
        self.world.machine.tell("central died")
        self.authority.close()
        self.is_up = False
        if after_us:
            self.world.machine.after(after_us, self._start_again)
        else:
            self._start_again()

    def _start_again(self) -> None:
        self._open()
        self._check_answered()
        self._recount()
        self.world.user.retry()

    def _check_answered(self) -> None:
        """I10: whatever somebody was told is still known after a crash."""
        for bundle in self.answered:
            row = self.workings.store.bundles.bundle(bundle)
            assert row is not None and row.outcome == Outcome.MERGED, f"I10: {bundle} is forgotten"
            path = self.workings.archive.path(bundle)
            assert path.exists(), f"I10: {bundle} was called merged, its file is gone"

    def _note(self, path: Path, found: Disposition) -> None:
        """Remember from outside what arrived, and check the receipt of its stream (I9)."""
        if found.bundle is None and found.outcome is not Outcome.PARKED:
            return
        manifest = manifest_of(path)
        if manifest.kind not in SITES_OWN:
            return
        self._note_result(manifest)
        if found.bundle is None:
            self.unsure.add((manifest.stream, manifest.sequence))
            return
        if found.outcome is Outcome.MERGED and manifest.kind is not Kind.REPORT:
            self.answered.add(found.bundle)
        numbers = self.arrived.setdefault(manifest.stream, set())
        numbers.add(manifest.sequence)
        said = set(self.workings.store.bundles.receipt(manifest.stream).arrived())
        # Those with an unknown key, or over which central died, may have been let in since.
        let_in = {one for one in said - numbers if (manifest.stream, one) in self.unsure}
        assert said - let_in == numbers, f"I9: receipt says {said}, arrived {sorted(numbers)}"
        numbers |= let_in

    def _note_unanswered(self, path: Path) -> None:
        """Central died over it: whether it counts as arrived is known later."""
        with suppress(BundleRefused):
            manifest = manifest_of(path)
            self.unsure.add((manifest.stream, manifest.sequence))
            self._note_result(manifest)

    def _note_result(self, manifest: Manifest) -> None:
        """Remember which bundles came under a number, also where central may not have kept one.

        Whether one is kept is asked of the archive: a commit whose answer was lost counts too.
        """
        if manifest.kind is Kind.RESULT:
            number = (manifest.stream, manifest.sequence)
            named = manifests.bundle_id(manifests.encode(manifest))
            self.results.setdefault(number, set()).add(named)

    def _recount(self) -> None:
        """Take over what central knows to have arrived: a crash may have kept one unanswered."""
        for stream, numbers in self.arrived.items():
            said = set(self.workings.store.bundles.receipt(stream).arrived())
            assert numbers <= said, f"I9: {numbers - said} arrived, and the receipt forgot"
            self.arrived[stream] = said

    # -- backups and restores ------------------------------------------------------------

    @property
    def pool(self) -> Path:
        """The disk for backups."""
        return self.world.folder / "backups"

    def back_up(self) -> None:
        """Make a backup while central serves; what it holds is safe from then on."""
        if self.is_up:
            at = self._clock() / 1_000_000
            kept = self.workings.archive
            backup(self.home, kept, self.authority, self.pool, with_keys=True, keep=0, at=at)
            self.world.machine.tell("backup")
            self._snapshot = None

    def take_snapshot(self) -> None:
        """Somebody takes a snapshot of the whole virtual machine."""
        if self.is_up:
            self._snapshot = self.world.folder / "snapshot"
            shutil.rmtree(self._snapshot, ignore_errors=True)
            shutil.copytree(self.root, self._snapshot, copy_function=_copy, ignore=_passing)

    def restore(self) -> None:
        """Central's disk is gone: restore one of the backups."""
        made = records.finished(self.pool) if self.pool.exists() else []
        if not self.is_up or not made:
            return
        with self._replaced() as gone:
            restore(self._chance.choice(made), self.home, clock_us=self._clock)
            _bring_keys(gone, self.root)
        self.world.fire(Fault.RESTORED_FOLDER)
        self._restored()

    def restore_database(self) -> None:
        """The database's disk is gone: an old copy and the archive, which is whole."""
        made = records.finished(self.pool) if self.pool.exists() else []
        if not self.is_up or not made:
            return
        self.authority.close()
        for name in [one for one in self.root.iterdir() if one.name.startswith("pulk.sqlite")]:
            name.unlink()
        shutil.copyfile(self._chance.choice(made) / DATABASE, self.home.database)
        self.home.database.chmod(0o600)
        if self._chance.random() < 0.5:
            take_over(self.home, self._clock)
        self.world.fire(Fault.RESTORED_DATABASE)
        self._restored()

    def set_back(self) -> None:
        """The snapshot is put back, and nobody tells central."""
        if not self.is_up or self._snapshot is None:
            return
        with self._replaced() as gone:
            shutil.copytree(self._snapshot, self.root, copy_function=_copy)
            _bring_keys(gone, self.root)
        self.world.fire(Fault.SET_BACK)
        self._restored()

    def take_over(self) -> None:
        """The operator reads that central was set back, here or at a site; this one counts."""
        forked = any(chains.read(one.spool).undecided() for one in self.world.sites)
        if self.is_up and (forked or self.workings.is_set_back):
            if forked:
                self.world.fire(Fault.FORKED)
            self.authority.close()
            take_over(self.home, self._clock)
            self.world.machine.tell("take over")
            self._restored()

    @contextmanager
    def _replaced(self) -> Iterator[Path]:
        """Yield where the folder lies that another one takes the place of."""
        self.authority.close()
        gone = self.world.folder / "gone"
        self.root.rename(gone)
        yield gone
        shutil.rmtree(gone)

    def _restored(self) -> None:
        self.restores += 1
        self._open()
        there = self.workings.archive
        self.answered = {one for one in self.answered if there.path(one).exists()}
        self.arrived = {
            stream: set(self.workings.store.bundles.receipt(stream).arrived())
            for stream in self.arrived
        }
        self._check_answered()
        self.world.user.replay()

    def is_covered(self, bundle: BundleId) -> bool:
        """Whether no single disk can lose a bundle; where one is enough, whether it is there."""
        if self.copies == 1:
            return self.workings.archive.path(bundle).exists()
        return records.pool_path(self.pool / POOL, bundle).exists()

    # -- keys ----------------------------------------------------------------------------

    def rotate_key(self) -> None:
        """Let the next central key take over; a fresh one is published ahead."""
        before = trust_file.load(self.home.trust)
        fresh = keyring.make_pending(self.root, Role.CENTRAL)
        self._take(draft.rotated(before, [fresh.public]))
        self.world.fire(Fault.CENTRAL_KEY_ROTATED)

    def revoke(self, key: bytes) -> None:
        """Revoke a site's old key; what is archived is kept."""
        before = trust_file.load(self.home.trust)
        files = survey.files_of(self.root, parked=False)
        sent = survey.survey(frozenset([key]), files)
        added = survey.revocations_of([key], survey.choose(sent, ["all"]), before)
        self._take(draft.revoked(before, added))
        self.world.fire(Fault.KEY_REVOKED)

    def requalify(self) -> None:
        """Keep all that is parked of revoked keys as well."""
        before = trust_file.load(self.home.trust)
        keys = [one.key for one in before.revocations]
        sent = survey.survey(frozenset(keys), survey.files_of(self.root, parked=True))
        added = survey.revocations_of(keys, survey.choose(sent, ["all"]), before)
        with suppress(draft.DraftImpossible):
            self._take(draft.revoked(before, added))
            self.world.machine.tell("requalified")

    def _take(self, after: Any) -> None:
        taken = versions.take(self.home.trust, [trust_file.encode(after, [self.root_key])])
        moves = keyring.plan(self.root, taken)
        keyring.carry_out(self.root, taken, moves, None)
        self._unheeded = True


def _bring_keys(source: Path, target: Path) -> None:
    """Keys and trust versions are kept apart, and put back as they were last."""
    for name in ("trust", "central.key", "central-next.key", "registrar.key"):
        shutil.copy2(source / name, target / name)
    for name in ("trusts", "pending"):
        if (source / name).exists():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)


def _copy(source: str, target: str) -> None:
    """Copy a file of the folder; archived bundles never change, so a name more is enough."""
    if source.endswith(".pulk"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _passing(folder: str, names: list[str]) -> list[str]:
    del folder
    return [one for one in names if one.endswith("-shm")]


def make_template(folder: Path) -> None:
    """Make a new central and its root key in a folder, to be copied for each world."""
    homes.create(Home(folder / "central"), folder / "central-root")
