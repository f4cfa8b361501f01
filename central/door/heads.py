"""The head of a request, as far as the door must understand it: what is asked, and by whom.

Only a plain ask is read here; whatever is odd goes to the server's own parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

HEAD_BYTES_MAX = 16_384
END = b"\r\n\r\n"
_ASK = re.compile(rb"GET (/exchange/([a-z0-9][a-z0-9._-]{0,62})/outbox) HTTP/1\.1")
# What a process of its own reads. Any other form of the same goes to the server, which answers all.
_READ = re.compile(
    rb"GET /v1/(?:sites(?:/[a-z0-9][a-z0-9._-]{0,62})?|bundles|users|tokens|me|audit|aggregates"
    rb"|events|docs|openapi\.json|datasets(?:/[a-z2-7]{26}(?:/(?:counts|learned|disputes|needs|document"
    rb"|attempts|aggregates|jobs|tasks(?:/[0-9]{1,10}/[0-9]{1,5}(?:/(?:tell|logs))?)?))?)?)"
    rb"(?:\?[!-~]*)? HTTP/1\.1\r\n"
)
_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")
_WAIT = re.compile(r"wait=([0-9]{1,4})")
_ODD = frozenset({"transfer-encoding", "upgrade", "expect", "content-encoding", "range"})


class Asks(StrEnum):
    """What a connection is for."""

    WORK = "work"
    HEALTH = "health"
    COMPLETION = "completion"
    READ = "read"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Ask:
    """A plain request for work. `size`: bytes of the head; `keep`: the connection goes on.

    `wait_s`: how long the answer may wait until it is another than the one with the tag `seen`.
    """

    path: str
    site: str
    authorization: str
    keep: bool
    size: int
    wait_s: int = 0
    seen: str = ""


def kind_of(raw: bytes) -> Asks | None:
    """Return what a request is for, None where its head has not come whole."""
    if END not in raw:
        return None
    if raw.startswith(b"PUT /exchange/"):
        return Asks.COMPLETION
    if raw.startswith(b"GET /exchange/") and b"/outbox HTTP/1.1\r\n" in raw:
        return Asks.WORK
    if _READ.match(raw):
        return Asks.READ
    if raw.startswith(b"GET /health HTTP/1.1\r\n") and b"\nauthorization:" not in raw.lower():
        return Asks.HEALTH
    return Asks.OTHER


def read_ask(raw: bytes) -> Ask | None:
    """Return a plain ask, None where anything about it is not plain.

    `raw` begins with the whole head; what follows belongs to the next request.
    """
    size = raw.index(END) + len(END)
    first, *rest = raw[: size - len(END)].split(b"\r\n")
    asked = _ASK.fullmatch(first)
    fields = None if asked is None else _fields(rest)
    if asked is None or fields is None or _ODD & fields.keys():
        return None
    if fields.get("content-length", "0") != "0" or "host" not in fields:
        return None
    return Ask(
        path=asked[1].decode(),
        site=asked[2].decode(),
        authorization=fields.get("authorization", ""),
        keep=fields.get("connection", "keep-alive").lower() == "keep-alive",
        size=size,
        wait_s=int(wait[1]) if (wait := _WAIT.fullmatch(fields.get("prefer", ""))) else 0,
        seen=fields.get("if-none-match", "").strip('"'),
    )


def _fields(lines: list[bytes]) -> dict[str, str] | None:
    """Return the header's fields by lower-case name, None where one is odd or given twice."""
    found: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line.decode("latin-1"))
        if match is None or match[1].lower() in found:
            return None
        found[match[1].lower()] = match[2]
    return found
