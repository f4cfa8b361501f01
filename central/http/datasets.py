"""What users ask of datasets: submit, control, count, look up."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bundle.fates import Fate
from bundle.ids import JOB_MAX, STEP_MAX, DatasetId, Task, parse_dataset_id
from bundle.intervals import IntervalSet
from bundle.limits import DOCUMENT_BYTES_MAX
from central.core.facts import ControlWord
from central.http import body
from central.http.answer import as_json
from central.http.errors import RequestMalformed, require_type
from central.http.route import Access, Asked, Route

COSIGNATURE = "Pulk-Cosignature"  # header: a signed record in base64
CONTROL_BYTES_MAX = 1 << 20
ATTEMPTS_LIMIT_MAX = 1000
_KEY = re.compile(r"[!-~]{1,128}")

Job = Annotated[int, Field(ge=0, le=JOB_MAX)]
StepIndex = Annotated[int, Field(ge=0, le=STEP_MAX)]


class ControlBody(BaseModel):
    """The body of a control. `jobs` is [[first, count], ...]; null means all."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    control: Literal["suspend", "resume", "cancel", "uncancel", "reset", "adopt"]
    jobs: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = None
    steps: list[StepIndex] | None = None

    @model_validator(mode="after")
    def _runs_are_runs(self) -> ControlBody:
        for first, count in self.jobs or ():
            if first < 0 or count < 1 or first + count > JOB_MAX + 1:
                raise ValueError(f"[{first}, {count}] is no run of jobs [first, count]")
        return self


class AttemptsQuery(BaseModel):
    """The query of a list of attempts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: StepIndex | None = None
    job: Job | None = None
    fate: Fate | None = None
    limit: Annotated[int, Field(ge=1, le=ATTEMPTS_LIMIT_MAX)] = 100
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None


async def submit(asked: Asked) -> web.StreamResponse:
    """Take a dataset's canonical document; the same idempotency key never submits twice."""
    require_type(asked.request, "application/msgpack")
    key = _idempotency_key(asked.request)
    raw = await body.read(asked.request, DOCUMENT_BYTES_MAX)
    made = await asked.budget.run(
        asked.authority.submit,
        raw,
        idempotency_key=key,
        token_id=asked.token_id,
        cosignature=_cosignature(asked.request),
    )
    return as_json({"id": made.id, "digest": made.digest.hex(), "tasks": made.tasks})


async def control(asked: Asked) -> web.StreamResponse:
    """Suspend, resume, cancel, uncancel, reset or adopt tasks of a dataset."""
    require_type(asked.request, "application/json")
    key = _idempotency_key(asked.request)
    raw = await body.read(asked.request, CONTROL_BYTES_MAX)
    try:
        given = ControlBody.model_validate_json(raw)
    except ValidationError as error:
        raise _malformed("body", error) from error
    touched = await asked.budget.run(
        asked.authority.control,
        _dataset(asked),
        ControlWord(given.control),
        None if given.jobs is None else IntervalSet.from_wire(given.jobs),
        None if given.steps is None else tuple(given.steps),
        idempotency_key=key,
        token_id=asked.token_id,
    )
    return as_json({"tasks": touched})


async def edit(asked: Asked) -> web.StreamResponse:
    """Put another canonical document in place of a dataset's; the same key edits once."""
    require_type(asked.request, "application/msgpack")
    key = _idempotency_key(asked.request)
    raw = await body.read(asked.request, DOCUMENT_BYTES_MAX)
    made = await asked.budget.run(
        asked.authority.edit,
        _dataset(asked),
        raw,
        idempotency_key=key,
        token_id=asked.token_id,
        cosignature=_cosignature(asked.request),
    )
    about = {"id": _dataset(asked), "digest": made.digest.hex()}
    return as_json(about | {"steps": list(made.steps), "tasks": made.tasks})


async def every(asked: Asked) -> web.StreamResponse:
    """List the datasets."""
    return as_json({"datasets": await asked.budget.run(asked.questions.datasets)})


async def one(asked: Asked) -> web.StreamResponse:
    """Show one dataset."""
    return as_json(await asked.budget.run(asked.questions.dataset, _dataset(asked)))


async def counts(asked: Asked) -> web.StreamResponse:
    """Count a dataset's tasks per step and verdict."""
    return as_json(await asked.budget.run(asked.questions.counts, _dataset(asked)))


