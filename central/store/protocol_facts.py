"""What central asks of a store, second half: datasets, leases, segments and tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from bundle.ids import JOB_MAX, BundleId, DatasetId, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.trust.signed import Signature
from central.core.facts import AttemptFact, Control, Pin, Place, TaskRow, Verdict
from central.store.rows import (
    BlockKey,
    BlockRow,
    DatasetRow,
    FileRow,
    LeaseRow,
    Outputs,
    SegmentRow,
    Span,
    StepRow,
    WorkRow,
)


class Datasets(Protocol):
    """Datasets, controls, works, leases."""

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
        """Return the dataset of a number. Raises LookupError."""

    def add_dataset(self, row: DatasetRow) -> int:
        """Add a dataset; return its number."""

    def set_submitted(self, no: int, at_us: int) -> None:
        """Note when it was submitted."""

    def set_touched(self, no: int, touched: IntervalSet) -> None:
        """Replace the jobs of a dataset that something happened to."""

    def set_crossed(self, no: int) -> None:
        """Note that live leases of a dataset overlap."""

    def set_document(self, row: DatasetRow) -> None:
        """Note which document of a dataset is in force, with the name, jobs and tasks it gives."""

    def submitter(self, no: int) -> bytes:
        """Return the key of the user whose bundle submitted a dataset; empty where none did."""

    def submitters(self) -> dict[int, bytes]:
        """Return the keys of the users whose bundles submitted datasets, by number."""

    def set_submitter(self, no: int, key: bytes) -> None:
        """Note the key of the user whose bundle submitted a dataset."""

    def cosignatures(self, document: bytes) -> list[Signature]:
        """Return who co-signed a document, by its digest, ascending by key."""

    def add_cosignatures(self, document: bytes, rows: Iterable[Signature]) -> None:
        """Add verified co-signatures of a document; known ones change nothing."""

    def controls(self, no: int) -> list[Control]:
        """Return all controls of a dataset by epoch and commit."""

    def controls_of(self, numbers: Collection[int]) -> dict[int, list[Control]]:
        """Return the controls of those datasets that have any, by number, as `controls` does."""

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

    def lease_by_no(self, no: int) -> LeaseRow:
        """Return the lease of a number. Raises LookupError."""

    def leases_by_no(self, numbers: Collection[int]) -> list[LeaseRow]:
        """Return leases by their numbers, ascending; unknown numbers are left out."""

    def leases(self, ids: Collection[LeaseId]) -> list[LeaseRow]:
        """Return those leases that are known, by number; one query."""

    def live_on(self, dataset: int) -> list[LeaseRow]:
        """Return the live leases of a dataset by number."""

    def unanswered_on(self, dataset: int, newest: int, count_max: int) -> list[LeaseRow]:
        """Return leases of a dataset that ended before they were answered whole, by number.

        No index leads to them, so only the `newest` leases of all are looked through, and the last
        `count_max` that are found are returned.
        """

    def add_leases(self, rows: Sequence[LeaseRow]) -> list[int]:
        """Add live leases, whose works are known; return their numbers."""

    def answer(self, counts: Mapping[int, int]) -> None:
        """Note how many tasks more of leases, by their numbers, a result answered."""

    def leased_at(self, site: SiteName) -> list[tuple[int, int]]:
        """Return (dataset, how many tasks) of what is leased to a site, as `leased_by` counts."""

    def leased_by(self, site: SiteName) -> int:
        """Return how many tasks of a site's live leases are not answered."""

    def expired(self, now_us: int) -> list[int]:
        """Return the numbers of live leases whose deadline has passed, by deadline."""

    def live_of_site(self, site: SiteName) -> list[tuple[int, BundleId, StreamId, int]]:
        """Return (lease's number, work bundle, its stream and sequence) of a site's live leases.

        The stream is empty where the work bundle is not here: only what the site says tells of it.
        """

    def end_leases(self, numbers: Iterable[int], state: str) -> None:
        """Give live leases another state; what is not live stays as it is."""


