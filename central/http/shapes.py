"""What answers look like: the shapes that OpenAPI declares and that tests hold answers to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Text = str | None


class Shape(BaseModel):
    """A JSON object with these members. Programs must pass over members that they don't know."""

    model_config = ConfigDict(extra="allow")


class Problem(Shape):
    """A refusal, as RFC 9457 has it, with Pulk's error code beside (docs/errors.md).

    `line` and `path`: where in a dataset document, if that is what was refused.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    where: str
    what: str
    remedy: str
    transient: bool
    fields: dict[str, Any]
    line: int | None = None
    path: str | None = None


class Submitted(Shape):
    """A dataset that was taken."""

    id: str
    digest: str
    jobs: int
    tasks: int


class Edited(Shape):
    """Which steps compute something else now, and how many tasks begun so far run again."""

    id: str
    digest: str
    steps: list[int]
    tasks: int


class Resized(Edited):
    """A dataset's new size. `begun_beyond`: how many jobs were begun that it has no more."""

    jobs: int
    begun_beyond: int
    dry_run: bool


class Touched(Shape):
    """How many tasks a control covers; of a dry run also their verdicts."""

    tasks: int
    dry_run: bool = False
    verdicts: dict[str, int] = {}


class Access(Shape):
    """Whose a dataset is and who sees it."""

    owner: Text
    group: Text
    visibility: Literal["private", "group", "public"]


class DatasetRow(Shape):
    """A dataset in a list; with `fields`, some of these."""

    id: str = ""
    name: str = ""
    digest: str = ""
    jobs: int = 0
    steps: int = 0
    tasks: int = 0
    submitted: Text = None
    owner: Text = None
    group: Text = None
    visibility: Literal["private", "group", "public"] = "private"


class Datasets(Shape):
    """A page of datasets."""

    datasets: list[DatasetRow]
    next: Text


class Step(Shape):
    """A step of a dataset."""

    step: int
    name: str
    per: str
    needs: list[int]
    outputs: list[str]


class EditInForce(Shape):
    """The edit that put a dataset's document in force; who knows: `site`, `heard`, `refused`."""

    epoch: int
    commit: int
    sites: list[dict[str, Any]]


class Dataset(Access):
    """One dataset: what it is, and who stands behind it."""

    id: str
    name: str
    digest: str
    jobs: int
    steps: list[Step]
    tasks: int
    submitted: Text
    description: str
    seed: int
    control: Text
    open: bool
    edited: EditInForce | None
    submitted_by: Text
    cosigned_by: list[str]


class StepCounts(Shape):
    """A step's tasks by verdict, and what attempts used."""

    step: int
    name: str
    tasks: int
    counts: dict[str, int]
    attempts: int
    wall_ms: int
    cpu_ms: int
    read_bytes: int
    written_bytes: int
    memory_peak_mib: int


class Counts(Shape):
    """A dataset's counts."""

    dataset: str
    jobs: int
    tasks: int
    steps: list[StepCounts]


class Learned(Shape):
    """What attempts taught about requests."""

    policy: str
    quantile: float
    confidence: float
    needed: int
    steps: list[dict[str, Any]]


class Disputes(Shape):
    """Deterministic tasks whose successes differ."""

    disputes: list[dict[str, Any]]
    complete: bool


class AttemptRow(Shape):
    """An attempt; with `fields`, some of these."""

    no: int = 0
    attempt: str = ""
    job: int = 0
    step: int = 0
    generation: int = 0
    fate: str = ""
    site: str = ""
    wall_ms: int = 0
    cpu_ms: int = 0
    memory_peak_mib: int = 0


class Attempts(Shape):
    """A page of attempts; `next` is the cursor of the next one."""

    attempts: list[AttemptRow]
    next: int | None


class TaskRow(Shape):
    """A task in a list; with `fields`, some of these."""

    job: int = 0
    step: int = 0
    verdict: str = ""
    failures: int = 0


class Tasks(Shape):
    """A page of tasks, by step and job."""

    tasks: list[TaskRow]
    next: Text


class JobRow(Shape):
    """A job: its state, and the verdict of each step per job, by the step's name."""

    job: int = 0
    state: str = ""
    verdicts: dict[str, str] = {}


class Jobs(Shape):
    """A page of jobs."""

    jobs: list[JobRow]
    next: Text


class Task(Shape):
    """One task: verdict, attempts, provenance."""

    task: str
    verdict: str
    attempts: list[dict[str, Any]]


class Event(Shape):
    """One thing that happened to a task; `at`: by whose `clock`, null where nobody noted it."""

    what: str
    at: Text
    at_us: int
    clock: str
    text: str


class Story(Shape):
    """What happened to a task, in the order in which central learned it."""

    task: str
    step: str
    verdict: str
    story: list[Event]


class Log(Shape):
    """What one attempt wrote: head and tail where it was long."""

    no: int
    attempt: str
    generation: int
    fate: str
    site: str
    exit_code: int
    evidence: str
    bytes: int
    log: str


class Logs(Shape):
    """What the newest attempts at a task wrote. `complete`: there were no others."""

    task: str
    step: str
    attempts: list[Log]
    complete: bool


class Why(Shape):
    """What keeps a task from running, the reason first."""

    task: str
    step: str
    verdict: str
    reason: str
    because: list[dict[str, Any]]


class Aggregates(Shape):
    """Groups, each with what it is of and its sums. `complete`: all there is was looked at."""

    by: list[str]
    groups: list[dict[str, Any]]
    complete: bool


class SiteRow(Shape):
    """A site; what it reported and holds is shown to those who may know."""

    site: str = ""
    enrolled_us: int = 0
    heard_s: int | None = None
    silent: bool = False
    tasks_leased: int = 0


class Sites(Shape):
    """A page of sites."""

    sites: list[SiteRow]
    next: Text


class Lost(Shape):
    """How many leases ended with a site that is presumed lost."""

    leases: int


class BundleRow(Shape):
    """A bundle that was verified, and what became of it."""

    id: str = ""
    kind: str = ""
    producer: str = ""
    audience: Text = None
    sequence: int = 0
    created: Text = None
    size_bytes: int = 0
    outcome: str = ""
    code: str = ""
    text: str = ""
    safe: bool = False


class Bundles(Shape):
    """A page of bundles, the newest first."""

    bundles: list[BundleRow]
    next: Text


class Brought(Shape):
    """What became of a bundle, as far as that is known; only the signed receipt counts."""

    disposition: Literal["merged", "parked", "refused"]
    code: str
    text: str
    bundle: str | None


class Held(Shape):
    """How much of a bundle came before a transfer of it broke off."""

    bundle: str
    bytes: int


class OutBundle(Shape):
    """A bundle that is there for a site. `sequence`: its number in central's stream to the site."""

    id: str
    bytes: int
    sequence: int


class Outbox(Shape):
    """What is there for a site."""

    bundles: list[OutBundle]


class Health(Shape):
    """Whether central answers; with credentials, how it is."""

    ok: bool


class Snapshot(Shape):
    """Where a copy of the database lies on central's machine."""

    file: str
    epoch: int
    nonce: str
    commit: int
    lease_ms: int


class Covered(Shape):
    """How many bundles a backup makes safe."""

    covered: int
    apart: bool
