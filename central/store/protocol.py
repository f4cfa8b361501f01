"""What central asks of a store: sets of facts in, sets of facts out, one writer's transactions.

Five parts that share one transaction: bundles and sites, datasets and leases, segments, tasks,
people. Numbers (`no`) are the store's own surrogates and mean nothing outside it. Reads work at
any time, writes inside `transaction()` only. What is written in one call has every key at most
once. Everything may raise DatabaseBusy or DatabaseTrouble; both are transient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bundle.ids import BundleId, DatasetId, Epoch, SiteName, StreamId
from bundle.records.receipt import StreamReceipt
from central.core.newest import Marks
from central.store.protocol_facts import Datasets, Segments, Tasks
from central.store.rows import (
    AccessRow,
    AuditRow,
    BundleRow,
    PersonRow,
    SiteRow,
    TokenRow,
    UserRow,
)


class Bundles(Protocol):
    """Bundles, streams and sites."""

    def bundle(self, bundle: BundleId) -> BundleRow | None:
        """Return a bundle that was seen."""

    def page(self, before: int, limit: int, site: str, kind: str, outcome: str) -> list[BundleRow]:
        """Return bundles below a number, the newest first, that a site made or is to get.

        An empty text asks for all of it.
        """

    def bundle_id(self, no: int) -> BundleId:
        """Return the id of a bundle's number."""

    def merged(self) -> Iterator[BundleRow]:
        """Yield all merged bundles in order of arrival; the store may be changed meanwhile."""

    def add_bundle(self, row: BundleRow) -> int:
        """Add a bundle; return its number."""

    def set_outcome(
        self, no: int, outcome: str, code: str, text: str, *, safe: bool, missing: str = ""
    ) -> None:
        """Change what became of a bundle."""

    def unsafe(self) -> list[BundleRow]:
        """Return the merged bundles that are not safe yet, in order of arrival."""

    def merged_ids(self) -> set[BundleId]:
        """Return the ids of all merged bundles."""

    def parked(self) -> list[BundleRow]:
        """Return the parked ones in order of arrival."""

    def kinds(self) -> list[tuple[str, bool, str, int]]:
        """Return (kind, has leases, outcome, how many)."""

    def head(self, epoch: Epoch) -> int:
        """Return the highest commit number of an epoch."""

    def commits_to(self, epoch: Epoch, commit: int) -> list[BundleRow]:
        """Return the bundles of an epoch's two last commits up to a number, the latest first."""

    def epoch_max(self) -> int:
        """Return the highest epoch counter seen in any bundle."""

    def last_of_stream(self, stream: StreamId) -> tuple[int, BundleId] | None:
        """Return the highest sequence of a stream and its bundle."""

    def rivals(self, row: BundleRow) -> list[BundleId]:
        """Return other bundles that claim the same place of the same stream."""

    def of_commit(self, epoch: Epoch, commit: int) -> list[BundleId]:
        """Return central's own bundles with a commit number, one at most unless it was split."""

    def receipts(self, producer: str) -> list[StreamReceipt]:
        """Return the receipts of all of a site's streams."""

    def receipt(self, stream: StreamId) -> StreamReceipt:
        """Return the receipt of one stream."""

    def save_receipt(self, producer: str, receipt: StreamReceipt) -> None:
        """Replace the receipt of a stream."""

    def tally(self, name: str) -> None:
        """Count one more of something that is no fact."""

    def tallies(self) -> dict[str, int]:
        """Return what was tallied."""

    def site(self, name: SiteName) -> SiteRow:
        """Return a site, made known where it was not."""

    def sites(self) -> list[SiteRow]:
        """Return all sites by name."""

    def enrol(self, name: SiteName, key: bytes, at_us: int) -> None:
        """Note a certificate."""

    def set_report(self, name: SiteName, raw: bytes, marks: Marks) -> None:
        """Replace a site's newest report."""

    def set_received(self, name: SiteName, raw: bytes, marks: Marks) -> None:
        """Replace what a site says it received."""

    def add_news(self, name: SiteName) -> None:
        """Note that there is something to tell a site."""

    def set_told(self, name: SiteName) -> None:
        """Note that all news up to now stand in a bundle."""


