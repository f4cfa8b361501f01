"""The server at work in a folder: what a command asks that finds the folder's lock taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from bundle.client import Client
from bundle.ids import SiteName
from central.home import Home
from central.lock import SERVE, InUse


class Enroller(Protocol):
    """Who can certify sites and know users: an authority in this process, or the server's."""

    def enrol(self, request: bytes, fingerprint_words: str) -> bytes:
        """See `Authority.enrol`."""

    def sites(self) -> list[dict[str, Any]]:
        """See `Authority.sites`."""

    def add_user(self, name: str, key: bytes) -> int:
        """See `Authority.add_user`."""

    def remove_user(self, name: str) -> None:
        """See `Authority.remove_user`."""

    def save_user_as(self, name: str, about: dict[str, Any]) -> dict[str, Any]:
        """See `People.save_user_as`."""

    def snapshot(self) -> dict[str, Any]:
        """See `Authority.snapshot`."""

    def cover(self, backup: Path) -> dict[str, Any]:
        """See `Authority.cover`."""

    def presume_lost(self, site: SiteName) -> int:
        """See `Authority.presume_lost`."""

    def users(self) -> list[dict[str, Any]]:
        """See `Authority.users`."""


def client_of(home: Home, taken: InUse) -> Client:
    """Return a client of the server that holds the lock, with the administrator's token.

    Another holder's folder may have an address that a killed server left; whoever listens there now
    must not get the token. Raises `taken` unless a server holds the lock and listens.
    """
    if taken.fields["doing"] != SERVE:
        raise taken
    try:
        url, token = home.address.read_text().strip(), home.token.read_text().strip()
    except FileNotFoundError:
        raise taken from None  # it starts or stops
    return Client(url, token, direct=True)
