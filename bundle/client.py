"""A user's client of central's REST API: standard library only, every call with a timeout."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from bundle.client_errors import (
    LinesBrokeOff,
    NoAddress,
    NoAnswer,
    NotAToken,
    NotCentral,
    Overloaded,
    Refused,
    WrongFile,
)
from bundle.errors import PulkError
from bundle.limits import MIB
from bundle.patience import BUSY, Patience
from bundle.spool import publish

__all__ = [
    "Client",
    "LinesBrokeOff",
    "NoAddress",
    "NoAnswer",
    "NotAToken",
    "NotCentral",
    "Overloaded",
    "Refused",
    "WrongFile",
]
V1 = "/v1"
GATEWAY = frozenset({502, 504})  # a proxy reaches no central behind it: try again
PAGE = 1000  # rows that are asked for at once
UNVERSIONED = ("/health", "/exchange/")
TIMEOUT_S = 30.0
PIECE_BYTES = 65_536
FLOW_S = 60.0  # between two pieces of a stream; events have a sign of life every 15 s
BACKUP_S = 3600.0  # a large database is copied while others are served
PATIENCE_S = 30.0  # how long a busy central is waited for, all calls of a client together


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Central never redirects; whoever does must not be sent a token or be taken for central."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing: the redirect itself becomes the answer, a refusal."""


