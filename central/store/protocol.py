"""What central asks of a store: sets of facts in, sets of facts out, one writer's transactions.

Four parts that share one transaction: bundles and sites, datasets and leases, tasks, people.
Numbers (`no`) are the store's own surrogates and mean nothing outside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from bundle.ids import BundleId, DatasetId, Epoch, LeaseId, SiteName, StreamId
from bundle.records.receipt import StreamReceipt
from bundle.trust.signed import Signature
from central.core.changes import Changes
from central.core.facts import AttemptFact, Control, Pin, Place, TaskRow
from central.core.newest import Marks
from central.core.source import Source
from central.store.rows import (
    BundleRow,
    DatasetRow,
    FileRow,
    LeaseRow,
    Outputs,
    SegmentRow,
    SiteRow,
    StepRow,
    UserRow,
    WorkRow,
)


class Bundles(Protocol):
    """Bundles, streams and sites."""

    def bundle(self, bundle: BundleId) -> BundleRow | None:
        """Return a bundle that was seen."""

    def bundle_id(self, no: int) -> BundleId:
        """Return the id of a bundle's number."""

    def merged(self) -> Iterator[BundleRow]:
        """Yield all merged bundles."""

    def add_bundle(self, row: BundleRow) -> int:
        """Add a bundle; return its number."""

    def set_outcome(
        self, no: int, outcome: str, code: str, text: str, *, safe: bool, missing: str = ""
    ) -> None:
        """Change what became of a bundle."""

    def unsafe(self) -> list[BundleRow]:
        """Return the merged bundles that are not safe yet."""

    def merged_ids(self) -> set[BundleId]:
        """Return the ids of all merged bundles."""

    def parked(self) -> list[BundleRow]:
        """Return the parked ones in order of arrival."""

    def kinds(self) -> list[tuple[str, bool, str, int]]:
        """Return (kind, has leases, outcome, how many)."""

    def head(self, epoch: Epoch) -> int:
        """Return the highest commit number of an epoch."""

    def epoch_max(self) -> int:
        """Return the highest epoch counter seen in any bundle."""

    def last_of_stream(self, stream: StreamId) -> tuple[int, BundleId] | None:
        """Return the highest sequence of a stream and its bundle."""

    def rivals(self, row: BundleRow) -> list[BundleId]:
        """Return other bundles that claim the same place of the same stream."""

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


class Datasets(Protocol):
    """Datasets, controls, works, leases, segments."""

    def document(self, digest: bytes) -> bytes | None:
        """Return a dataset document."""

    def has_document(self, digest: bytes) -> bool:
        """Return whether a dataset document is here."""

    def add_document(self, digest: bytes, raw: bytes) -> None:
        """Add a document; known ones change nothing."""

    def datasets(self) -> list[DatasetRow]:
        """Return all datasets, oldest first."""

    def dataset(self, dataset: DatasetId) -> DatasetRow | None:
        """Return a dataset."""

    def dataset_by_no(self, no: int) -> DatasetRow:
        """Return the dataset of a number."""

    def add_dataset(self, row: DatasetRow) -> int:
        """Add a dataset; return its number."""

    def set_submitted(self, no: int, at_us: int) -> None:
        """Note when it was submitted."""

    def submitter(self, no: int) -> bytes:
        """Return the key of the user whose bundle submitted a dataset; empty where none did."""

    def set_submitter(self, no: int, key: bytes) -> None:
        """Note the key of the user whose bundle submitted a dataset."""

    def cosignatures(self, document: bytes) -> list[Signature]:
        """Return who co-signed a document, by its digest, ascending by key."""

    def add_cosignatures(self, document: bytes, rows: Iterable[Signature]) -> None:
        """Add verified co-signatures of a document; known ones change nothing."""

    def controls(self, no: int) -> list[Control]:
        """Return all controls of a dataset."""

    def add_control(self, no: int, control: Control) -> None:
        """Add a control; known ones change nothing."""

    def tombstones(self) -> list[DatasetId]:
        """Return the datasets with a tombstone."""

    def work(self, bundle: BundleId) -> WorkRow | None:
        """Return a verified work manifest."""

    def add_work(self, row: WorkRow) -> None:
        """Add a work manifest; known ones change nothing."""

    def lease(self, lease: LeaseId) -> LeaseRow | None:
        """Return a lease."""

    def add_lease(self, row: LeaseRow) -> int:
        """Add a live lease; return its number."""

    def expired(self, now_us: int) -> list[int]:
        """Return the numbers of live leases whose deadline has passed."""

    def live_of_site(self, site: SiteName) -> list[tuple[int, BundleId, StreamId, int]]:
        """Return (lease's number, work bundle, its stream and sequence) of a site's live leases.

        The stream is empty where the work bundle is not here: only what the site says tells of it.
        """

    def end_leases(self, numbers: Iterable[int], state: str) -> None:
        """End live leases."""

    def known_segments(self, digests: Collection[bytes]) -> set[bytes]:
        """Return which of the segments are known."""

    def add_segment(self, row: SegmentRow) -> int:
        """Add a segment; return its number."""


