"""A dataset as frozen values, the form in which it is hashed, carried and run.

`central.document` makes it from what a person wrote; `to_wire` and `from_wire` carry it.
Integers have the units of their names; names of steps are labels, their index is the identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from bundle import canonical, shape
from bundle.dataset import abilities, asks, containers, foreign
from bundle.dataset.abilities import NO_CHECKPOINT, NOT_ELASTIC, Checkpoint, Elastic
from bundle.dataset.asks import Account, Requires
from bundle.dataset.foreign import Foreign
from bundle.digest import digest
from bundle.limits import DOCUMENT_LIMITS
from bundle.records import learning as learnings
from bundle.records import rules as retry_rules
from bundle.records.learning import Learning
from bundle.records.rules import RetryRules

SCHEMA = 1
COUNTED_FAILURES_MAX = 3


class Per(StrEnum):
    """How often a step runs: for each job, for each block of jobs, or once (fan-in)."""

    JOB = "job"
    BLOCK = "block"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments; `$(macro)` is expanded where it runs."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A built-in payload: burn cpu, hold memory, read every input, write outputs of given sizes."""

    cpu_ms: int
    wall_ms: int
    memory_mib: int
    output_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """An output of a parent step, staged under `name` (`<job>/<name>` for a fan-in over jobs)."""

    step: int
    output: int
    name: str


@dataclass(frozen=True, slots=True)
class Generated:
    """An input nobody produces: a file of seeded bytes that the site makes for itself."""

    name: str
    size_bytes: int
    seed: int


@dataclass(frozen=True, slots=True)
class Output:
    """A file that the task must leave behind; `keep` carries it home though others consume it."""

    name: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What one task asks of the node. Editing it never changes what the task computes."""

    cpu_milli: int = 1000
    gpu_milli: int = 0
    memory_mib: int = 512
    disk_bytes: int = 1 << 30
    walltime_ms: int = 3_600_000


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the dataset's DAG. `needs` lists every parent, whether or not a file moves.

    `deterministic`: the same inputs always give the same files, so different ones are a dispute.
    """

    name: str
    run: Command | Synthetic
    per: Per = Per.JOB
    needs: tuple[int, ...] = ()
    inputs: tuple[Input, ...] = ()
    generated: tuple[Generated, ...] = ()
    files: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    request: Request = field(default_factory=Request)
    failures_max: int = COUNTED_FAILURES_MAX
    requires: Requires = field(default_factory=Requires)
    retry: RetryRules = retry_rules.DEFAULT
    deterministic: bool = False
    checkpoint: Checkpoint = NO_CHECKPOINT
    elastic: Elastic = NOT_ELASTIC
    container: str = ""  # an image that the command runs in, see bundle.dataset.containers
    block_jobs: int = 0  # jobs of each of its tasks, where it runs per block
    iteration: int | None = None  # what `$(iteration)` is, of a step that is one of several alike
    foreign: tuple[Foreign, ...] = ()  # needs of other datasets


