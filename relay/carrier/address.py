"""Where central is, as one address: https://, file:// or ssh://. Pure."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from enum import StrEnum

_PATH = re.compile(r"/[A-Za-z0-9._/~+@=,-]*")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Scheme(StrEnum):
    """The carriers there are."""

    HTTP = "http"
    FILE = "file"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address. `path` of a folder; the others are ssh's. `text`: as it was given."""

    scheme: Scheme
    text: str
    path: str = ""
    host: str = ""
    user: str = ""
    port: int = 0


def parse(text: str) -> Address:
    """Read an address. Raises ValueError, which says what is wrong."""
    parts = urllib.parse.urlsplit(text)
    path = parts.path.rstrip("/")
    match parts.scheme:
        case "http" | "https":
            if not parts.hostname or parts.query or parts.fragment or parts.username:
                raise ValueError("it must be https://HOST[:PORT][/PATH]")
            return Address(Scheme.HTTP, text)
        case "file":
            path = urllib.parse.unquote(path)
            if parts.netloc or not path.startswith("/"):
                raise ValueError("it must be file:///FOLDER")
            return Address(Scheme.FILE, text, path=path)
        case "ssh":
            if not _HOST.fullmatch(parts.hostname or "") or not _PATH.fullmatch(path):
                raise ValueError(
                    "it must be ssh://[USER@]HOST[:PORT]/FOLDER of letters, digits and ._/~+@=,-"
                )
            if parts.username and not _HOST.fullmatch(parts.username):
                raise ValueError("the user's name has other than letters, digits and ._-")
            host, user = parts.hostname or "", parts.username or ""
            return Address(Scheme.SSH, text, path, host, user, parts.port or 0)
    raise ValueError("it must begin with https://, file:// or ssh://")
