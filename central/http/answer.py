"""Answers: JSON documents with their ETags."""

from __future__ import annotations

from typing import Any

from aiohttp import hdrs, web

from central import etags
from central.http.media import JSON


def as_json(value: Any, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    body = etags.as_bytes(value)
    return web.Response(body=body, status=status, content_type=JSON)


def with_etag(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Give a document that was read its ETag; say that it did not change where that is asked."""
    is_read = request.method == hdrs.METH_GET and answer.status == 200
    if not is_read or not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return answer
    etag = etags.of(answer.body)
    named = request.headers.get(hdrs.IF_NONE_MATCH)
    if named is not None and etags.fits(named, etag):
        answer = web.Response(status=304)
    answer.headers[hdrs.ETAG] = etag
    answer.headers[hdrs.CACHE_CONTROL] = "private, no-cache"
    return answer
