"""Central over HTTPS: PUT what goes out, GET what comes in, wait there for news.

What broke off goes on where it stopped, both ways: by ranges of the same copy when fetching, by the
bytes that central says it holds when sending.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bundle.ids import BundleId
from bundle.limits import BUNDLE_BYTES_MAX
from bundle.media.sight import is_sound
from bundle.patience import Patience
from bundle.spool import publish
from bundle.trust.keys import Signer
from bundle.trust.request import sign_request
from relay.carrier import resuming
from relay.carrier.contract import Answer, Outgoing, Passing
from relay.carrier.talking import Body, Said, Talk
from relay.errors import CarryFailed

ANSWER_BYTES_MAX = 1 << 20
OUTBOX_BYTES_MAX = 8 << 20
PATIENCE_S = 12.0  # how long one tick waits for a busy central before it leaves it to the next
ASKED_BYTES_MIN = 1 << 20  # of a bundle so large central is asked how much of it is there
TRIES = 3  # to put one file together, in one tick
THIS_BUNDLE_ONLY = frozenset({400, 404, 409, 411, 413, 415, 422})
NOT_MODIFIED, PARTIAL, CHANGED, BEYOND = 304, 206, 412, 416
_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/(?:[0-9]{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class Standing:
    """In whose name requests are made: by a site's key, or by a courier's with a pass of it."""

    site: str
    signer: Signer
    certificate: bytes
    courier_pass: bytes = b""

    def signed(self, method: str, path: str) -> str:
        """Return the value of `Authorization` for a request made now."""
        now_us = time.time_ns() // 1000
        return sign_request(self.signer, self.certificate, method, path, now_us, self.courier_pass)


class HttpCarrier:
    """See `contract.Carrier`. Every request is signed."""

    def __init__(
        self,
        url: str,
        standing: Standing,
        timeout_s: float,
        *,
        parts: Path | None = None,
        ca: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Talk to central at `url`.

        Args:
            url: central's address.
            standing: who asks.
            timeout_s: how long an answer may be silent.
            parts: where transfers that broke off wait, on the filesystem of what is fetched; None:
                they begin anew.
            ca: certificates of the authorities to trust; None: this machine's.
            patience: how long a busy central is waited for.
        """
        patience = patience or Patience(PATIENCE_S, time.sleep)
        self._talk = Talk(url, standing.signed, timeout_s, patience, ca)
        self._place = f"/exchange/{urllib.parse.quote(standing.site)}"
        self._parts = parts

    def send(self, bundle: Outgoing) -> Answer | None:
        """PUT one bundle, or the rest of it; see the contract."""
        try:
            if bundle.again and (known := self._known(bundle.id)):
                return known
            with bundle.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                held = self._held(bundle.id) if size >= ASKED_BYTES_MIN else 0
                return self._put(bundle.id, file, size, held if held < size else 0)
        except CarryFailed as error:
            if error.fields.get("status", 0) not in THIS_BUNDLE_ONLY:
                raise
            _LOG.warning("bundle not taken", extra={"reason": error.text()})
        return None

    def fetch(self, is_known: Passing, into: Path) -> Iterator[Path]:
        """GET the outbox, then each bundle not known; see the contract."""
        for name, size in self._outbox():
            if not _ID.fullmatch(name) or not 0 < size <= BUNDLE_BYTES_MAX:
                continue
            if is_known(BundleId(name), size):
                continue
            try:
                path = self._download(BundleId(name), size, into)
            except CarryFailed as error:
                if error.fields.get("status", 0) not in THIS_BUNDLE_ONLY:
                    raise
                _LOG.warning("bundle not given", extra={"reason": error.text()})
                continue
            yield path

    def wait(self, seen: str, wait_s: float) -> str:
        """Wait until central has other things for this site than at `seen`; return what it has now.

        Args:
            seen: what an earlier call returned, or nothing, which is answered at once.
            wait_s: how long at most; central may answer sooner.

        Raises CarryFailed.
        """
        headers = {"Prefer": f"wait={max(1, round(wait_s))}"}
        if seen:
            headers["If-None-Match"] = f'"{seen}"'
        said = self._talk.call(
            "GET",
            f"{self._place}/outbox",
            OUTBOX_BYTES_MAX,
            headers=headers,
            fine=frozenset({NOT_MODIFIED}),
            wait_s=wait_s,
        )
        if said.status == NOT_MODIFIED:
            return seen
        return hashlib.sha256(said.raw).hexdigest()[:32]

    # ---- out

    def _put(self, bundle: BundleId, file: IO[bytes], size: int, held: int) -> Answer:
        headers = {"Content-Range": f"bytes {held}-{size - 1}/{size}"} if held else {}
        path = f"{self._place}/{bundle}"
        body = Body(file, held, size - held)
        said = self._talk.call("PUT", path, ANSWER_BYTES_MAX, body=body, headers=headers)
        return self._answer("PUT", path, said)

    def _known(self, bundle: BundleId) -> Answer | None:
        """Return what central did with a bundle before; None where it must be sent."""
        path = f"{self._place}/{bundle}/disposition"
        with _one_alone():
            return self._answer("GET", path, self._talk.call("GET", path, ANSWER_BYTES_MAX))
        return None

    def _held(self, bundle: BundleId) -> int:
        """Return how many bytes of a bundle came to central before a transfer broke off."""
        path = f"{self._place}/{bundle}/held"
        with _one_alone():
            raw = self._talk.call("GET", path, ANSWER_BYTES_MAX).raw
            try:
                return max(0, int(json.loads(raw)["bytes"]))
            except (ValueError, KeyError, TypeError) as error:
                raise self._talk.not_central("GET", path, _OTHER) from error
        return 0  # a central of before

    def _answer(self, method: str, path: str, said: Said) -> Answer:
        try:
            return Answer(json.loads(said.raw)["disposition"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._talk.not_central(method, path, _OTHER) from error

    # ---- in

    def _outbox(self) -> list[tuple[str, int]]:
        path = f"{self._place}/outbox"
        said = self._talk.call("GET", path, OUTBOX_BYTES_MAX)
        try:
            rows = json.loads(said.raw)["bundles"]
            return [(str(row["id"]), int(row["bytes"])) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise self._talk.not_central("GET", path, _OTHER) from error

    def _download(self, bundle: BundleId, size: int, into: Path) -> Path:
        for _ in range(TRIES):
            part = self._fetch_on(bundle, size, into)
            if part is not None:
                target = into / f"{bundle}.pulk"
                with contextlib.suppress(FileNotFoundError):  # another tick was faster
                    publish.publish(part, target)
                return target
        reason = "what was put together is no bundle, or another copy each time"
        raise CarryFailed(where=f"{self._place}/{bundle}", method="GET", reason=reason)

    def _fetch_on(self, bundle: BundleId, size: int, into: Path) -> Path | None:
        """Fetch what is missing of a bundle; None where another copy must be begun.

        A file that came in one go is whole or the connection said so; one that was put together is
        read first.
        """
        part = None if self._parts is None else resuming.newest(self._parts, bundle)
        begun = 0 if part is None else resuming.size_of(part)
        if begun >= size and part is not None:
            return _sound(part)
        taking = _Taking(bundle, self._parts, into, part, begun)
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        fine = frozenset({CHANGED, BEYOND}) if begun else frozenset[int]()
        path = f"{self._place}/{bundle}"
        try:
            self._talk.call("GET", path, size, headers=headers, into=taking.sink, fine=fine)
        except _OtherCopy:
            pass
        except BaseException:
            taking.leave()
            raise
        taking.close()
        if taking.path is None:  # the part that is here is good for nothing
            if part is not None:
                part.unlink(missing_ok=True)
            return None
        return _sound(taking.path) if taking.at else taking.path


class _OtherCopy(Exception):
    """What comes is not the rest of what is here: another copy, or another range."""


class _Taking:
    """The file that an answer's body goes to, once its head says which copy it is of."""

    def __init__(
        self, bundle: BundleId, parts: Path | None, into: Path, part: Path | None, begun: int
    ) -> None:
        self._bundle, self._parts, self._into = bundle, parts, into
        self._part, self._begun = part, begun
        self._file: IO[bytes] | None = None
        self.path: Path | None = None
        self.at = 0  # where the body was put

    def sink(self, status: int, headers: Mapping[str, str]) -> IO[bytes]:
        """Open the file, anew where central was busy before. Raises _OtherCopy."""
        self._drop()
        tag = {name.lower(): value for name, value in headers.items()}.get("etag", "")
        if self._parts is None or not tag or tag.startswith("W/"):
            path = (self._parts or self._into) / f"once-{os.getpid()}-{os.urandom(6).hex()}"
        else:
            path = resuming.part_of(self._parts, self._bundle, tag)
        if status == PARTIAL:
            if path != self._part or _begin(headers) != self._begun:
                raise _OtherCopy
            self.at = self._begun
        else:
            path.unlink(missing_ok=True)
        self._file, self.path = resuming.opened(path, self.at), path
        return self._file

    def close(self) -> None:
        """Sync and close the file."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def leave(self) -> None:
        """Close after trouble; keep what a later transfer can go on from."""
        with contextlib.suppress(OSError):
            self.close()
        if self.path is not None:
            if self.path.name.startswith("once-"):
                self.path.unlink(missing_ok=True)
            else:
                resuming.drop_short(self.path)

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self.path, self.at = None, None, 0


_OTHER = "the answer is not central's (a login page on the way?)"


@contextlib.contextmanager
def _one_alone() -> Iterator[None]:
    """Pass over what concerns one bundle alone."""
    try:
        yield
    except CarryFailed as error:
        if error.fields.get("status", 0) not in THIS_BUNDLE_ONLY:
            raise


def _sound(part: Path) -> Path | None:
    if is_sound(part):
        return part
    _LOG.warning("what was put together is damaged; it is fetched anew", extra={"file": part.name})
    part.unlink(missing_ok=True)
    return None


def _begin(headers: Mapping[str, str]) -> int:
    """Return the first byte that a partial answer holds, -1 where it does not say."""
    said = {name.lower(): value for name, value in headers.items()}.get("content-range", "")
    found = _RANGE.fullmatch(said)
    return int(found[1]) if found else -1
