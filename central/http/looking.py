"""What is read of datasets, tasks, attempts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from aiohttp import web
from pydantic import AwareDatetime, Field

from bundle.fates import Fate
from bundle.ids import JOB_MAX, STEP_MAX, Task
from central.core.authorise import Action, Visibility
from central.core.facts import Verdict
from central.http import shapes, shapes_needs
from central.http.answer import as_json
from central.http.datasets import DATASET, DATASETS, StepIndex, dataset_of
from central.http.errors import RequestMalformed
from central.http.lines import as_lines, wants_lines
from central.http.listing import bad_cursor, chosen, of_cursor, page, to_cursor
from central.http.media import JSON, MSGPACK
from central.http.queries import LIMIT_MAX, Cursor, Fields, Paged, Query, Sorted
from central.http.route import V1, Asked, Of, Policy, Route
from central.listed import BEFORE, PIECE_ROWS, Chosen

Job = Annotated[int, Field(ge=0, le=JOB_MAX)]
Searched = Annotated[str, Field(min_length=1, max_length=200)]
DATASET_FIELDS = frozenset(shapes.DatasetRow.model_fields)
_BY = "(dataset|name|owner|group|visibility|step)"
BY = rf"^{_BY}(,{_BY}){{0,5}}$"
_SEEN = Policy(Action.DATASET_READ, Of.DATASET)
PERCENTILES = r"^[0-9]{1,2}(,[0-9]{1,2}){0,9}$"


class DatasetsQuery(Sorted):
    """Which datasets are asked for. `q`: all of its words stand in name, description or owner."""

    q: Searched | None = None
    id: Annotated[str, Field(pattern=r"^[a-z2-7]{1,26}$")] | None = None
    name: Searched | None = None
    owner: Searched | None = None
    group: Searched | None = None
    visibility: Visibility | None = None
    submitted_after: AwareDatetime | None = None
    submitted_before: AwareDatetime | None = None


class OneQuery(Query):
    """Which fields of one thing are asked for."""

    fields: Fields | None = None


class AttemptsQuery(Query):
    """Which attempts of a dataset are asked for. `after`: go on after this number.

    `detail`: with all that is known of each: host, software, what it took in and put out.
    """

    step: StepIndex | None = None
    job: Job | None = None
    fate: Fate | None = None
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = 100
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    detail: bool = False
    fields: Fields | None = None


class TasksQuery(Paged):
    """Which tasks of a dataset are asked for."""

    step: StepIndex | None = None
    verdict: Verdict | None = None
    first: Job = 0
    last: Job = JOB_MAX


class JobsQuery(Paged):
    """Which jobs of a dataset are asked for."""

    state: Verdict | None = None


class GroupsQuery(DatasetsQuery):
    """How all datasets are grouped: by some of dataset, name, owner, group, visibility, step."""

    by: Annotated[str, Field(pattern=BY)] = "dataset"


class AttemptGroupsQuery(Query):
    """How a dataset's attempts are grouped, and which percentiles are asked for."""

    by: Annotated[str, Field(pattern=r"^(step|fate|site)(,(step|fate|site)){0,2}$")] = "step"
    percentiles: Annotated[str, Field(pattern=PERCENTILES)] = "50,95"


async def every(asked: Asked) -> web.StreamResponse:
    """List the datasets that who asks may see."""
    query = asked.query(DatasetsQuery)
    rows = await asked.budget.run(_rows, asked, query)
    listed = page(rows, query, key="datasets", of="id", sortable=DATASET_FIELDS, first="submitted")
    return as_json(listed)


def _rows(asked: Asked, query: DatasetsQuery) -> list[dict[str, Any]]:
    rows = asked.questions.datasets(asked.by, query.q or "")
    wanted = {
        "owner": query.owner,
        "group": query.group,
        "visibility": None if query.visibility is None else query.visibility.value,
    }
    asked_for = {name: value for name, value in wanted.items() if value is not None}
    after, before = _text(query.submitted_after), _text(query.submitted_before)
    return [
        row
        for row in rows
        if all(row[name] == value for name, value in asked_for.items())
        and (query.id is None or row["id"].startswith(query.id))
        and (query.name is None or query.name.lower() in row["name"].lower())
        and (after is None or (row["submitted"] or "") > after)
        and (before is None or (row["submitted"] or "") < before)
    ]


