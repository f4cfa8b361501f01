"""The one authority: bundles and requests in, facts and bundles out, one transaction at a time.

A bundle is verified, authorised, archived and merged, its disposition stored, all of it durable,
before anybody hears an answer. Every public method may be called from any thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from bundle.errors import PulkError
from bundle.ids import BundleId, SiteName, Task
from bundle.trust import certificate, enrolment, fingerprint
from bundle.trust.certificate import Certificate
from bundle.trust.errors import EnrolmentRefused, KeyFileRefused, KeyRevoked
from bundle.trust.keys import KeyFile, Role
from bundle.trust.request import check_request
from bundle.wire import header
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central import (
    absorb,
    archived_people,
    auditing,
    backup_record,
    deltas,
    epochs,
    pack,
    parking,
    requests,
    safety,
    submission,
    trust_chain,
    why,
)
from central.absorb import Disposition
from central.archive import open_archive
from central.config import Config
from central.core.authorise import Action, Principal
from central.core.dag import Dag
from central.core.receipts import Outcome
from central.decoded import decoded
from central.errors import UnknownBundle
from central.home import Home
from central.informing import Informing
from central.pack import OutBundle
from central.persons import OPERATOR
from central.requests import Submitted
from central.standing import Standing
from central.store.opening import open_store
from central.tokens import take_token
from central.views import FilePlace
from central.workings import Workings, load_signer, new_epoch

SKEW_US_MAX = 300_000_000
CATCH_UP_US = 60_000_000
# What these kinds change for other sites than their own (a task made ready, a lease taken over)
# those hear a second later; see `central.door.known`.
OF_ITS_SITE = frozenset({Kind.RESULT.value, Kind.REPORT.value, Kind.TELEMETRY.value})

__all__ = ["Authority", "Disposition", "FilePlace", "OutBundle", "Submitted"]


class Authority(Informing):
    """See the module. Made by `open`; closed by `close`."""

    def __init__(self, workings: Workings) -> None:
        """Take over workings that nobody else uses."""
        self._packer = pack.Packer(workings)
        super().__init__(workings)
        self._caught_up_us = 0
        self._looked = 0  # the version of what was there when parked files were tried again
        self._heeded = 0  # the trust version that was acted on
        self._standing = Standing(workings.home.trust)

    @classmethod
    def open(cls, home: Home, config: Config, *, clock_us: Callable[[], int]) -> Self:
        """Open a central and merge what a crash left archived but not merged.

        Raises what `open_store` raises, KeyFileRefused, TrustRefused.
        """
        store = open_store(config, home)
        archive = open_archive(home, config)
        signer = load_signer(home.central_key)
        if epochs.stored(store) is None:
            # A database that is new beside an archive that is not: it learns what was said before
            # it says a word, so that its epoch comes after those.
            replay = Workings(home, config, store, archive, None, new_epoch(0), clock_us)
            absorb.recover(replay)
        workings = Workings(home, config, store, archive, signer, epochs.current(store), clock_us)
        if not store.people.tokens():
            take_token(home, store)
        deltas.sweep(home)
        absorb.recover(workings, is_alone=not workings.is_shared)
        safety.catch_up(workings)
        workings.tell_people = archived_people.tell
        archived_people.catch_up(workings)
        return cls(workings)

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            self._readers.close()
            self._w.store.close()

    def look_beside(self) -> None:
        """Take up what other processes of this central committed; call it every second.

        What is parked in this folder is tried again, for what it missed may have come to another.
        """
        with self._held():
            if self._w.has_doubts():
                with self._w.transaction():
                    pass
            if self._w.version != self._looked and any(self._w.home.parked.iterdir()):
                absorb.retry_all(self._w)
                parking.sweep(self._w)
            self._looked = self._w.version

    def absorb(self, path: Path) -> Disposition:
        """Take a bundle file; the caller may remove it afterwards. Never raises for its content."""
        submitted = self._submitted(path)
        with self._held():
            if submitted is not None:
                self._w.keep_dag(submitted)
            self._heed_trust()
            self._catch_up()
            try:
                found = absorb.absorb(self._w, path)
            except BaseException:
                self._marks.changed()
                raise
            self._mark(found)
            return found

    def _submitted(self, path: Path) -> Dag | None:
        """Return the document of a submission bundle, decoded while others go on.

        Only so that it is known when the lock is held: what is wrong with it is said there.
        """
        with suppress(PulkError, OSError):
            with path.open("rb") as file:
                head = header.unpack(
                    file.read(header.HEADER_BYTES), os.fstat(file.fileno()).st_size
                )
            if head.kind is Kind.SUBMISSION:
                with self._held():
                    trust = self._w.trust
                kinds = frozenset({Kind.SUBMISSION})
                with open_bundle(path, trust, audience=None, kinds=kinds) as bundle:
                    return decoded(submission.read(bundle).raw)
        return None

    def came_again(self, bundle: BundleId) -> None:
        """Count that a bundle whose end is known came once more."""
        with self._held():
            row = self._w.store.bundles.bundle(bundle)
            if row is not None:
                absorb.came_again(self._w, row)

    def _mark(self, found: Disposition) -> None:
        """Note whose outbox a bundle may have changed."""
        row = self._w.store.bundles.bundle(found.bundle) if found.bundle else None
        if row is not None and row.kind in OF_ITS_SITE:
            self._marks.changed(SiteName(row.producer))
        elif row is not None or found.outcome is not Outcome.REFUSED:
            self._marks.changed()

    def owe(self, sites: set[SiteName]) -> None:
        """Have the next bundle for each of these sites come though it says nothing but receipts."""
        with self._changing(), self._w.transaction():
            known = {row.name for row in self._w.store.bundles.sites()}
            for site in sorted(sites & known):
                self._w.store.bundles.add_news(site)

    def check(self, path: Path) -> None:
        """Verify a bundle file up to its signatures. Raises BundleRefused, some are Parkable."""
        with self._held():
            trust = self._w.trust
        open_bundle(path, trust, audience=None, kinds=absorb.KINDS).close()

    def outbox(self, site: SiteName) -> list[OutBundle]:
        """Return what a site is to fetch; packs new work where its newest report wants it."""
        with self._held():
            self._heed_trust()
            before = self._w.version
            found = self._packer.outbox(site)
            if self._w.version != before:
                self._marks.changed(site)  # it may have more the next time: work is packed in parts
            return found

    def outgoing(self, site: SiteName, bundle: BundleId) -> Path:
        """Return a file to send of one of central's bundles for a site, whole or a delta.

        Raises UnknownBundle.
        """
        with self._held():
            row = self._w.store.bundles.bundle(bundle)
            if row is None or row.kind != "work" or row.audience != site:
                raise UnknownBundle(bundle=bundle, site=site)
            if not self._w.archive.path(bundle).exists():
                raise UnknownBundle(bundle=bundle, site=site)
            return deltas.for_site(self._w, site, bundle)

    def pack(self, site: SiteName, tasks: int) -> OutBundle | None:
        """Pack up to `tasks` tasks, and whatever news there are, for a site now."""
        with self._held():
            self._heed_trust()
            return self._packer.pack(site, tasks)

    def enrol(self, request: bytes, fingerprint_words: str, by: Principal = OPERATOR) -> bytes:
        """Certify a site whose fingerprint was compared by phone; return the answer file.

        Raises EnrolmentRefused, WrongFingerprint, WeakKey, CertificateRefused, MalformedTrust,
        KeyRevoked, KeyFileRefused.
        """
        with self._changing():
            by = self._still_may(by, Action.SITE_ENROL)
            self._heed_trust()
            asked = enrolment.check_request(request, where="request")
            fingerprint.require(fingerprint_words, asked.fingerprint, where="request")
            trust = self._w.trust.trust
            if trust.revocation_of(asked.key):
                raise KeyRevoked(where="request", key=asked.key.hex(), site=asked.site)
            if role := self._w.trust.role_of(asked.key):
                raise EnrolmentRefused(where="request", reason=f"it is a {role} key, not a site's")
            registrar = KeyFile.load(self._w.home.registrar_key, Role.REGISTRAR)
            if registrar.public not in trust.registrars_in_force():
                reason = "the registrar's key is not in force: `pulk keys take` the version again"
                raise KeyFileRefused(where=str(registrar.path), reason=reason)
            now_us = self._w.clock_us()
            issued = certificate.issue(
                Certificate(asked.site, asked.key, now_us, now_us), registrar
            )
            with self._w.transaction():
                self._w.store.bundles.enrol(asked.site, asked.key, now_us)
                key = asked.key.hex()
                auditing.note(self._w, by, Action.SITE_ENROL, asked.site, key=key)
            return enrolment.make_answer(issued, trust.raw)

    def snapshot(self, by: Principal = OPERATOR) -> dict[str, Any]:
        """Copy the database, as it is at one moment, into a file of its own; return its place.

        Others are let in between; who asked removes the file. Also says epoch and last commit.
        """
        to = self._w.home.uploads / f"snapshot-{os.urandom(8).hex()}.sqlite"
        with self._held():
            self._w.store.backup(to, self._let_others_in)
            auditing.note(self._w, by, Action.BACKUP, "snapshot")
            return safety.snapshot(self._w, to)

    def cover(self, backup: Path, by: Principal = OPERATOR) -> dict[str, Any]:
        """Call safe what a finished backup on another device holds; return how many bundles.

        Raises NoBackup, BackupDamaged.
        """
        record = backup_record.read(backup)  # a large one takes a while: others go on
        with self._changing():
            by = self._still_may(by, Action.BACKUP)
            safety.catch_up(self._w)
            auditing.note(self._w, by, Action.BACKUP, str(backup))
            return safety.cover(self._w, backup, record)

    def why(self, task: Task, by: Principal = OPERATOR) -> dict[str, Any]:
        """Return what keeps a task from running; datasets that `by` may not read are not named.

        Raises UnknownDataset, UnknownTask.
        """
        with self._lock:  # the planner's board is in this process alone
            return why.why(self._w, self._packer.board, task, by)

    def presume_lost(self, site: SiteName, by: Principal = OPERATOR) -> int:
        """Take as a fact that a site is lost with all it holds; return how many leases that ends.

        What it brings later counts all the same. Raises UnknownSite.
        """
        with self._acting(by, Action.SITE_LOSE) as act:
            ended = requests.presume_lost(self._w, site)
            act.on(site, leases=ended)
            return ended

    def _catch_up(self) -> None:
        """Ask a mirror that failed again, now and then; under the lock."""
        now_us = self._w.clock_us()
        if self._w.archive.is_behind and not 0 <= now_us - self._caught_up_us < CATCH_UP_US:
            self._caught_up_us = now_us
            safety.catch_up(self._w)

    def _let_others_in(self) -> None:
        self._lock.release()
        self._lock.acquire()

    def _heed_trust(self) -> None:
        """Act on a trust version that was taken meanwhile; under the lock."""
        if self._w.trust.version != self._heeded:
            self._heeded = trust_chain.heed(self._w)

    def check_site_request(self, header: str, method: str, path: str) -> SiteName:
        """Return the site that signed a request. Raises RequestRefused, KeyRevoked, ...."""
        (_, trust), now_us = self._standing.now(), self._w.clock_us()
        return check_request(header, trust, method, path, now_us=now_us, skew_max_us=SKEW_US_MAX)
