"""The dataset document as people write it: the keys, their types, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bundle.dataset.refusals import meant
from bundle.dataset.spec import COUNTED_FAILURES_MAX, SCHEMA, Request
from bundle.limits import STEPS_MAX
from bundle.records import learning as learnings
from central.document import quantity

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _parameter(value: object) -> object:
    """Numbers may be written without quotes; text is what macros put into a command."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("write a number without quotes")
    found = Decimal(str(value))
    if not found.is_finite():
        raise ValueError(f"{value} is not finite")
    return found


def _command(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('write a list of arguments, for a shell ["sh", "-c", "..."]')
    return value


def _deadline(value: object) -> int:
    """A date and time with its offset, as TOML writes it or as text; UTC microseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{value!r} is no date: write 2027-01-31T12:00:00Z") from error
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError("write a date and time with its offset: 2027-01-31T12:00:00Z")
    return (at - EPOCH) // timedelta(microseconds=1)


def _keyed(key: str, value: object) -> object:
    """A bare text stands for a table with that one key."""
    return {key: value} if isinstance(value, str) else value


_input, _output = partial(_keyed, "from"), partial(_keyed, "name")
_need = partial(_keyed, "step")


def _read_by(function: Callable[..., object], written: Any, **how: str) -> BeforeValidator:
    """Read what people write by a function; `written` is what the JSON Schema says of it."""
    return BeforeValidator(partial(function, **how), json_schema_input_type=written)


NUMBER = Annotated[float, Field(ge=0)]
DURATION = Annotated[str, Field(pattern=quantity.DURATION, examples=["200ms", "30min", "2h"])]
SIZE = Annotated[str, Field(pattern=quantity.SIZE, examples=["20kB", "200MiB", "1.5GiB"])]
Milliseconds = Annotated[int, _read_by(quantity.milliseconds, NUMBER | DURATION, bare="s")]
Walltime = Annotated[int, _read_by(quantity.milliseconds, DURATION, bare="")]
Bytes = Annotated[int, _read_by(quantity.size_bytes, NUMBER | SIZE, bare="B")]
Gigabytes = Annotated[int, _read_by(quantity.size_bytes, NUMBER | SIZE, bare="GiB")]
MemoryMib = Annotated[int, _read_by(quantity.memory_mib, NUMBER | SIZE)]
Milli = Annotated[int, _read_by(quantity.milli, NUMBER)]
Parameter = Annotated[str, _read_by(_parameter, str | float)]
Number = Annotated[Decimal, _read_by(_number, float)]
Deadline = Annotated[int, _read_by(_deadline, str | int)]
Count = Annotated[int, Field(ge=0)]


def _as_written(schema: dict[str, Any]) -> None:
    """Take out of a JSON Schema what people do not write: defaults in our units, and titles."""
    for one in schema.get("properties", {}).values():
        one.pop("title", None)
        if not isinstance(one.get("default"), (str, bool)):
            one.pop("default", None)


class Form(BaseModel):
    """A table of the document: strict types, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra=_as_written
    )

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, value: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if isinstance(value, dict):
            for key in value:
                if key not in known:
                    hint = meant(str(key), known, f"known here: {', '.join(sorted(known))}")
                    context = {"key": str(key), "hint": hint}
                    raise PydanticCustomError("unknown_key", "there is no such key", context)
        return value


class FileForm(Form):
    """A file that travels inside the document; exactly one of the three."""

    text: str | None = None
    base64: str | None = None
    source: str | None = Field(None, alias="from")


def _values(value: object) -> object:
    return {"values": value} if isinstance(value, list) else value


class ListForm(Form):
    """Values that jobs take in turn: a list, or `{ lines = "file" }` of one in each line."""

    values: list[Parameter] | None = None
    lines: str | None = None


class AxisForm(ListForm):
    """An axis of a grid: the same, or `{ from, to, step }` with both ends."""

    start: Number | None = Field(None, alias="from")
    to: Number | None = None
    step: Number | None = None


Listed = Annotated[ListForm, _read_by(_values, list[Parameter] | ListForm)]
Axis = Annotated[AxisForm, _read_by(_values, list[Parameter] | AxisForm)]


class NeedForm(Form):
    """The name of a step; of another dataset `{dataset, step, jobs}`, by its id or name."""

    step: str
    dataset: str | None = None
    jobs: Literal["same", "all"] | None = None

    @model_validator(mode="after")
    def _jobs_of_another(self) -> NeedForm:
        if self.jobs is not None and self.dataset is None:
            raise ValueError("jobs goes with dataset: a step of its own dataset is needed by name")
        return self


class InputForm(Form):
    """`{from = "step:output", as = "name"}`, or just "step:output"; `dataset`: another's."""

    source: str = Field(alias="from")
    name: str | None = Field(None, alias="as")
    dataset: str | None = None


class OutputForm(Form):
    """`{name, keep}`, or just the name."""

    name: str
    keep: bool = False


class GeneratedForm(Form):
    """A file of seeded bytes that the site makes: `{name, size, seed}`."""

    name: str
    size: Bytes
    seed: Count | None = None


class SyntheticForm(Form):
    """The built-in payload; `outputs` are the sizes of the step's outputs, in their order."""

    cpu: Milliseconds = 0
    wall: Milliseconds | None = None
    memory: MemoryMib = 0
    outputs: tuple[Bytes, ...] | None = Field(None, strict=False)