def _text(at: datetime | None) -> str | None:
    try:
        return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")
    except OverflowError as error:
        raise RequestMalformed(where="query", reason=f"{at} is no time of UTC") from error


async def one(asked: Asked) -> web.StreamResponse:
    """Show one dataset; its ETag is what If-Match compares."""
    fields = asked.query(OneQuery).fields
    about = await asked.budget.run(asked.questions.dataset, dataset_of(asked))
    return as_json(chosen(about, Paged(fields=fields)))


async def counts(asked: Asked) -> web.StreamResponse:
    """Count a dataset's tasks per step and verdict."""
    return as_json(await asked.budget.run(asked.questions.counts, dataset_of(asked)))


async def learned(asked: Asked) -> web.StreamResponse:
    """Show what a dataset's attempts taught about requests, beside what was asked."""
    return as_json(await asked.budget.run(asked.questions.learned, dataset_of(asked)))


async def needs(asked: Asked) -> web.StreamResponse:
    """Tell what a dataset needs of other datasets, and how far that is."""
    return as_json(await asked.budget.run(asked.questions.needs, dataset_of(asked), asked.by))


async def disputes(asked: Asked) -> web.StreamResponse:
    """List tasks of deterministic steps whose successes put out different files."""
    return as_json(await asked.budget.run(asked.questions.disputes, dataset_of(asked)))


async def document(asked: Asked) -> web.StreamResponse:
    """Show a dataset's document: as people write it, or its canonical bytes where those are asked.

    The canonical bytes are what the digest is of; ask with `Accept: application/msgpack`.
    """
    raw, written = await asked.budget.run(asked.questions.document, dataset_of(asked))
    if MSGPACK in asked.request.headers.get("Accept", ""):
        return web.Response(body=raw, content_type=MSGPACK)
    return as_json(written)


async def attempts(asked: Asked) -> web.StreamResponse:
    """List attempts of a dataset, a page at a time, or all as lines."""
    query, dataset = asked.query(AttemptsQuery), dataset_of(asked)
    find = partial(
        asked.questions.attempts,
        dataset,
        step=query.step,
        job=query.job,
        fate=query.fate,
        detail=query.detail,
    )
    if wants_lines(asked.request):
        pieces = _attempt_lines(find, query.after)
        return await as_lines(asked, _SEEN, pieces)
    found = await asked.budget.run(find, limit=query.limit, after=query.after)
    listed = [chosen(row, Paged(fields=query.fields)) for row in found["attempts"]]
    return as_json({"attempts": listed, "next": found["next"]})


def _attempt_lines(find: Any, after: int | None) -> Iterator[bytes]:
    while True:
        found = find(limit=LIMIT_MAX, after=after)
        yield "".join(f"{json.dumps(row)}\n" for row in found["attempts"]).encode()
        after = found["next"]
        if after is None:
            return


async def tasks(asked: Asked) -> web.StreamResponse:
    """List tasks of a dataset by step and job, a page at a time, or all as lines."""
    query, dataset = asked.query(TasksQuery), dataset_of(asked)
    wanted = Chosen(query.step, query.verdict, query.first, query.last)
    after = _place(query.cursor)
    if wants_lines(asked.request):
        lines = partial(asked.questions.task_lines, dataset, wanted)
        return await as_lines(asked, _SEEN, _task_lines(lines, after))
    find = asked.questions.task_page
    rows, last = await asked.budget.run(find, dataset, wanted, after, query.limit)
    more = None if last is None else to_cursor(last)
    return as_json({"tasks": [chosen(row, query) for row in rows], "next": more})


def _task_lines(lines: Any, after: tuple[int, int]) -> Iterator[bytes]:
    at: tuple[int, int] | None = after
    while at is not None:
        piece, at = lines(at, PIECE_ROWS)
        yield piece


def _place(cursor: Cursor | None) -> tuple[int, int]:
    if cursor is None:
        return BEFORE
    match of_cursor(cursor):
        case [int() as step, int() as job] if 0 <= step <= STEP_MAX and 0 <= job <= JOB_MAX:
            return step, job
    raise bad_cursor()


async def jobs(asked: Asked) -> web.StreamResponse:
    """List jobs of a dataset with the verdicts of their tasks."""
    query = asked.query(JobsQuery)
    after = -1 if query.cursor is None else of_cursor(query.cursor)
    if not isinstance(after, int) or not -1 <= after <= JOB_MAX:
        raise bad_cursor()
    state = None if query.state is None else query.state.value
    find = asked.questions.jobs
    rows, last = await asked.budget.run(find, dataset_of(asked), state, after, query.limit)
    more = None if last is None else to_cursor(last)
    return as_json({"jobs": [chosen(row, query) for row in rows], "next": more})


