"""Errors of the HTTP side, and the one place where an error becomes a status."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from bundle.dataset.refusals import DatasetRefused
from bundle.errors import PulkError
from bundle.trust import errors as trust_errors
from central import errors, etags, oidc, tokens
from central.http.media import PROBLEM
from central.store.sqlite.library import sqlite3

RETRY_AFTER_S_MIN = 1
RETRY_AFTER_S_MAX = 10
_LOG = logging.getLogger(__name__)
_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Busy(PulkError):
    """Too many requests of this kind run and wait. Nothing was done; try again."""

    code = "busy"
    transient = True
    what = "too many requests wait for {what_for}"
    remedy = "try again after the seconds in Retry-After"


class TooManyAsks(PulkError):
    """More requests for work came than are answered in a second. Ask again when told to."""

    code = "too-many-asks"
    transient = True
    what = "too many requests for work came at once"
    remedy = "ask again after the seconds in Retry-After; results are taken all the while"


class TooManyAtOnce(PulkError):
    """One person asks more at once than is answered in turn. Others are not held up by it."""

    code = "too-many-at-once"
    transient = True
    what = "you have {at_once} requests for {what_for} under way already"
    remedy = "let some end, then ask again after the seconds in Retry-After"


class SiteBusy(PulkError):
    """One site brings more bundles at once than one site may. The others are not held up."""

    code = "site-busy"
    transient = True
    what = "site {site} brings too many bundles at once"
    remedy = "bring them one after the other; try again after the seconds in Retry-After"


class TooManyConnections(PulkError):
    """One address holds more connections than it may. A proxy needs a higher limit."""

    code = "too-many-connections"
    transient = True
    what = "this address has too many connections open"
    remedy = "close some, or raise [http] address_connections_max at central"


class HeadTooLarge(PulkError):
    """The request line and headers have more bytes than are read."""

    code = "head-too-large"
    what = "the head of the request has more than {size_bytes_max} bytes"
    remedy = "send fewer or shorter headers"


class StorageTrouble(PulkError):
    """Central's disk or database did not do what was asked: full, read-only or broken."""

    code = "storage-trouble"
    transient = True
    what = "central cannot use its storage now"
    remedy = "tell central's administrator; keep what you have and try again later"


class Internal(PulkError):
    """Central met something that it does not expect: a bug. Its log has the whole of it."""

    code = "internal"
    what = "central failed"
    remedy = "report it with the time; central's log says more"


class UnknownRoute(PulkError):
    """The address is none of central's, or not with this method."""

    code = "unknown-route"
    what = "{method} here answers nothing"
    remedy = "check the address and method; GET /v1/openapi.json describes all of them"


class HttpRefused(PulkError):
    """HTTP itself was used in a way that this server refuses. See the status."""

    code = "http-refused"
    what = "{reason}"
    remedy = "correct the request"


class RequestMalformed(PulkError):
    """Part of a request does not have the form that it must have."""

    code = "request-malformed"
    what = "{reason}"
    remedy = "correct the request; nothing was changed"


class WrongMediaType(PulkError):
    """The body's Content-Type is not the one that the route takes."""

    code = "wrong-media-type"
    what = "the body is {found}, it must be {wanted}"
    remedy = "send it as {wanted}"


class EncodingRefused(PulkError):
    """The body is compressed on the way; bundles are compressed inside, under their digests."""

    code = "encoding-refused"
    what = "the request has a Content-Encoding"
    remedy = "send the body as it is"


class LengthRequired(PulkError):
    """The request does not say how long its body is."""

    code = "length-required"
    what = "the request has no Content-Length"
    remedy = "send the whole body with its length, not in chunks"


class BodyTooLarge(PulkError):
    """The body is larger than this route takes."""

    code = "body-too-large"
    what = "the body has {size_bytes} bytes, at most {size_bytes_max}"
    remedy = "split it, or raise [http] upload_bytes_max at central"


class BodyTooSlow(PulkError):
    """The body did not come in time. Nothing of it was kept."""

    code = "body-too-slow"
    what = "{found_bytes} of {size_bytes} bytes came in time"
    remedy = "send it again over a better line"


class BodyBroken(PulkError):
    """The body's length is not the declared one. Nothing of it was kept."""

    code = "body-broken"
    what = "{found_bytes} of {size_bytes} bytes came"
    remedy = "send it again"


class UploadMoved(PulkError):
    """A transfer goes on from another byte than the one where it broke off here. Ask first."""

    code = "upload-moved"
    what = "it goes on at byte {at}, and {held_bytes} bytes are here"
    remedy = "ask how much is held and send the rest, or send all of it"


