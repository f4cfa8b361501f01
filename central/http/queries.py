"""What stands in a request's query and body, read into the model that the route names."""

from __future__ import annotations

from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from central.document import text_file
from central.http import body
from central.http.errors import RequestMalformed, require_type
from central.http.media import JSON

LIMIT_MAX = 1000
JSON_BYTES_MAX = 1 << 20
_Model = TypeVar("_Model", bound=BaseModel)

Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX, description="Rows of a page.")]
Cursor = Annotated[
    str, Field(max_length=512, pattern=r"^[A-Za-z0-9_-]+$", description="`next` of the last page.")
]
Fields = Annotated[
    str,
    Field(max_length=1000, pattern=r"^[a-z_]+(,[a-z_]+)*$", description="Only these, by comma."),
]
Sort = Annotated[
    str, Field(max_length=64, pattern=r"^-?[a-z_]+$", description="By this field; - turns it.")
]


class Query(BaseModel):
    """A query; what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paged(Query):
    """A list, a page at a time."""

    limit: Limit = 100
    cursor: Cursor | None = None
    fields: Fields | None = None


class Sorted(Paged):
    """A list that can be sorted."""

    sort: Sort | None = None


class Body(BaseModel):
    """A body; what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def read_query(request: web.Request, model: type[BaseModel] | None) -> BaseModel | None:
    """Return the query as a model. Raises RequestMalformed."""
    query = request.query
    if model is None:
        if query:
            raise RequestMalformed(where="query", reason="this route takes no query")
        return None
    if len(set(query)) != len(query):
        raise RequestMalformed(where="query", reason="a parameter is given twice")
    try:
        return model.model_validate(dict(query))
    except ValidationError as error:
        raise malformed("query", error) from error


async def read_body(request: web.Request, model: type[_Model]) -> _Model:
    """Return a JSON body as a model. Raises WrongMediaType, RequestMalformed, as `body.read`."""
    require_type(request, JSON)
    raw = await body.read(request, JSON_BYTES_MAX)
    try:
        text_file.json_values(raw.decode())
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise RequestMalformed(where="body", reason=f"not JSON: {reason}") from error
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise malformed("body", error) from error


def malformed(part: str, error: ValidationError) -> RequestMalformed:
    """Return the first thing that is wrong with a part of a request."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join([part, *(str(name) for name in first["loc"])])
    return RequestMalformed(where=where, reason=first["msg"])