async def task(asked: Asked) -> web.StreamResponse:
    """Show one task: verdict, attempts, provenance."""
    return as_json(await asked.budget.run(asked.questions.task, _task(asked)))


async def tell(asked: Asked) -> web.StreamResponse:
    """Tell what happened to a task, in the order in which central learned it."""
    return as_json(await asked.budget.run(asked.questions.tell, _task(asked)))


async def logs(asked: Asked) -> web.StreamResponse:
    """Show what the newest attempts at a task wrote."""
    return as_json(await asked.budget.run(asked.questions.logs, _task(asked)))


async def why(asked: Asked) -> web.StreamResponse:
    """Say what keeps a task from running, the reason first."""
    return as_json(await asked.budget.run(asked.authority.why, _task(asked), asked.by))


async def groups(asked: Asked) -> web.StreamResponse:
    """Add up all datasets that who asks may see, by groups: tasks by verdict, hours, bytes."""
    query = asked.query(GroupsQuery)
    by = list(dict.fromkeys(query.by.split(",")))
    found = await asked.budget.run(_groups, asked, query, by)
    return as_json({"by": by, "groups": found, "complete": True})


def _groups(asked: Asked, query: GroupsQuery, by: list[str]) -> list[dict[str, Any]]:
    about = {row["id"]: row | {"dataset": row["id"]} for row in _rows(asked, query)}
    return asked.questions.aggregate(about, by)


async def attempt_groups(asked: Asked) -> web.StreamResponse:
    """Add up a dataset's attempts by groups: counts, hours, efficiency, percentiles."""
    query = asked.query(AttemptGroupsQuery)
    by = list(dict.fromkeys(query.by.split(",")))
    percentiles = sorted({int(one) for one in query.percentiles.split(",")})
    find = asked.questions.aggregate_attempts
    found, complete = await asked.budget.run(find, dataset_of(asked), by, percentiles)
    return as_json({"by": by, "groups": found, "complete": complete})


def _task(asked: Asked) -> Task:
    job, step = int(asked.part("job")), int(asked.part("step"))
    if job > JOB_MAX or step > STEP_MAX:
        raise RequestMalformed(where=asked.request.path, reason="there is no such job or step")
    return Task(dataset_of(asked), job, step)


def _read(path: str, answer: Any, gives: Any, **more: Any) -> Route:
    fixed = {"gives": gives, "beside": True} | more
    return Route("GET", f"{DATASET}{path}", _SEEN, lambda b: b.reads, answer, **fixed)


NUMBERS = r"/tasks/{job:[0-9]{1,10}}/{step:[0-9]{1,5}}"
_LIST = Policy(Action.DATASET_LIST)
ROUTES = (
    Route(
        "GET",
        DATASETS,
        _LIST,
        lambda b: b.reads,
        every,
        beside=True,
        query=DatasetsQuery,
        gives=shapes.Datasets,
    ),
    Route(
        "GET",
        f"{V1}/aggregates",
        _LIST,
        lambda b: b.reads,
        groups,
        beside=True,
        query=GroupsQuery,
        gives=shapes.Aggregates,
    ),
    _read("", one, shapes.Dataset, query=OneQuery),
    _read("/counts", counts, shapes.Counts),
    _read("/learned", learned, shapes.Learned),
    _read("/disputes", disputes, shapes.Disputes),
    _read("/needs", needs, shapes_needs.Needs),
    _read("/document", document, JSON),
    _read("/attempts", attempts, shapes.Attempts, query=AttemptsQuery, streams=True),
    _read("/aggregates", attempt_groups, shapes.Aggregates, query=AttemptGroupsQuery),
    _read("/jobs", jobs, shapes.Jobs, query=JobsQuery),
    _read("/tasks", tasks, shapes.Tasks, query=TasksQuery, streams=True),
    _read(NUMBERS, task, shapes.Task),
    _read(f"{NUMBERS}/tell", tell, shapes.Story),
    _read(f"{NUMBERS}/logs", logs, shapes.Logs),
    _read(f"{NUMBERS}/why", why, shapes.Why, beside=False),
)
