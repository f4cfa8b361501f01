"""What changes a dataset: submit it, control it, edit it, share it."""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import Annotated, Literal

from aiohttp import hdrs, web
from pydantic import Field, model_validator

from bundle.dataset import spec
from bundle.fates import Fate
from bundle.ids import JOB_MAX, STEP_MAX, DatasetId, parse_dataset_id
from bundle.intervals import IntervalSet
from bundle.limits import DOCUMENT_BYTES_MAX, JOBS_MAX
from central import document
from central.core.authorise import Action, Visibility
from central.core.edit import Size
from central.core.facts import ControlWord, Verdict
from central.core.selection import Only
from central.http import body, shapes
from central.http.answer import as_json
from central.http.errors import RequestMalformed, WrongMediaType
from central.http.media import JSON, MSGPACK
from central.http.queries import Body, Query, read_body
from central.http.route import V1, Asked, Of, Policy, Route
from central.store.rows import AccessRow

COSIGNATURE = "Pulk-Cosignature"  # header: a signed record in base64
_KEY = re.compile(r"[!-~]{1,128}")
SITE = r"^[a-z0-9][a-z0-9-]{0,62}$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"

StepIndex = Annotated[int, Field(ge=0, le=STEP_MAX)]
Name = Annotated[str, Field(pattern=NAME)]


class ControlBody(Body):
    """A control. `jobs` is [[first, count], ...], `steps` are indexes; null means all.

    Of these tasks only those with one of the `verdicts`, and an attempt that ended by one of the
    `fates` and ran at the `site` (or that the site holds). `soft`, of a reset: only what failed, or
    failed on the way and neither succeeded nor is leased. `dry_run`: count them, change nothing.
    """

    control: Literal["suspend", "resume", "cancel", "uncancel", "reset", "adopt"]
    jobs: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = None
    steps: list[StepIndex] | None = None
    verdicts: list[Annotated[Verdict, Field(strict=False)]] | None = None
    fates: list[Annotated[Fate, Field(strict=False)]] | None = None
    site: Annotated[str, Field(pattern=SITE)] | None = None
    soft: bool = False
    dry_run: bool = False

    def only(self) -> Only:
        """Return which of the tasks are meant."""
        return Only(
            frozenset(self.verdicts or ()), frozenset(self.fates or ()), self.site or "", self.soft
        )

    @model_validator(mode="after")
    def _runs_are_runs(self) -> ControlBody:
        for first, count in self.jobs or ():
            if first < 0 or count < 1 or first + count > JOB_MAX + 1:
                raise ValueError(f"[{first}, {count}] is no run of jobs [first, count]")
        if self.soft and self.control != "reset":
            raise ValueError("only a reset is soft")
        return self


class SizeBody(Body):
    """How many jobs a dataset is to have, or how many more; whether more may come (`open`).

    `dry_run`: say what that would do, change nothing.
    """

    jobs: Annotated[int, Field(ge=1, le=JOBS_MAX)] | None = None
    more: Annotated[int, Field(ge=1, le=JOBS_MAX)] | None = None
    open: bool | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> SizeBody:
        if self.jobs is not None and self.more is not None:
            raise ValueError("give jobs or more, not both")
        if self.jobs is None and self.more is None and self.open is None:
            raise ValueError("give jobs, more or open")
        return self


class SubmitQuery(Query):
    """Who sees a new dataset: its owner alone, a group, or everybody; whether it starts at once."""

    visibility: Visibility = Visibility.PRIVATE
    group: Name | None = None
    suspended: bool = False


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
        suspended=given.suspended,
    )
    about = {"id": made.id, "digest": made.digest.hex(), "jobs": made.jobs, "tasks": made.tasks}
    return as_json(about)


async def control(asked: Asked) -> web.StreamResponse:
    """Suspend, resume, cancel, uncancel, reset or adopt tasks of a dataset, all or some of them."""
    key = idempotency_key(asked.request)
    given = await read_body(asked.request, ControlBody)
    jobs = None if given.jobs is None else IntervalSet.from_wire(given.jobs)
    steps = None if given.steps is None else tuple(given.steps)
    about = (dataset_of(asked), ControlWord(given.control), jobs, steps)
    if given.dry_run:
        preview = (dataset_of(asked), ControlWord(given.control), steps, jobs, given.only())
        return as_json(await asked.budget.run(asked.authority.preview, *preview))
    touched = await asked.budget.run(
        asked.authority.control,
        *about,
        only=given.only(),
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


async def resize(asked: Asked) -> web.StreamResponse:
    """Give a dataset more jobs or fewer; open it for more, or close it."""
    key = idempotency_key(asked.request)
    given = await read_body(asked.request, SizeBody)
    made = await asked.budget.run(
        asked.authority.resize,
        dataset_of(asked),
        Size(given.jobs, given.more, given.open),
        idempotency_key=key,
        token_id=asked.by.no,
        by=asked.by,
        if_match=asked.request.headers.get(hdrs.IF_MATCH, ""),
        dry_run=given.dry_run,
    )
    about = {"id": dataset_of(asked), "digest": made.digest.hex(), "dry_run": given.dry_run}
    about |= {"jobs": made.jobs, "begun_beyond": made.begun_beyond}
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
    return await asked.budget.run(_canonical, raw, partial(asked.authority.find, by=asked.by))


def _canonical(raw: bytes, find: document.Find) -> bytes:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise RequestMalformed(where="body", reason="it is not UTF-8") from error
    if text.lstrip()[:1] != "{":
        raise RequestMalformed(where="body", reason="it is no JSON object")
    return spec.encode(document.parse_text(text, None, "body", find))


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
        "POST",
        f"{DATASET}/size",
        Policy(Action.DATASET_EDIT, Of.DATASET),
        lambda b: b.writes,
        resize,
        body=SizeBody,
        gives=shapes.Resized,
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
