"""What changes a dataset: submit it, control it, edit it, share it."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

from aiohttp import hdrs, web
from pydantic import Field, model_validator

from bundle.dataset import spec
from bundle.ids import JOB_MAX, STEP_MAX, DatasetId, parse_dataset_id
from bundle.intervals import IntervalSet
from bundle.limits import DOCUMENT_BYTES_MAX
from central import document
from central.core.authorise import Action, Visibility
from central.core.facts import ControlWord
from central.http import body, shapes
from central.http.answer import as_json
from central.http.errors import RequestMalformed, WrongMediaType
from central.http.media import JSON, MSGPACK
from central.http.queries import Body, Query, read_body
from central.http.route import V1, Asked, Of, Policy, Route
from central.store.rows import AccessRow

COSIGNATURE = "Pulk-Cosignature"  # header: a signed record in base64
_KEY = re.compile(r"[!-~]{1,128}")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"

StepIndex = Annotated[int, Field(ge=0, le=STEP_MAX)]
Name = Annotated[str, Field(pattern=NAME)]


class ControlBody(Body):
    """A control. `jobs` is [[first, count], ...], `steps` are indexes; null means all."""

    control: Literal["suspend", "resume", "cancel", "uncancel", "reset", "adopt"]
    jobs: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = None
    steps: list[StepIndex] | None = None

    @model_validator(mode="after")
    def _runs_are_runs(self) -> ControlBody:
        for first, count in self.jobs or ():
            if first < 0 or count < 1 or first + count > JOB_MAX + 1:
                raise ValueError(f"[{first}, {count}] is no run of jobs [first, count]")
        return self


class SubmitQuery(Query):
    """Who sees a new dataset: its owner alone, a group, or everybody."""

    visibility: Visibility = Visibility.PRIVATE
    group: Name | None = None


class AccessBody(Body):
    """Whose a dataset is and who sees it; what is left out stays as it is."""

    owner: Name | None = None
    group: Annotated[str, Field(pattern=NAME + "|^$")] | None = None
    visibility: Literal["private", "group", "public"] | None = None


async def submit(asked: Asked) -> web.StreamResponse:
    """Take a dataset's document; the same idempotency key never submits twice.

    As canonical msgpack, or as the JSON that people write.
    """
    key = idempotency_key(asked.request)
    given = asked.query(SubmitQuery)
    raw = await _document(asked)
    by = asked.by
    made = await asked.budget.run(
        asked.authority.submit,
        raw,
        idempotency_key=key,
        token_id=by.no,
        cosignature=_cosignature(asked.request),
        by=by,
        asked=AccessRow(DatasetId(""), by.name, given.group or "", given.visibility.value),
    )
    about = {"id": made.id, "digest": made.digest.hex(), "jobs": made.jobs, "tasks": made.tasks}
    return as_json(about)


async def control(asked: Asked) -> web.StreamResponse:
    """Suspend, resume, cancel, uncancel, reset or adopt tasks of a dataset."""
    key = idempotency_key(asked.request)
    given = await read_body(asked.request, ControlBody)
    touched = await asked.budget.run(
        asked.authority.control,
        dataset_of(asked),
        ControlWord(given.control),
        None if given.jobs is None else IntervalSet.from_wire(given.jobs),
        None if given.steps is None else tuple(given.steps),
        idempotency_key=key,
        token_id=asked.by.no,
        by=asked.by,
        if_match=asked.request.headers.get(hdrs.IF_MATCH, ""),
    )
    return as_json({"tasks": touched})


async def edit(asked: Asked) -> web.StreamResponse:
    """Put another document in place of a dataset's; the same key edits once."""
    key = idempotency_key(asked.request)
    raw = await _document(asked)
    made = await asked.budget.run(
        asked.authority.edit,
        dataset_of(asked),
        raw,
        idempotency_key=key,
        token_id=asked.by.no,
        cosignature=_cosignature(asked.request),
        by=asked.by,
        if_match=asked.request.headers.get(hdrs.IF_MATCH, ""),
    )
    about = {"id": dataset_of(asked), "digest": made.digest.hex()}
    return as_json(about | {"steps": list(made.steps), "tasks": made.tasks})


async def share(asked: Asked) -> web.StreamResponse:
    """Change whose a dataset is and who sees it."""
    given = await read_body(asked.request, AccessBody)
    made = await asked.budget.run(
        asked.authority.share,
        dataset_of(asked),
        asked.by,
        owner=given.owner,
        group=given.group,
        visibility=None if given.visibility is None else Visibility(given.visibility),
        if_match=asked.request.headers.get(hdrs.IF_MATCH, ""),
    )
    return as_json(made)


def dataset_of(asked: Asked) -> DatasetId:
    """Return the dataset that the path names. Raises MalformedId."""
    return parse_dataset_id(asked.part("dataset"))


def idempotency_key(request: web.Request) -> str:
    """Return the key of a request that must act once. Raises RequestMalformed."""
    key = request.headers.get("Idempotency-Key", "")
    if not _KEY.fullmatch(key):
        reason = "it needs 1 to 128 visible ASCII characters, new for each request"
        raise RequestMalformed(where="Idempotency-Key", reason=reason)
    return key


async def _document(asked: Asked) -> bytes:
    """Return a document's canonical bytes, made of what people write where that came."""
    request = asked.request
    if request.content_type not in (MSGPACK, JSON):
        wanted = f"{MSGPACK} or {JSON}"
        raise WrongMediaType(where=request.path, found=request.content_type, wanted=wanted)
    raw = await body.read(request, DOCUMENT_BYTES_MAX)
    if request.content_type == MSGPACK:
        return raw
    return await asked.budget.run(_canonical, raw)


def _canonical(raw: bytes) -> bytes:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise RequestMalformed(where="body", reason="it is not UTF-8") from error
    if text.lstrip()[:1] != "{":
        raise RequestMalformed(where="body", reason="it is no JSON object")
    return spec.encode(document.parse_text(text, None, "body"))


def _cosignature(request: web.Request) -> bytes:
    """Return the signed record of the header; empty where there is none."""
    given = request.headers.getall(COSIGNATURE, [])
    try:
        if len(given) > 1:
            raise ValueError("it is there twice")
        return base64.b64decode(given[0], validate=True) if given else b""
    except ValueError as error:
        raise RequestMalformed(where=COSIGNATURE, reason=f"not one in base64: {error}") from error


DATASETS = f"{V1}/datasets"
DATASET = f"{DATASETS}/{{dataset}}"
DOCUMENT = (MSGPACK, JSON)
ROUTES = (
    Route(
        "POST",
        DATASETS,
        Policy(Action.DATASET_SUBMIT),
        lambda b: b.writes,
        submit,
        query=SubmitQuery,
        body=DOCUMENT,
        gives=shapes.Submitted,
        key=True,
    ),
    Route(
        "POST",
        f"{DATASET}/document",
        Policy(Action.DATASET_EDIT, Of.DATASET),
        lambda b: b.writes,
        edit,
        body=DOCUMENT,
        gives=shapes.Edited,
        key=True,
    ),
    Route(
        "POST",
        f"{DATASET}/controls",
        Policy(Action.DATASET_CONTROL, Of.DATASET),
        lambda b: b.writes,
        control,
        body=ControlBody,
        gives=shapes.Touched,
        key=True,
    ),
    Route(
        "PATCH",
        f"{DATASET}/access",
        Policy(Action.DATASET_SHARE, Of.DATASET),
        lambda b: b.writes,
        share,
        body=AccessBody,
        gives=shapes.Access,
    ),
)
