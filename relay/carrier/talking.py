"""One request to central: the standard library's client, with limits on all that it waits for.

Honours the proxy variables (HTTPS_PROXY, NO_PROXY), follows no redirect, trusts the authorities of
this machine or those that the operator named.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import IO, Any

from bundle.client import NoRedirect
from bundle.patience import Patience, retry_after_s
from relay.carrier.contract import SLOWEST_BYTES_PER_S
from relay.errors import CarryFailed, CentralNotProven, NotCentral, ProxyRefused

PIECE_BYTES = 1 << 18
ERROR_BYTES_MAX = 1 << 20
ERROR_S = 10.0  # the longest to wait for the body of a refusal
NETWORK_LOGIN = 511
PROXY_LOGIN = 407
_TROUBLE = (OSError, http.client.HTTPException, ValueError)
_TUNNEL = "Tunnel connection failed: "  # as the library words a proxy's refusal

Signed = Callable[[str, str], str]
"""Returns the value of `Authorization` for a method and the path as it is sent."""
Sink = Callable[[int, Mapping[str, str]], IO[bytes] | None]
"""Called with an answer's status and headers; returns where its body goes, None: into memory."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: an open file from a place on to its end."""

    file: IO[bytes]
    at: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Said:
    """An answer whose body came within its size."""

    status: int
    headers: Mapping[str, str]
    raw: bytes


class Talk:
    """Makes requests, each signed anew; a busy central is waited for, within reason."""

    def __init__(
        self, base: str, signed: Signed, timeout_s: float, patience: Patience, ca: Path | None
    ) -> None:
        """Talk to `base`; `ca` holds certificates of the authorities that count instead."""
        self.base = base.rstrip("/")
        self._signed, self._timeout_s, self._patience = signed, timeout_s, patience
        self._ca = ca

    def call(
        self,
        method: str,
        path: str,
        answer_bytes_max: int,
        *,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        into: Sink | None = None,
        fine: frozenset[int] = frozenset(),
        wait_s: float = 0.0,
    ) -> Said:
        """Make one request, again where central is busy.

        Args:
            method, path: the path begins with a slash and follows the base.
            answer_bytes_max: the most that is kept of the answer's body.
            body: what is sent.
            headers: more of them.
            into: where the body of a 2xx answer goes.
            fine: statuses that are answers as well, not refusals; their bodies are dropped.
            wait_s: how long the answer may be held back on purpose.

        Raises CarryFailed.
        """
        opener = self._opener
        for tries in count(1):
            given = {"Authorization": self._authorization(method, path), **(headers or {})}
            request = self._request(method, path, given, body)
            limit_s = self._timeout_s + wait_s
            try:
                with opener.open(request, timeout=limit_s) as answer:
                    raw = self._take(answer, answer_bytes_max, into)
                    return Said(answer.status, dict(answer.headers.items()), raw)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in fine:
                        return Said(error.code, dict(error.headers.items()), b"")
                    if not self._waits(error, tries):
                        raise self._refusal(method, path, error) from error
            except _TROUBLE as error:
                raise self._failure(method, path, error) from error
        raise AssertionError  # never: count() has no end

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        handler = urllib.request.HTTPSHandler(context=_context(self._ca))
        return urllib.request.build_opener(NoRedirect, handler)

    def not_central(self, method: str, path: str, reason: str) -> NotCentral:
        """Return the error for an answer that central did not make."""
        return NotCentral(where=self.base + path, method=method, reason=reason)

    def _authorization(self, method: str, path: str) -> str:
        return self._signed(method, urllib.parse.urlsplit(self.base).path + path)

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: Body | None
    ) -> urllib.request.Request:
        data = None
        given = {"Accept-Encoding": "identity", **headers}
        if body is not None:
            body.file.seek(body.at)
            data = body.file
            given["Content-Length"] = str(body.size_bytes)
            given["Content-Type"] = "application/octet-stream"
        try:
            return urllib.request.Request(  # noqa: S310  the operator's own address
                self.base + path, data=data, method=method, headers=given
            )
        except ValueError as error:
            raise CarryFailed(where=self.base, method=method, reason=str(error)) from error

    def _take(self, answer: Any, size_max: int, into: Sink | None) -> bytes:
        """Read the body within its size and a time that its size allows. Raises ValueError."""
        kept = []
        file = None if into is None else into(answer.status, dict(answer.headers.items()))
        for piece in _pieces(answer, size_max, self._timeout_s + size_max / SLOWEST_BYTES_PER_S):
            if file is None:
                kept.append(piece)
            else:
                file.write(piece)
        return b"".join(kept)

    def _waits(self, error: urllib.error.HTTPError, tries: int) -> bool:
        return self._patience.waits(error.code, error.headers.get("Retry-After"), tries)

    def _refusal(self, method: str, path: str, error: urllib.error.HTTPError) -> CarryFailed:
        where, status = self.base + path, error.code
        if status == PROXY_LOGIN:
            return ProxyRefused(where=where, method=method, reason=_line(error), status=status)
        if status == NETWORK_LOGIN or 300 <= status < 400:
            to = error.headers.get("Location") or ""
            reason = f"{_line(error)}{f', to {to[:200]}' if to else ''}"
            return NotCentral(where=where, method=method, reason=reason, status=status)
        after_s = retry_after_s(error.headers.get("Retry-After"))
        facts: dict[str, Any] = {"status": status, "retry_after_s": after_s}
        return CarryFailed(where=where, method=method, reason=_said(error), **facts)

    def _failure(self, method: str, path: str, error: Exception) -> CarryFailed:
        inner = error.reason if isinstance(error, urllib.error.URLError) else error
        where = self.base + path
        if isinstance(inner, ssl.SSLCertVerificationError):
            return CentralNotProven(where=where, method=method, reason=inner.verify_message)
        text = str(inner) or type(inner).__name__
        if text.startswith(_TUNNEL):
            reason = text.removeprefix(_TUNNEL)
            return ProxyRefused(where=where, method=method, reason=reason)
        return CarryFailed(where=where, method=method, reason=text)


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        reason = f"[central] ca holds no certificates that can be read: {error}"
        raise CentralNotProven(where=str(ca), method="GET", reason=reason) from error


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
    if left := getattr(answer, "length", None):  # a body cut short ends like a whole one
        raise ValueError(f"the answer broke off {left} bytes before its end")


def _said(error: urllib.error.HTTPError) -> str:
    """Return what an error answer says, in one line, whoever made it."""
    try:
        about = json.loads(b"".join(_pieces(error, ERROR_BYTES_MAX, ERROR_S)))
        return f"{error.code}: {about['code']}: {about['what']}"[:500]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return _line(error)


def _line(error: urllib.error.HTTPError) -> str:
    return f"{error.code} {error.reason}"[:500]
