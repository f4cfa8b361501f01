"""The rows that a store keeps, as values: what passes between it and the rest of central.

Numbers (`no`) are the store's own surrogates and mean nothing outside it.
"""

from __future__ import annotations

from typing import NamedTuple

from bundle.ids import BundleId, DatasetId, Epoch, LeaseId, SiteName, StreamId
from bundle.intervals import IntervalSet
from central.core.changes import UsageSum
from central.core.newest import Marks

Outputs = tuple[tuple[bytes, int], ...]
BlockKey = tuple[int, int]  # (step, block); a block is 65,536 jobs of one step


class BundleRow(NamedTuple):
    """One bundle that was verified, and what became of it."""

    id: BundleId
    kind: str
    producer: str
    audience: str
    stream: StreamId
    sequence: int
    epoch: Epoch | None
    commit: int
    created_us: int
    size_bytes: int
    leases: int
    outcome: str
    code: str = ""
    text: str = ""
    safe: bool = False
    missing: str = ""  # what would unblock a parked one
    no: int = 0


class SiteRow(NamedTuple):
    """One site: its newest report, what it received of central's streams, and what is news."""

    name: SiteName
    key: bytes
    enrolled_us: int
    report: bytes
    report_marks: Marks
    received: bytes
    received_marks: Marks
    told: int
    news: int


class DatasetRow(NamedTuple):
    """One dataset. `submitted_us` is 0 where only a lease tells of it."""

    no: int
    id: DatasetId
    digest: bytes
    name: str
    jobs: int
    steps: int
    tasks: int
    submitted_us: int
    touched: IntervalSet = IntervalSet()  # jobs that something happened to
    crossed: bool = False  # leases that lived at one time overlap

    @property
    def past(self) -> int:
        """The job after the last that there is, or that was begun before it was truncated."""
        return max(self.jobs, self.touched.spans[-1][1] if self.touched.spans else 0)

    @property
    def fresh(self) -> int:
        """How many jobs nothing happened to."""
        return self.jobs - len(self.touched.within(0, self.jobs))


class WorkRow(NamedTuple):
    """One verified work manifest; `chunks` are the digests of its lease and dataset chunks."""

    id: BundleId
    site: SiteName
    created_us: int
    lifetime_ms: int
    chunks: frozenset[bytes]


class LeaseRow(NamedTuple):
    """One lease. `state`: live, complete, expired, or gone (the site holds it no more).

    `raw` is what its chunk says, or, where it is `alike` another one (by its number), what
    it differs in from `pattern`, that one's own `raw`.
    """

    no: int
    id: LeaseId
    dataset: int
    digest: bytes
    work: BundleId
    site: SiteName
    deadline_us: int
    state: str
    raw: bytes
    tasks: int = 0  # it covers
    answered: int = 0  # of them by a result
    alike: int = 0
    pattern: bytes = b""


class Span(NamedTuple):
    """Between which jobs of a block a segment has attempts."""

    step: int
    block: int
    job_min: int
    job_max: int


class SegmentRow(NamedTuple):
    """One segment and the chunk of the archived bundle in which it lies.

    `unsuccessful`: how many of its attempts are no success. `local_min` and `local_max` bound the
    local numbers, `generation_max` the generations of its attempts.
    """

    digest: bytes
    dataset: int
    bundle: int
    place: int
    lease: int
    pilot_run: bytes
    batch_id: str
    attempts: int
    unsuccessful: int
    local_min: int
    local_max: int
    generation_max: int
    complete: bool
    salvaged: bool
    spans: tuple[Span, ...] = ()
    no: int = 0


class BlockRow(NamedTuple):
    """The state of a block, which the store does not look into.

    `ready` and `failed`: how many of its tasks are so.
    """

    step: int
    block: int
    state: bytes
    ready: int
    failed: int


class FileRow(NamedTuple):
    """A file that travelled home: in which chunk of which archived bundle it lies."""

    digest: bytes
    bundle: int
    place: int
    size_bytes: int


class UserRow(NamedTuple):
    """A person whose key may sign submissions. `removed_us`: 0 while it may."""

    key: bytes
    name: str
    added_us: int
    removed_us: int = 0


class PersonRow(NamedTuple):
    """Somebody who may ask central for something, known by a name that is never given twice.

    `member_of` and `limits` are JSON. `site`: of role site, which one. `issuer` and `subject` are
    empty for those whom no identity provider vouches for. `closed_us`: 0 while it is open.
    """

    no: int
    name: str
    role: str
    member_of: str = "[]"
    site: str = ""
    limits: str = "{}"
    issuer: str = ""
    subject: str = ""
    made_us: int = 0
    closed_us: int = 0


class TokenRow(NamedTuple):
    """A token by its digest. `scopes`: words with spaces between; `expires_us` 0: never.

    `made_by`: the number of the token that it was made with; 0: with none.
    """

    no: int
    digest: bytes
    name: str
    person: int
    scopes: str
    made_us: int = 0
    expires_us: int = 0
    revoked_us: int = 0
    made_by: int = 0


class AccessRow(NamedTuple):
    """Whose a dataset is and who sees it. `told`: by which commit; the greatest is the newest."""

    dataset: DatasetId
    owner: str
    group: str
    visibility: str
    told: bytes = b""


class AuditRow(NamedTuple):
    """One change: who did what to which thing. `detail` is JSON."""

    no: int
    at_us: int
    person: str
    token: int
    action: str
    resource: str
    detail: str


class StepRow(NamedTuple):
    """Counters of a step: touched tasks by verdict (in the order of `Verdict`), and usage."""

    step: int
    verdicts: tuple[int, ...]
    known: int
    usage: UsageSum