@dataclass(frozen=True, slots=True)
class Dataset:
    """A production request: `jobs` times the DAG of `steps`, with everything that travels along."""

    name: str
    jobs: int
    seed: int
    steps: tuple[Step, ...]
    description: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    account: Account = field(default_factory=Account)
    learning: Learning = learnings.DEFAULT
    open: bool = False  # for more jobs: what needs all of them waits
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()  # values that jobs take in turn

    def tasks_of(self, step: int) -> int:
        """Return how many tasks a step has."""
        return -(-self.jobs // self.span(step))

    def span(self, step: int) -> int:
        """Return how many jobs each of a step's tasks is about; the last one may have fewer."""
        one = self.steps[step]
        if one.per is Per.BLOCK:
            return max(1, one.block_jobs)
        return 1 if one.per is Per.JOB else self.jobs

    def tasks(self) -> int:
        """Return how many tasks the dataset has."""
        return sum(self.tasks_of(step) for step in range(len(self.steps)))


def encode(dataset: Dataset) -> bytes:
    """Return the canonical bytes of a dataset: the raw bytes of its chunk."""
    return canonical.encode(to_wire(dataset))


def decode(raw: bytes) -> Dataset:
    """Read the canonical bytes of a dataset. Raises NotCanonical or canonical-shape errors."""
    return from_wire(canonical.decode(raw, DOCUMENT_LIMITS, where="dataset"))


def dataset_digest(raw: bytes) -> bytes:
    """Return the digest of a dataset's canonical bytes, equal to the digest of its chunk."""
    return digest("chunk.dataset", raw)


def request_to_wire(request: Request) -> list[int]:
    """Return `[cpu_milli, gpu_milli, memory_mib, disk_bytes, walltime_ms]`."""
    return [getattr(request, one.name) for one in fields(Request)]


def request_from_wire(row: shape.Reader, first: int = 0) -> Request:
    """Read a request that is the end of an array, from a place on. Raises WrongShape."""
    length = first + len(fields(Request))
    if not isinstance(row.value, list) or len(row.value) != length:
        found = f"{len(row.value)} fields"
        raise shape.WrongShape(where=row.where, expected=f"{length} fields", found=found)
    return Request(*(row.count(place) for place in range(first, length)))


def to_wire(dataset: Dataset) -> dict[str, Any]:
    """Return the dataset as plain values for canonical encoding."""
    changed = learnings.to_wire(dataset.learning)
    return (
        ({"learning": changed} if changed else {})
        | ({"open": True} if dataset.open else {})
        | ({"lists": {n: list(of) for n, of in dataset.lists}} if dataset.lists else {})
        | {
            "schema": SCHEMA,
            "name": dataset.name,
            "description": dataset.description,
            "jobs": dataset.jobs,
            "seed": dataset.seed,
            "parameters": dict(dataset.parameters),
            "files": dict(dataset.files),
            "steps": [_step_to_wire(step) for step in dataset.steps],
        }
        | asks.account_to_wire(dataset.account)
    )


def _step_to_wire(step: Step) -> dict[str, Any]:
    match step.run:
        case Command(argv):
            run: dict[str, Any] = {"argv": list(argv)}
        case Synthetic(cpu_ms, wall_ms, memory_mib, output_bytes):
            run = {"cpu_ms": cpu_ms, "wall_ms": wall_ms, "memory_mib": memory_mib}
            run["output_bytes"] = list(output_bytes)
    # What is the default is not written: a document without retry rules keeps its digest.
    changed = retry_rules.rules_to_wire(step.retry)
    return (
        ({"retry": changed} if changed else {})
        | ({"deterministic": True} if step.deterministic else {})
        | ({"block_jobs": step.block_jobs} if step.per is Per.BLOCK else {})
        | ({} if step.iteration is None else {"iteration": step.iteration})
        | {
            "name": step.name,
            "run": run,
            "per": str(step.per),
            "needs": list(step.needs),
            "inputs": [[one.step, one.output, one.name] for one in step.inputs],
            "generated": [[one.name, one.size_bytes, one.seed] for one in step.generated],
            "files": list(step.files),
            "outputs": [[one.name, one.keep] for one in step.outputs],
            "environment": dict(step.environment),
            "request": request_to_wire(step.request),
            "failures_max": step.failures_max,
        }
        | asks.requires_to_wire(step.requires)
        | abilities.to_wire(step.checkpoint, step.elastic)
        | containers.to_wire(step.container)
        | foreign.to_wire(step.foreign)
    )


def from_wire(value: Any) -> Dataset:
    """Read the plain values of a dataset. Raises WrongShape; the graph is checked elsewhere."""
    reader = shape.Reader.of(value, "dataset")
    if reader.count("schema") != SCHEMA:
        found = str(reader.get("schema"))
        raise shape.WrongShape(where="dataset.schema", expected=str(SCHEMA), found=found)
    files = shape.Reader.of(reader.get("files"), "dataset.files")
    return Dataset(
        name=reader.text("name"),
        jobs=reader.count("jobs"),
        seed=reader.count("seed"),
        steps=tuple(_step_from_wire(one) for one in reader.readers("steps")),
        description=reader.text("description"),
        parameters=tuple(reader.text_map("parameters").items()),
        files=tuple((name, files.bytes(name)) for name in files.value),
        account=asks.account_from_wire(reader),
        learning=_learning(reader),
        open=_only_true(reader, "open"),
        lists=_lists(reader),
    )


def _lists(reader: shape.Reader) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not reader.has("lists"):
        return ()
    row = shape.Reader.of(reader.get("lists"), "dataset.lists")
    if not row.value:  # it is not written then, so that equal means equal bytes
        raise shape.WrongShape(where=row.where, expected="lists, or no key", found="none")
    return tuple((name, row.texts(name)) for name in row.value)


def _learning(reader: shape.Reader) -> Learning:
    if not reader.has("learning"):
        return learnings.DEFAULT
    return learnings.from_wire(reader.reader("learning"))


def _step_from_wire(reader: shape.Reader) -> Step:
    run = reader.reader("run")
    return Step(
        name=reader.text("name"),
        run=Command(run.texts("argv")) if run.has("argv") else _synthetic(run),
        per=_per(reader),
        needs=reader.counts("needs"),
        inputs=tuple(Input(r.count(0), r.count(1), r.text(2)) for r in _rows(reader, "inputs", 3)),
        generated=tuple(
            Generated(r.text(0), r.count(1), r.count(2)) for r in _rows(reader, "generated", 3)
        ),
        files=reader.texts("files"),
        outputs=tuple(Output(r.text(0), r.flag(1)) for r in _rows(reader, "outputs", 2)),
        environment=tuple(reader.text_map("environment").items()),
        request=request_from_wire(reader.reader("request")),
        failures_max=reader.count("failures_max"),
        requires=asks.requires_from_wire(reader),
        retry=_retry(reader),
        deterministic=_only_true(reader, "deterministic"),
        checkpoint=abilities.checkpoint_from_wire(reader),
        elastic=abilities.elastic_from_wire(reader),
        container=containers.from_wire(reader),
        block_jobs=reader.count("block_jobs") if _per(reader) is Per.BLOCK else 0,
        iteration=reader.count("iteration") if reader.has("iteration") else None,
        foreign=foreign.from_wire(reader),
    )


def _only_true(reader: shape.Reader, name: str) -> bool:
    if not reader.has(name):
        return False
    if not reader.flag(name):  # it is not written then, so that equal means equal bytes
        where = f"{reader.where}.{name}"
        raise shape.WrongShape(where=where, expected="true, or nothing", found="false")
    return True


def _retry(reader: shape.Reader) -> RetryRules:
    if not reader.has("retry"):
        return retry_rules.DEFAULT
    return retry_rules.rules_from_wire(reader.reader("retry"))


def _rows(reader: shape.Reader, key: str, count: int) -> Iterator[shape.Reader]:
    """Yield the arrays inside an array; each must have exactly the given number of fields."""
    for row in reader.readers(key):
        if not isinstance(row.value, list) or len(row.value) != count:
            found = f"{len(row.value)} fields"
            raise shape.WrongShape(where=row.where, expected=f"{count} fields", found=found)
        yield row


def _synthetic(run: shape.Reader) -> Synthetic:
    return Synthetic(
        run.count("cpu_ms"),
        run.count("wall_ms"),
        run.count("memory_mib"),
        run.counts("output_bytes"),
    )


def _per(reader: shape.Reader) -> Per:
    word = reader.text("per")
    if word not in set(Per):
        raise shape.WrongShape(
            where=f"{reader.where}.per", expected="job, block or dataset", found=word
        )
    return Per(word)
