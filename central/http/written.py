"""Dataset documents in requests: as people write them, or as canonical bytes; and their check."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import hdrs, web

from bundle.dataset import spec
from bundle.limits import DOCUMENT_BYTES_MAX
from central import document, foretold
from central.core.authorise import Action
from central.core.dag import Dag
from central.decoded import decoded
from central.http import body, shapes
from central.http.answer import as_json
from central.http.budget import Budget
from central.http.errors import RequestMalformed, WrongMediaType
from central.http.media import JSON, MSGPACK, TOML, YAML
from central.http.queries import Query
from central.http.route import V1, Asked, Policy, Route
from central.http.sites import shown_to

KINDS = {JSON: "JSON", YAML: "YAML", TOML: "TOML"}
DOCUMENT = (JSON, YAML, TOML, MSGPACK)
WHERE = "body"
SMALL_BYTES_MAX = 128 << 10  # some hundred steps: decoded in the time of a commit


class Checked(shapes.Shape):
    """What a document would run, were it submitted now."""

    ok: bool
    digest: str
    name: str
    jobs: int
    tasks: int
    core_hours_max: float
    gpu_hours_max: float
    steps: list[dict[str, Any]]
    sites: list[dict[str, Any]] | None = None


class CheckQuery(Query):
    """Whether to say at which sites the dataset fits."""

    sites: bool = False


async def read_document(asked: Asked) -> tuple[bytes, Dag]:
    """Return the canonical bytes of a request's document, and what they say, all of it checked.

    That takes seconds for 10,000 steps, so large ones have a budget of their own: they are decoded
    one after the other, and neither a merge nor a small one waits for them.
    Raises WrongMediaType, RequestMalformed, DatasetRefused, and as `body.read`.
    """
    kind = _kind(asked.request)
    raw = await body.read(asked.request, DOCUMENT_BYTES_MAX)
    find = partial(asked.questions.find, by=asked.by)
    return await _budget(asked, raw).run(_decoded, raw, kind, find)


async def check(asked: Asked) -> web.StreamResponse:
    """Say what a document would run, or what is wrong with it; nothing is changed.

    Refused as `POST /v1/datasets` would refuse it, for what stands in it. Commands are those of
    the first and the last task of each step.
    """
    raw, dag = await read_document(asked)
    made = await _budget(asked, raw).run(foretold.about, dag.dataset)
    made = {"ok": True, "digest": dag.digest.hex()} | made
    if asked.query(CheckQuery).sites:
        rows = await asked.budget.run(asked.questions.sites)
        made["sites"] = foretold.fits(dag.dataset, [shown_to(asked, one) for one in rows])
    return as_json(made)


def _budget(asked: Asked, raw: bytes) -> Budget:
    return asked.service.budgets.documents if len(raw) > SMALL_BYTES_MAX else asked.budget


def _kind(request: web.Request) -> str:
    """Return in what a document is written; empty: its canonical bytes."""
    given = request.headers.getall(hdrs.CONTENT_TYPE, [])
    if len(given) > 1:
        raise RequestMalformed(where=hdrs.CONTENT_TYPE, reason="it is there twice")
    if request.content_type not in DOCUMENT:
        wanted = f"{', '.join(DOCUMENT[:-1])} or {DOCUMENT[-1]}"
        found = request.content_type if given else "of no Content-Type"
        raise WrongMediaType(where=request.path, found=found, wanted=wanted)
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        reason = f"a document is UTF-8, this one is said to be {request.charset}"
        raise RequestMalformed(where=hdrs.CONTENT_TYPE, reason=reason)
    return KINDS.get(request.content_type, "")


def _decoded(raw: bytes, kind: str, find: document.Find) -> tuple[bytes, Dag]:
    if kind:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            reason = f"it is not UTF-8: {error.reason} at byte {error.start}"
            raise RequestMalformed(where=WHERE, reason=reason) from error
        raw = spec.encode(document.parse_text(text, None, WHERE, find, kind))
    return raw, decoded(raw)


ROUTES = (
    Route(
        "POST",
        f"{V1}/datasets/check",
        Policy(Action.DATASET_CHECK),
        lambda b: b.reads,
        check,
        query=CheckQuery,
        body=DOCUMENT,
        gives=Checked,
    ),
)
