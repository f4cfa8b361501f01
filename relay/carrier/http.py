"""Central over HTTPS: PUT what goes out, GET what comes in. The standard library's client.

Honours the proxy variables (HTTPS_PROXY, NO_PROXY), follows no redirect, waits for nothing without
a limit, keeps at most the declared size of what it is sent.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any

from bundle.client import NoRedirect
from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.patience import Patience, retry_after_s
from bundle.spool import publish
from bundle.trust.keys import Signer
from bundle.trust.request import sign_request
from relay.carrier.contract import Answer, Outgoing
from relay.errors import CarryFailed

ANSWER_BYTES_MAX = 1 << 20
OUTBOX_BYTES_MAX = 8 << 20
PIECE_BYTES = 1 << 18
ERROR_S = 10.0  # the longest to wait for the body of a refusal
PATIENCE_S = 12.0  # how long one tick waits for a busy central before it leaves it to the next
SLOWEST_BYTES_PER_S = 2_000  # a transfer slower than this on the whole is given up
THIS_BUNDLE_ONLY = frozenset({400, 404, 409, 411, 413, 415, 422})
_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_TROUBLE = (OSError, http.client.HTTPException, ValueError)


class HttpCarrier:
    """See `contract.Carrier`. Every request is signed with the site's key."""

    def __init__(
        self,
        url: str,
        site: str,
        signer: Signer,
        certificate: bytes,
        timeout_s: float,
        patience: Patience | None = None,
    ) -> None:
        """Talk to central at `url` as `site`; a busy one is waited for, within reason."""
        self._patience = patience or Patience(PATIENCE_S, time.sleep)
        self._base = url.rstrip("/")
        self._site, self._signer, self._certificate = site, signer, certificate
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(NoRedirect)

    def send(self, bundle: Outgoing) -> Answer | None:
        """PUT one bundle, after asking for it where it was sent before; see the contract."""
        if bundle.again and (known := self._known(bundle.id)):
            return known
        with bundle.path.open("rb") as body:
            size = os.fstat(body.fileno()).st_size
            try:
                raw = self._call("PUT", f"{self._place}/{bundle.id}", ANSWER_BYTES_MAX, body, size)
                return Answer(json.loads(raw)["disposition"])
            except CarryFailed as error:
                if error.fields.get("status", 0) not in THIS_BUNDLE_ONLY:
                    raise
                _LOG.warning("bundle not taken", extra={"reason": error.text()})
            except (ValueError, KeyError, TypeError):
                _LOG.warning("not central's answer", extra={"bundle": bundle.id})
        return None

    def _known(self, bundle: BundleId) -> Answer | None:
        """Return what central did with a bundle before; None where it must be sent."""
        try:
            path = f"{self._place}/{bundle}/disposition"
            return Answer(json.loads(self._call("GET", path, ANSWER_BYTES_MAX))["disposition"])
        except CarryFailed as error:
            if error.fields.get("status", 0) not in THIS_BUNDLE_ONLY:
                raise
        except (ValueError, KeyError, TypeError):
            _LOG.warning("not central's answer", extra={"bundle": bundle})
        return None

    def fetch(self, is_known: Callable[[BundleId], bool], into: Path) -> Iterator[Path]:
        """GET the outbox, then each bundle not known; see the contract."""
        outbox = f"{self._place}/outbox"
        raw = self._call("GET", outbox, OUTBOX_BYTES_MAX)
        try:
            rows = [(str(row["id"]), int(row["bytes"])) for row in json.loads(raw)["bundles"]]
        except (ValueError, KeyError, TypeError) as error:
            reason = "the answer is not central's (a login page on the way?)"
            raise CarryFailed(where=self._base + outbox, method="GET", reason=reason) from error
        for name, size in rows:
            if not _ID.fullmatch(name) or not 0 < size <= BUNDLE_BYTES_MAX:
                continue
            if is_known(BundleId(name)):
                continue
            try:
                path = self._download(BundleId(name), size, into)
            except CarryFailed as error:
                if error.fields.get("status", 0) not in THIS_BUNDLE_ONLY:
                    raise
                _LOG.warning("bundle not given", extra={"reason": error.text()})
                continue
            yield path

    @property
    def _place(self) -> str:
        return f"/exchange/{urllib.parse.quote(self._site)}"

    def _download(self, bundle: BundleId, size: int, into: Path) -> Path:
        part = into / f"fetch-{os.getpid()}-{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(part, flags, publish.FILE_MODE), "wb") as file:
                self._call("GET", f"{self._place}/{bundle}", size, into=file)
                file.flush()
                os.fsync(file.fileno())
            target = into / f"{bundle}.pulk"
            publish.publish(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return target

    def _call(
        self,
        method: str,
        path: str,
        answer_bytes_max: int,
        body: IO[bytes] | None = None,
        body_bytes: int = 0,
        *,
        into: IO[bytes] | None = None,
    ) -> bytes:
        """Make one request, again where central is busy; return the answer's body, or write it.

        Raises CarryFailed.
        """
        for tries in count(1):
            if body is not None:
                body.seek(0)
            found = self._call_once(
                method, path, answer_bytes_max, body, body_bytes, into=into, tries=tries
            )
            if found is not None:
                return found
        raise AssertionError  # never: count() has no end

    def _call_once(
        self,
        method: str,
        path: str,
        answer_bytes_max: int,
        body: IO[bytes] | None,
        body_bytes: int,
        *,
        into: IO[bytes] | None,
        tries: int,
    ) -> bytes | None:
        """Make one request; None where central was busy and the wait it asked for is over."""
        url = self._base + path
        try:
            request = urllib.request.Request(  # noqa: S310  the operator's own address
                url, data=body, method=method, headers=self._headers(method, path)
            )
            if body is not None:
                request.add_header("Content-Length", str(body_bytes))
                request.add_header("Content-Type", "application/octet-stream")
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return self._take(answer, answer_bytes_max, into)
        except urllib.error.HTTPError as error:
            with error:
                said, after = _said(error), error.headers.get("Retry-After")
            if self._patience.waits(error.code, after, tries):
                return None
            raise CarryFailed(
                where=url,
                method=method,
                reason=said,
                status=error.code,
                retry_after_s=retry_after_s(after),
            ) from error
        except _TROUBLE as error:
            raise CarryFailed(where=url, method=method, reason=_reason(error)) from error

    def _headers(self, method: str, path: str) -> dict[str, str]:
        full = urllib.parse.urlsplit(self._base).path + path
        now_us = time.time_ns() // 1000
        signed = sign_request(self._signer, self._certificate, method, full, now_us)
        return {"Authorization": signed, "Accept-Encoding": "identity"}

    def _take(self, answer: IO[bytes], size_max: int, into: IO[bytes] | None) -> bytes:
        """Read the body within its size and a time that its size allows. Raises ValueError."""
        kept = []
        for piece in _pieces(answer, size_max, self._timeout_s + size_max / SLOWEST_BYTES_PER_S):
            if into is None:
                kept.append(piece)
            else:
                into.write(piece)
        return b"".join(kept)


def _pieces(answer: Any, size_max: int, limit_s: float) -> Iterator[bytes]:
    """Yield a body as it comes, so that one that trickles is given up in time. Raises ValueError.

    The socket's own timeout counts anew with every byte.
    """
    deadline, size = time.monotonic() + limit_s, 0
    while piece := answer.read1(min(PIECE_BYTES, size_max + 1 - size)):
        size += len(piece)
        if size > size_max:
            raise ValueError(f"the answer has more than {size_max} bytes")
        if time.monotonic() > deadline:
            raise ValueError(f"the answer took more than {limit_s:.0f} s")
        yield piece


def _said(error: urllib.error.HTTPError) -> str:
    """Return what an error answer says, in one line, whoever made it."""
    try:
        about = json.loads(b"".join(_pieces(error, ANSWER_BYTES_MAX, ERROR_S)))
        return f"{error.code}: {about['code']}: {about['what']}"[:500]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return f"{error.code} {error.reason}"[:500]


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner) or type(inner).__name__