async def learned(asked: Asked) -> web.StreamResponse:
    """Show what a dataset's attempts taught about requests, beside what was asked."""
    return as_json(await asked.budget.run(asked.questions.learned, _dataset(asked)))


async def disputes(asked: Asked) -> web.StreamResponse:
    """List tasks of deterministic steps whose successes put out different files."""
    return as_json(await asked.budget.run(asked.questions.disputes, _dataset(asked)))


async def attempts(asked: Asked) -> web.StreamResponse:
    """List attempts of a dataset, a page at a time."""
    dataset, query = _dataset(asked), asked.request.query
    try:
        if len(set(query)) != len(query):
            raise RequestMalformed(where="query", reason="a parameter is given twice")
        given = AttemptsQuery.model_validate(dict(query))
    except ValidationError as error:
        raise _malformed("query", error) from error
    found = await asked.budget.run(
        asked.questions.attempts,
        dataset,
        step=given.step,
        job=given.job,
        fate=given.fate,
        limit=given.limit,
        after=given.after,
    )
    return as_json(found)


async def task(asked: Asked) -> web.StreamResponse:
    """Show one task: verdict, attempts, provenance."""
    return as_json(await asked.budget.run(asked.questions.task, _task(asked)))


async def tell(asked: Asked) -> web.StreamResponse:
    """Tell what happened to a task, in order."""
    return as_json(await asked.budget.run(asked.questions.tell, _task(asked)))


async def why(asked: Asked) -> web.StreamResponse:
    """Say what keeps a task from running, the reason first."""
    return as_json(await asked.budget.run(asked.authority.why, _task(asked)))


def _task(asked: Asked) -> Task:
    job, step = int(asked.part("job")), int(asked.part("step"))
    if job > JOB_MAX or step > STEP_MAX:
        raise RequestMalformed(where=asked.request.path, reason="there is no such job or step")
    return Task(_dataset(asked), job, step)


def _dataset(asked: Asked) -> DatasetId:
    return parse_dataset_id(asked.part("dataset"))


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not _KEY.fullmatch(key):
        reason = "it needs 1 to 128 visible ASCII characters, new for each request"
        raise RequestMalformed(where="Idempotency-Key", reason=reason)
    return key


def _cosignature(request: web.Request) -> bytes:
    """Return the signed record of the header; empty where there is none."""
    given = request.headers.getall(COSIGNATURE, [])
    try:
        if len(given) > 1:
            raise ValueError("it is there twice")
        return base64.b64decode(given[0], validate=True) if given else b""
    except ValueError as error:
        raise RequestMalformed(where=COSIGNATURE, reason=f"not one in base64: {error}") from error


def _malformed(part: str, error: ValidationError) -> RequestMalformed:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join([part, *(str(name) for name in first["loc"])])
    return RequestMalformed(where=where, reason=first["msg"])


DATASET = "/datasets/{dataset}"
NUMBERS = r"{job:[0-9]{1,10}}/{step:[0-9]{1,5}}"
ROUTES = (
    Route("POST", "/datasets", Access.USER, lambda b: b.writes, submit),
    Route("GET", "/datasets", Access.USER, lambda b: b.reads, every, beside=True),
    Route("GET", DATASET, Access.USER, lambda b: b.reads, one, beside=True),
    Route("GET", f"{DATASET}/counts", Access.USER, lambda b: b.reads, counts, beside=True),
    Route("GET", f"{DATASET}/learned", Access.USER, lambda b: b.reads, learned, beside=True),
    Route("GET", f"{DATASET}/disputes", Access.USER, lambda b: b.reads, disputes, beside=True),
    Route("GET", f"{DATASET}/attempts", Access.USER, lambda b: b.reads, attempts, beside=True),
    Route("GET", f"{DATASET}/tasks/{NUMBERS}", Access.USER, lambda b: b.reads, task, beside=True),
    Route(
        "GET",
        f"{DATASET}/tasks/{NUMBERS}/tell",
        Access.USER,
        lambda b: b.reads,
        tell,
        beside=True,
    ),
    Route("GET", f"{DATASET}/tasks/{NUMBERS}/why", Access.USER, lambda b: b.reads, why),
    Route("POST", f"{DATASET}/document", Access.USER, lambda b: b.writes, edit),
    Route("POST", f"{DATASET}/controls", Access.USER, lambda b: b.writes, control),
)