class Segments(Protocol):
    """Segments: the unit that counts exactly once."""

    def known(self, digests: Collection[bytes]) -> set[bytes]:
        """Return which of the segments are known."""

    def add(self, rows: Sequence[SegmentRow]) -> list[int]:
        """Add segments that are not known, with their spans; return numbers in the order given."""

    def touching(
        self, dataset: int, keys: Collection[BlockKey], first: int = 0, last: int = JOB_MAX
    ) -> list[tuple[SegmentRow, Span]]:
        """Return what segments have attempts in some blocks, and where, by number and span.

        Only those that meet the jobs from `first` to `last`. The rows' own `spans` are left empty.
        """

    def of_leases(self, leases: Collection[int]) -> list[SegmentRow]:
        """Return the segments of leases by number, in one query; their spans left empty."""

    def with_spans(self, rows: Sequence[SegmentRow]) -> list[SegmentRow]:
        """Return known segments with their spans."""

    def after(
        self, dataset: int, no: int, limit: int, unsuccessful: bool = False
    ) -> list[SegmentRow]:
        """Return the segments of a dataset after a number, by number.

        `unsuccessful`: those alone that have an attempt which is no success.
        """

    def generation_max(self, dataset: int) -> int:
        """Return the highest generation of which a segment has an attempt; -1 where none has."""


class Tasks(Protocol):
    """States of blocks, counters of steps; rows, attempts and pins of tasks; outcomes, files."""

    def blocks(self, dataset: int, keys: Collection[BlockKey]) -> dict[BlockKey, bytes]:
        """Return the states of those blocks that have one, in one query."""

    def every_block(self, dataset: int) -> Iterator[BlockRow]:
        """Yield all blocks by step and block."""

    def blocks_with(
        self, dataset: int, word: Verdict, limit: int, after: BlockKey = (-1, -1)
    ) -> list[BlockKey]:
        """Return blocks with tasks that are READY, or FAILED, by block and step, after a key.

        Raises ValueError for another verdict.
        """

    def save_blocks(self, dataset: int, rows: Sequence[BlockRow]) -> None:
        """Add or replace blocks."""

    def steps(self, dataset: int) -> list[StepRow]:
        """Return the counters of steps that have any, by step."""

    def steps_of(self, numbers: Collection[int]) -> dict[int, list[StepRow]]:
        """Return the counters of those datasets that have any, by number, as `steps` does."""

    def add_to_steps(self, dataset: int, rows: Sequence[StepRow]) -> None:
        """Add differences, which may be negative, to counters; the peak becomes the maximum."""

    def set_steps(self, dataset: int, rows: Sequence[StepRow]) -> None:
        """Replace the counters by verdict, and `known`; usage stays."""

    def rows(self, dataset: int, places: Collection[Place]) -> list[TaskRow]:
        """Return the rows of those tasks that have one, in any order."""

    def every_row(self, dataset: int) -> Iterator[TaskRow]:
        """Yield all rows by step and job."""

    def save_rows(self, dataset: int, rows: Iterable[TaskRow]) -> None:
        """Add or replace rows."""

    def drop_rows(self, dataset: int, places: Collection[Place]) -> None:
        """Remove rows; a task without one changes nothing."""

    def attempts(self, dataset: int, places: Collection[Place]) -> list[AttemptFact]:
        """Return the attempts that are kept of tasks, in any order."""

    def every_attempt(self, dataset: int) -> Iterator[AttemptFact]:
        """Yield all attempts that are kept, by step, job and content."""

    def add_attempts(self, dataset: int, rows: Sequence[tuple[AttemptFact, int]]) -> None:
        """Add attempts with their segments' numbers; known ones change nothing.

        Raises LookupError for a lease that is not known.
        """

    def pins(self, dataset: int, places: Collection[Place]) -> list[Pin]:
        """Return the pins of tasks, in any order."""

    def every_pin(self, dataset: int) -> Iterator[Pin]:
        """Yield all pins by step, job, generation, epoch and commit."""

    def add_pins(self, dataset: int, pins: Iterable[Pin]) -> None:
        """Add pins; known ones change nothing."""

    def add_contradictions(
        self, dataset: int, bundle: int, rows: Sequence[tuple[int, int, str]]
    ) -> None:
        """Note (step, job, attempt's name) of attempt keys with two contents, told by a bundle."""

    def outcomes(self, digests: Collection[bytes]) -> dict[bytes, Outputs]:
        """Return the outputs that outcomes stand for."""

    def add_outcomes(self, outcomes: Mapping[bytes, Outputs]) -> None:
        """Add outcomes; known ones change nothing."""

    def files(self, digests: Collection[bytes]) -> dict[bytes, FileRow]:
        """Return where files lie."""

    def add_files(self, rows: Iterable[FileRow]) -> None:
        """Add files; known ones change nothing."""