class RequestForm(Form):
    """What one task asks of the node; bare numbers of memory and disk are IceProd's GB (2^30)."""

    cpu: Milli = Request().cpu_milli
    gpu: Milli = Request().gpu_milli
    memory: MemoryMib = Request().memory_mib
    disk: Gigabytes = Request().disk_bytes
    walltime: Walltime = Request().walltime_ms


class RequiresForm(Form):
    """What a step needs of a node besides amounts."""

    os: str = ""
    arch: str = ""
    libc: str = ""
    software: list[str] = []
    network: Literal["", "none", "site", "any"] = ""
    gpu_model: str = ""
    gpu_memory: MemoryMib = 0


class SitesForm(Form):
    """At which sites a dataset may run; an empty `allow` is every site that is not denied."""

    allow: list[str] = []
    deny: list[str] = []


class RetryForm(Form):
    """`[retry]` of the document, or of a step; what a step leaves out is the document's."""

    payload_max: Count | None = None
    resources_max: Count | None = None
    network_max: Count | None = None
    staging_max: Count | None = None
    pilots_max: Count | None = None
    backoff: Walltime | None = None
    backoff_factor: Milli | None = None
    backoff_max: Walltime | None = None
    jitter: Milli | None = None
    memory_factor: Milli | None = None
    walltime_factor: Milli | None = None
    disk_factor: Milli | None = None
    memory_max: MemoryMib | None = None
    walltime_max: Walltime | None = None
    disk_max: Gigabytes | None = None


class LearningForm(Form):
    """`[learning]`: what becomes of what attempts teach about requests."""

    policy: Literal["off", "offer", "apply"] = "offer"
    quantile: Milli = learnings.DEFAULT.quantile_milli
    confidence: Milli = learnings.DEFAULT.confidence_milli
    margin: Milli = learnings.DEFAULT.margin_milli
    least: Milli = learnings.DEFAULT.least_milli
    most: Milli = learnings.DEFAULT.most_milli


class CheckpointForm(Form):
    """`{ files, signal, every }`, or just the names of the files."""

    files: list[str]
    signal: Literal["", "USR1", "USR2", "TERM", "INT", "HUP", "CONT"] = "USR1"
    every: Walltime = 0


class ElasticForm(Form):
    """How much more than its request a task can use, in all."""

    cpus_max: Milli = 0
    memory_max: MemoryMib = 0
    shrinks: bool = False
    signal: Literal["", "USR1", "USR2", "TERM", "INT", "HUP", "CONT"] = ""


def _listed(value: object) -> object:
    if isinstance(value, str):
        return {"files": [value]}
    return {"files": value} if isinstance(value, list) else value


class StepForm(Form):
    """One entry of `[[steps]]`."""

    name: str
    per: Literal["job", "block", "dataset"] = "job"
    jobs_per_task: Count | None = None
    needs: list[Annotated[NeedForm, _read_by(_need, str | NeedForm)]] = []
    inputs: list[Annotated[InputForm, _read_by(_input, str | InputForm)]] | None = None
    outputs: list[Annotated[OutputForm, _read_by(_output, str | OutputForm)]] = []
    command: Annotated[list[str] | None, _read_by(_command, list[str] | None)] = None
    script: str | None = None
    arguments: list[str] = []
    synthetic: SyntheticForm | None = None
    generated: list[GeneratedForm] = []
    files: list[str] = []
    environment: dict[str, str] = {}
    request: RequestForm = RequestForm()
    failures_max: int = COUNTED_FAILURES_MAX
    deterministic: bool = False
    requires: RequiresForm = RequiresForm()
    retry: RetryForm = RetryForm()
    checkpoint: Annotated[
        CheckpointForm | None, _read_by(_listed, str | list[str] | CheckpointForm | None)
    ] = None
    elastic: ElasticForm | None = None
    container: str = ""
    iterations: Annotated[int, Field(ge=1, le=STEPS_MAX)] | None = None
    iteration: Count | None = None

    @model_validator(mode="after")
    def _one_payload(self) -> StepForm:
        given = [self.command, self.script, self.synthetic]
        if len([one for one in given if one is not None]) != 1:
            raise ValueError("give exactly one of command, script and synthetic")
        if (self.per == "block") != (self.jobs_per_task is not None):
            raise ValueError('per = "block" and jobs_per_task go together')
        if self.arguments and self.script is None:
            raise ValueError("arguments go with script; write those of a command behind it")
        if self.iterations is not None and self.iteration is not None:
            raise ValueError("give iterations, or which one this is, not both")
        return self


class DatasetForm(Form):
    """The whole document."""

    schema_: Literal[SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]
    name: str
    description: str = ""
    jobs: int | None = None
    open: bool = False
    seed: int = 0
    parameters: dict[str, Parameter] = {}
    grid: dict[str, Axis] = {}
    each: dict[str, Listed] = {}
    lists: dict[str, Listed] = {}
    user: str = ""
    group: str = ""
    priority: int = 0
    deadline: Deadline = 0
    sites: SitesForm = SitesForm()
    files: dict[str, FileForm] = {}
    retry: RetryForm = RetryForm()
    learning: LearningForm = LearningForm()
    steps: list[StepForm]