class People(Protocol):
    """People, tokens, access, audit, users, idempotency keys, and values by name.

    `touched`: kind (person, token, key) and name of whoever was changed since it was cleared.
    """

    touched: set[tuple[str, str]]

    def users(self) -> list[UserRow]:
        """Return all users by name, the removed ones too."""

    def save_user(self, row: UserRow) -> None:
        """Add or replace a user by the key."""

    def persons(self) -> list[PersonRow]:
        """Return all people by name, the closed ones too."""

    def add_person(self, row: PersonRow) -> int:
        """Add a person whose name is new; return the number: the row's, or the next for 0."""

    def change_person(self, row: PersonRow) -> None:
        """Replace role, groups, site, limits and when it was closed, of a person by the number."""

    def add_token(self, row: TokenRow) -> int:
        """Add a token; return its number."""

    def revoke_token(self, no: int, at_us: int) -> None:
        """Note when a token was revoked."""

    def tokens(self) -> list[TokenRow]:
        """Return all tokens by number, those that hold no more too."""

    def token(self, no: int) -> TokenRow | None:
        """Return a token by its number."""

    def token_by_digest(self, digest: bytes) -> TokenRow | None:
        """Return a token."""

    def access(self, dataset: DatasetId) -> AccessRow | None:
        """Return whose a dataset is and who sees it; None where nobody said."""

    def accesses(self) -> dict[DatasetId, AccessRow]:
        """Return the same of all datasets of which somebody said it."""

    def save_access(self, row: AccessRow) -> None:
        """Replace whose a dataset is and who sees it."""

    def add_audit(self, row: AuditRow) -> None:
        """Note a change."""

    def audit(
        self, before: int, limit: int, *, person: str | None = None, resource: str | None = None
    ) -> list[AuditRow]:
        """Return changes below a number, the newest first; of a resource, else of a person."""

    def remembered(self, token: int, key: str) -> tuple[bytes, bytes] | None:
        """Return digest of the request, and answer, that an idempotency key stands for."""

    def remember(self, token: int, key: str, request: bytes, answer: bytes) -> None:
        """Keep the answer to a request."""

    def meta(self, name: str) -> bytes | None:
        """Return a value by name."""

    def set_meta(self, name: str, value: bytes) -> None:
        """Replace a value by name."""


class Store(Protocol):
    """A store: five parts, one transaction at a time. Callable from any thread, one at a time."""

    @property
    def bundles(self) -> Bundles:
        """Bundles, streams and sites."""

    @property
    def datasets(self) -> Datasets:
        """Datasets, controls, works, leases."""

    @property
    def segments(self) -> Segments:
        """Segments, and in which blocks they have attempts."""

    @property
    def tasks(self) -> Tasks:
        """States of blocks, counters, rows of tasks, attempts, pins, outcomes, files."""

    @property
    def people(self) -> People:
        """People, tokens, access, audit, users, idempotency keys, and values by name."""

    @property
    def version(self) -> int:
        """A number that every committed transaction raises, of whatever process.

        What was read while it did not change is still so. Comparable on one open store only.
        """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may change it: then look at `version` before relying on memory.

        Each commit raises the version by one there.
        """

    def transaction(self) -> AbstractContextManager[None]:
        """Start a durable write transaction; an exception undoes all of it.

        Inside it nobody else changes anything. Where its end raises DatabaseTrouble, it may have
        been committed all the same: do it again, or look.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Read one moment of the store as long as it lasts; nothing can be changed inside it.

        Keep it short: an engine may keep commits waiting until it ends.
        """

    def check(self) -> list[str]:
        """Return what the storage engine finds wrong with its files."""

    def backup(self, to: Path, pause: Callable[[], None] = lambda: None) -> None:
        """Write the database, as it is at one moment, to a file that is not there yet, synced.

        `pause` is called now and then, where nothing is open: whoever holds a lock over the store
        may let others in. Raises FileExistsError, DatabaseBusy, DatabaseTrouble, BackupRefused.
        """

    def close(self) -> None:
        """Close it."""
