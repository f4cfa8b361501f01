"""What the door itself says, as bytes of HTTP."""

from __future__ import annotations

import json
from http import HTTPStatus

from bundle.errors import PulkError
from central.http.errors import Busy, TooManyAsks, problem, status_of
from central.http.media import JSON, PROBLEM

FINE = b'{"ok": true}\n'


def answer(status: int, body: bytes, *, keep: bool, come_back_s: int = 0) -> bytes:
    """Return an answer; `keep`: the connection goes on. `come_back_s` 0: no Retry-After."""
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}",
        f"Content-Type: {JSON if status < 400 else PROBLEM}",
        f"Content-Length: {len(body)}",
    ]
    if come_back_s:
        lines.append(f"Retry-After: {come_back_s}")
    if status == 401:
        lines.append("WWW-Authenticate: Bearer")
    lines.append("Connection: keep-alive\r\n\r\n" if keep else "Connection: close\r\n\r\n")
    return "\r\n".join(lines).encode() + body


def refusal(error: PulkError, *, keep: bool, come_back_s: int = 0) -> bytes:
    """Return the answer that carries a refusal."""
    body = json.dumps(problem(error, status_of(error))).encode() + b"\n"
    return answer(status_of(error), body, keep=keep, come_back_s=come_back_s)


def health(silent_s: float, silent_s_max: float) -> bytes:
    """Return whether the server's loop turns."""
    if silent_s <= silent_s_max:
        return answer(200, FINE, keep=False)
    body = json.dumps({"ok": False, "loop_silent_s": round(silent_s, 1)}).encode() + b"\n"
    return answer(503, body, keep=False, come_back_s=max(1, round(silent_s)))


_REASONS = {one.value: one.phrase for one in HTTPStatus}
TOO_MANY_ASKS = json.dumps(problem(TooManyAsks(), 429)).encode() + b"\n"
BUSY = json.dumps(problem(Busy(what_for="the server"), 503)).encode() + b"\n"