class Tasks(Protocol):
    """Rows of touched tasks, attempts, pins, outcomes, files."""

    def source(self, dataset: int) -> Source:
        """Return a dataset's facts as the merge asks for them."""

    def save(
        self, dataset: DatasetRow, changes: Changes, segments: Mapping[bytes, int], bundle: int
    ) -> None:
        """Write what a merge changed. `segments`: number of the segment by attempt's content."""

    def every_row(self, dataset: int) -> Iterator[TaskRow]:
        """Yield all rows by step and job."""

    def every_attempt(self, dataset: int) -> Iterator[AttemptFact]:
        """Yield all attempts by step and job."""

    def every_pin(self, dataset: int) -> Iterator[Pin]:
        """Yield all pins."""

    def steps(self, dataset: int) -> list[StepRow]:
        """Return the counters of steps that have any."""

    def rows_of_leases(self, leases: Iterable[int]) -> dict[int, list[Place]]:
        """Return by dataset the tasks that live leases cover."""

    def leased_by(self, site: SiteName) -> int:
        """Return how many tasks are leased to a site."""

    def ready(self, dataset: int, limit: int) -> list[Place]:
        """Return tasks that are ready and have a row, lowest job first."""

    def rows(self, dataset: int, places: Collection[Place]) -> list[TaskRow]:
        """Return the rows of those tasks that have one."""

    def done_spans(self, dataset: int) -> list[tuple[int, int, int]]:
        """Return (step, first job, count) of all done tasks."""

    def outcomes(self, digests: Collection[bytes]) -> dict[bytes, Outputs]:
        """Return the outputs that outcomes stand for."""

    def add_outcomes(self, outcomes: Mapping[bytes, Outputs]) -> None:
        """Add outcomes; known ones change nothing."""

    def files(self, digests: Collection[bytes]) -> dict[bytes, FileRow]:
        """Return where files lie."""

    def add_files(self, rows: Iterable[FileRow]) -> None:
        """Add files; known ones change nothing."""

    def success_keys(self, dataset: DatasetRow, places: Collection[Place]) -> dict[Any, str]:
        """Return by (step, job, generation, outcome) the smallest text of an attempt key."""

    def page(
        self,
        dataset: int,
        step: int | None,
        job: int | None,
        fate: int | None,
        after: int,
        limit: int,
    ) -> Sequence[Mapping[str, Any]]:
        """Return attempts after a number, as plain values."""


class People(Protocol):
    """Tokens, users, idempotency keys, and values by name."""

    def users(self) -> list[UserRow]:
        """Return all users by name, the removed ones too."""

    def save_user(self, row: UserRow) -> None:
        """Add or replace a user by the key."""

    def add_token(self, digest: bytes, name: str) -> None:
        """Add a token by its digest; known ones change nothing."""

    def tokens(self) -> list[tuple[int, bytes]]:
        """Return number and digest of every token."""

    def remembered(self, token: int, key: str) -> tuple[bytes, bytes] | None:
        """Return digest of the request, and answer, that an idempotency key stands for."""

    def remember(self, token: int, key: str, request: bytes, answer: bytes) -> None:
        """Keep the answer to a request."""

    def meta(self, name: str) -> bytes | None:
        """Return a value by name."""

    def set_meta(self, name: str, value: bytes) -> None:
        """Replace a value by name."""


class Store(Protocol):
    """A store: four parts, one transaction at a time."""

    @property
    def bundles(self) -> Bundles:
        """Bundles, streams and sites."""

    @property
    def datasets(self) -> Datasets:
        """Datasets, controls, works, leases, segments."""

    @property
    def tasks(self) -> Tasks:
        """Rows of touched tasks, attempts, pins, outcomes, files."""

    @property
    def people(self) -> People:
        """Tokens, users, idempotency keys, and values by name."""

    def transaction(self) -> AbstractContextManager[None]:
        """Start a durable write transaction; an exception undoes all of it."""

    def backup(self, to: Path, pause: Callable[[], None]) -> None:
        """Write the database, as it is at one moment, to a new file, synced.

        `pause` is called now and then, where nothing is open: whoever holds a lock over the store
        may let others in. Raises BackupUnsupported where the store can't do that by itself.
        """

    def check(self) -> list[str]:
        """Return what the storage engine finds wrong with its files."""

    def close(self) -> None:
        """Close it."""