class UploadDamaged(PulkError):
    """What was put together of several transfers is no whole bundle. All of it was dropped."""

    code = "upload-damaged"
    what = "what was put together is damaged"
    remedy = "send all of it"


STATUS: tuple[tuple[type[PulkError], int], ...] = (
    (errors.UnknownDataset, 404),
    (errors.UnknownTask, 404),
    (errors.UnknownBundle, 404),
    (errors.UnknownFile, 404),
    (UnknownRoute, 404),
    (errors.Unauthorised, 401),
    (trust_errors.RequestRefused, 401),
    (trust_errors.KeyRevoked, 401),
    (trust_errors.UnknownRegistrar, 401),
    (trust_errors.CertificateRefused, 401),
    (trust_errors.WeakKey, 401),
    (oidc.LoginRefused, 401),
    (oidc.LoginOff, 404),
    (errors.Forbidden, 403),
    (errors.AccessRefused, 403),
    (errors.UnknownSite, 404),
    (errors.UserRefused, 400),
    (errors.NotifyRefused, 400),
    (tokens.UnknownToken, 404),
    (errors.QuotaExceeded, 413),
    (errors.SelectionTooLarge, 413),
    (errors.ChangedMeanwhile, 412),
    (errors.TooManyRequests, 429),
    (errors.IdempotencyConflict, 409),
    (UploadMoved, 409),
    (UploadDamaged, 409),
    (BodyTooSlow, 408),
    (LengthRequired, 411),
    (BodyTooLarge, 413),
    (WrongMediaType, 415),
    (EncodingRefused, 415),
    (TooManyAsks, 429),
    (SiteBusy, 429),
    (TooManyAtOnce, 429),
    (TooManyConnections, 429),
    (HeadTooLarge, 431),
    (errors.Unbalanced, 500),
    (errors.BlockDamaged, 500),
    (errors.JoinFailed, 500),
    (Internal, 500),
)
"""First match counts; what is not here is 503 where it is transient, else 400."""


def require_type(request: web.Request, wanted: str) -> None:
    """Raise WrongMediaType unless the body is said to be of a type."""
    if request.content_type != wanted:
        raise WrongMediaType(where=request.path, found=request.content_type, wanted=wanted)


def status_of(error: PulkError) -> int:
    """Return the HTTP status of a refusal."""
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status
    return 503 if error.transient else 400


def problem(error: PulkError, status: int) -> dict[str, Any]:
    """Return a refusal as RFC 9457 has it, with Pulk's own members beside."""
    title = (error.__doc__ or error.code).strip().split(". ")[0].split("\n")[0]
    said = error.diagnostics()
    about = {"type": f"urn:pulk:error:{error.code}", "title": title, "status": status}
    if isinstance(error, DatasetRefused):
        said |= {"line": error.line or None, "path": error.path or None}
    return about | {"detail": said["what"]} | said


def answer_of(error: PulkError, status: int | None = None) -> web.Response:
    """Return the answer that carries a refusal."""
    status = status_of(error) if status is None else status
    body = etags.as_bytes(problem(error, status))
    answer = web.Response(body=body, status=status, content_type=PROBLEM)
    if status in (429, 503):
        spread = RETRY_AFTER_S_MAX - RETRY_AFTER_S_MIN + 1
        least = int(error.fields.get("come_back_s", RETRY_AFTER_S_MIN))
        answer.headers[hdrs.RETRY_AFTER] = str(least + secrets.randbelow(spread))
    if status == 401:
        answer.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if status in (408, 411, 413, 415, 429):
        answer.force_close()  # what is left of the body would be read as the next request
    return answer


@web.middleware
async def translate(request: web.Request, handler: _Answer) -> web.StreamResponse:
    """Answer every error as JSON; what nobody declared is logged in full and told in one word."""
    try:
        return await handler(request)
    except PulkError as error:
        if status_of(error) >= 500:
            _LOG.warning("could not answer", extra={"route": request.path, "reason": error.text()})
        return answer_of(error)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        refusal = answer_of(UnknownRoute(where=request.path, method=request.method), error.status)
        if hdrs.ALLOW in error.headers:
            refusal.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return refusal
    except web.HTTPException as error:
        return answer_of(HttpRefused(where=request.path, reason=error.reason), error.status)
    except ConnectionError:
        raise  # the client is gone: nobody to answer
    except (OSError, sqlite3.Error) as error:
        _LOG.exception("storage trouble", extra={"route": request.path})
        return answer_of(StorageTrouble(where=type(error).__name__))
    except Exception:
        _LOG.exception("failed", extra={"route": request.path})
        return answer_of(Internal())
