"""Access tokens: central knows them by their digests alone."""

from __future__ import annotations

import hashlib

from central.home import Home
from central.store.protocol import Store

ADMIN = "admin"


def take_token(home: Home, store: Store) -> None:
    """Know the administrator's token: the first one, or the one there is after a restore."""
    if not home.token.exists():
        return
    given = token_digest(home.token.read_text().strip())
    if given not in [digest for _, digest in store.people.tokens()]:
        with store.transaction():
            store.people.add_token(given, ADMIN)


def token_digest(bearer: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(bearer.encode(errors="replace")).digest()