class Client:
    """One central, one token. Every method raises NoAddress, NoAnswer, NotCentral or Refused."""

    def __init__(
        self, base: str, token: str, *, direct: bool = False, patience: Patience | None = None
    ) -> None:
        """Speak to the central at a base URL with a bearer token; `direct`: through no proxy."""
        if not token.isascii() or not token.isprintable() or not token or " " in token:
            raise NotAToken()
        self.base = base
        self._token = token
        self._patience = patience or Patience(PATIENCE_S, time.sleep)
        proxies = [urllib.request.ProxyHandler({})] if direct else []
        self._opener = urllib.request.build_opener(NoRedirect, *proxies)

    def health(self) -> Any:
        """Return what central says of itself."""
        return self.get("/health")

    def submit(
        self,
        raw: bytes,
        idempotency_key: str,
        cosignature: bytes = b"",
        *,
        suspended: bool = False,
    ) -> Any:
        """Submit the canonical bytes of a dataset; the same key never submits twice."""
        path = "/datasets?suspended=true" if suspended else "/datasets"
        return self._send(path, raw, idempotency_key, cosignature)

    def edit(self, dataset: str, raw: bytes, idempotency_key: str, cosignature: bytes = b"") -> Any:
        """Put canonical bytes in place of a dataset's document; the same key edits once."""
        return self._send(f"/datasets/{dataset}/document", raw, idempotency_key, cosignature)

    def enrol(self, request: bytes, fingerprint_words: str) -> bytes:
        """Have a site's enrolment request certified; return the answer file."""
        tail = urllib.parse.urlencode({"fingerprint": fingerprint_words})
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask("POST", f"/sites?{tail}", request, headers)

    def sites(self) -> list[dict[str, Any]]:
        """Return the sites that central knows."""
        return self.every("/sites", "sites")

    def add_user(self, name: str, key: bytes) -> int:
        """Let a key sign submissions; return how many parked bundles that brought in."""
        body = json.dumps({"name": name, "key": key.hex()}).encode()
        answer = self._ask("POST", "/users", body, {"Content-Type": "application/json"})
        return int(self._json(answer)["merged"])

    def save_user_as(self, name: str, about: dict[str, Any]) -> dict[str, Any]:
        """Add a user or change one: role, groups, site, limits."""
        return self.send("POST", "/users", {"name": name} | about)

    def make_token(self, about: dict[str, Any]) -> dict[str, Any]:
        """Make a token; the answer alone has its text."""
        return self.send("POST", "/tokens", about)

    def revoke_token(self, no: int) -> dict[str, Any]:
        """Make a token worth nothing."""
        return dict(self._json(self._ask("DELETE", f"/tokens/{no}")))

    def share(self, dataset: str, about: dict[str, Any]) -> dict[str, Any]:
        """Change whose a dataset is and who sees it."""
        return self.send("PATCH", f"/datasets/{dataset}/access", about)

    def remove_user(self, name: str) -> None:
        """Have central take nothing more that a user signs."""
        self._ask("DELETE", f"/users/{urllib.parse.quote(name, safe='')}")

    def users(self) -> list[dict[str, Any]]:
        """Return the users whose submission bundles central takes."""
        return self.every("/users", "users")

    def snapshot(self) -> dict[str, Any]:
        """Have the server copy its database into a file of its own; return where that lies."""
        return dict(self._json(self._ask("POST", "/backups/snapshot", b"", timeout_s=BACKUP_S)))

    def cover(self, backup: Path) -> dict[str, Any]:
        """Tell the server of a finished backup; return how many bundles are safe by it now."""
        body = json.dumps({"backup": str(backup)}).encode()
        headers = {"Content-Type": "application/json"}
        return dict(self._json(self._ask("POST", "/backups", body, headers, BACKUP_S)))

    def presume_lost(self, site: str) -> int:
        """Have a site taken as lost with all it holds; return how many leases that ended."""
        answer = self._ask("POST", f"/sites/{urllib.parse.quote(site, safe='')}/lost", b"")
        return int(self._json(answer)["leases"])

    def counts(self, dataset: str) -> list[dict[str, Any]]:
        """Return per step the tasks by verdict and what they used."""
        answer = self.get(f"/datasets/{dataset}/counts")
        return list(answer["steps"])

    def task(self, dataset: str, job: int, step: int) -> dict[str, Any]:
        """Return one task's verdict, attempts and provenance."""
        return dict(self.get(f"/datasets/{dataset}/tasks/{job}/{step}"))

    def document(self, dataset: str) -> bytes:
        """Return the canonical bytes of a dataset's document."""
        headers = {"Accept": "application/msgpack"}
        return self._ask("GET", f"/datasets/{dataset}/document", headers=headers)

    def lines(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a long list as they come; a query value of None is left out.

        Raises LinesBrokeOff where central could not go on, beside what every method raises.
        """
        count = 0
        try:
            for line in self._flow(_with(path, query), "application/x-ndjson"):
                if line.strip():
                    yield json.loads(line)
                    count += 1
        except NoAnswer as error:
            if not count:
                raise
            raise LinesBrokeOff(where=path) from error
        except ValueError as error:  # a line that was cut in its middle
            raise LinesBrokeOff(where=path) from error

    def events(self, **query: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield kind and content of each event, until central ends the stream; then ask again.

        Between events, now and then, comes one of no kind and no content.
        """
        kind, content = "", ""
        for line in self._flow(_with("/events", query), "text/event-stream"):
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                content = value
            elif not name and not value and kind:
                yield kind, json.loads(content)
                kind, content = "", ""
            elif not name:
                yield "", {}

    def file(self, sha256: str) -> bytes:
        """Return the bytes of an output that travelled home."""
        return self._ask("GET", f"/files/{sha256}")

    def save_file(self, sha256: str, to: Path) -> None:
        """Write an output that travelled home to a path, whole, its digest compared, or not at all.

        Raises WrongFile, OSError, beside what every method raises.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        seen = hashlib.sha256()
        with publish.replacing(to) as file:
            for piece in self._flow(f"/files/{sha256}", "application/octet-stream", MIB):
                seen.update(piece)
                file.write(piece)
            if seen.hexdigest() != sha256:
                raise WrongFile(where=str(to), sha256=sha256)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON document at a path; a query value of None is left out."""
        return self._json(self._ask("GET", _with(path, query)))

    def post(self, path: str, body: Any, idempotency_key: str) -> Any:
        """Post a JSON document; the same key never acts twice."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        return self._json(self._ask("POST", path, json.dumps(body).encode(), headers))

    def send(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """Send a JSON document that changes something; return the answer's."""
        headers = {"Content-Type": "application/json"}
        return dict(self._json(self._ask(method, path, json.dumps(body).encode(), headers)))

    def every(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        """Return all rows of a list, page after page."""
        return list(self.pages(path, key, **query))

    def pages(self, path: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a list, asking for a page when it is needed."""
        cursor = None
        while True:
            answer = self.get(path, **{**query, "limit": PAGE, "cursor": cursor})
            if not isinstance(answer, dict) or not {key, "next"} <= answer.keys():
                raise NotCentral(where=self.base, found=f"no {key}")
            yield from answer[key]
            cursor = answer["next"]
            if cursor is None:
                return

    def _of_a_stranger(self, error: urllib.error.HTTPError, said: str) -> PulkError:
        """Return what an error is that central did not write."""
        if error.code in GATEWAY:
            return NoAnswer(where=error.url, reason=f"a proxy says HTTP {error.code}")
        return NotCentral(where=self.base, found=said)

    def _json(self, raw: bytes) -> Any:
        """Read an answer. Raises NotCentral."""
        try:
            return json.loads(raw)
        except ValueError as error:
            raise NotCentral(where=self.base, found=raw[:80].decode(errors="replace")) from error

    def _send(self, path: str, raw: bytes, idempotency_key: str, cosignature: bytes) -> Any:
        headers = {"Content-Type": "application/msgpack", "Idempotency-Key": idempotency_key}
        if cosignature:
            headers["Pulk-Cosignature"] = base64.b64encode(cosignature).decode()
        return self._json(self._ask("POST", path, raw, headers))

    def _flow(self, path: str, accept: str, size: int = 0) -> Iterator[bytes]:
        """Yield an answer as it comes: its lines, or pieces of a size."""
        request = self._request("GET", path, None, {"Accept": accept})
        for tries in count(1):
            answer = self._opened(request, tries, FLOW_S)
            if answer is not None:
                break
        with answer:
            if answer.headers.get_content_type() != accept:
                raise NotCentral(where=self.base, found=answer.headers.get_content_type())
            try:
                yield from iter(lambda: answer.read(size), b"") if size else _lines(answer)
            except (OSError, http.client.HTTPException) as error:
                raise NoAnswer(where=request.full_url, reason=_reason(error)) from error

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> bytes:
        request = self._request(method, path, body, headers or {})
        for tries in count(1):
            found = self._ask_once(request, tries, timeout_s)
            if found is not None:
                return found
        raise AssertionError  # never: count() has no end

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> urllib.request.Request:
        url = self.base.rstrip("/") + (path if path.startswith(UNVERSIONED) else V1 + path)
        if not url.startswith(("http://", "https://")):
            raise NoAddress(where=self.base)
        return urllib.request.Request(  # noqa: S310  the scheme is checked above
            url,
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {self._token}", **headers},
        )

    def _ask_once(
        self, request: urllib.request.Request, tries: int, timeout_s: float
    ) -> bytes | None:
        """Ask once; None where central was busy and the wait that it asked for is over."""
        url = request.full_url
        answer = self._opened(request, tries, timeout_s)
        if answer is None:
            return None
        try:
            with answer:
                return bytes(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(where=url, reason=_reason(error)) from error

    def _opened(self, request: urllib.request.Request, tries: int, timeout_s: float) -> Any:
        """Return the answer, open to be read; None where central was busy and the wait is over."""
        url = request.full_url
        try:
            return self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            said = _said(error)
            if self._patience.waits(error.code, error.headers.get("Retry-After"), tries):
                return None
            if not said["refusal"] and error.code not in BUSY:
                raise self._of_a_stranger(error, said["said"]) from error
            kind = Overloaded if error.code in BUSY else Refused
            raise kind(where=url, status=error.code, **said) from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(where=url, reason=_reason(error)) from error


def _lines(answer: Any) -> Iterator[bytes]:
    """Yield the lines of an answer as they come; its own `readline` hides that the end is missing.

    Raises http.client.IncompleteRead.
    """
    held = b""
    for piece in iter(lambda: answer.read1(PIECE_BYTES), b""):
        *whole, held = (held + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if held:
        yield held


def _with(path: str, query: dict[str, Any]) -> str:
    """Return a path with its query; a value of None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urllib.parse.urlencode(given)}" if given else path


def _reason(error: Exception) -> str:
    """Return why nobody answered, without the library's own wrapping."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return text or type(error).__name__


def _said(error: urllib.error.HTTPError) -> dict[str, str]:
    """Return central's words, with the place that they are about, and the code among them."""
    text = error.read(65_536).decode(errors="replace")
    try:
        body = json.loads(text)
        code, words = str(body["code"]), f"{body['what']}; {body['remedy']}"
        about = f"{body['where']}: " if body.get("where", "") not in error.url else ""
    except (ValueError, KeyError, TypeError):
        return {"said": f"HTTP {error.code}: {text[:80]}", "refusal": ""}
    return {"said": f"{code}: {about}{words}", "refusal": code}
