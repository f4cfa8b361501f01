"""How the door asks the server what a site is to fetch, over a stream of bytes between the two."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bundle.ids import SiteName

QUESTION = struct.Struct(">B")  # length of the site's name, which follows
REPLY = struct.Struct(">BHHI")  # length of the name, status, Retry-After, length of the body
# Beside a connection that is handed over: what it is for.
COMPLETION, READ, OTHER = b"c", b"r", b"o"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says for one site."""

    site: SiteName
    status: int
    come_back_s: int
    body: bytes


def question(site: SiteName) -> bytes:
    """Return a question as bytes."""
    name = site.encode()
    return QUESTION.pack(len(name)) + name


def reply(one: Reply) -> bytes:
    """Return a reply as bytes."""
    name = one.site.encode()
    return REPLY.pack(len(name), one.status, one.come_back_s, len(one.body)) + name + one.body


def take_replies(held: bytearray) -> Iterator[Reply]:
    """Yield whole replies and remove them from what has come."""
    while len(held) >= REPLY.size:
        name_size, status, come_back_s, body_size = REPLY.unpack_from(held)
        middle = REPLY.size + name_size
        end = middle + body_size
        if len(held) < end:
            return
        site = SiteName(held[REPLY.size : middle].decode())
        yield Reply(site, status, come_back_s, bytes(held[middle:end]))
        del held[:end]
