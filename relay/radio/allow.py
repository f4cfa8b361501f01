"""Who may speak: pilots whose key stands in their claim, and this relay's own status.

A claim lies in the spool, where only the site's account can write. A key counts while its claim is
there, is a plain file, and belongs to this account.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat

from bundle.errors import PulkError
from bundle.ids import PilotRun
from bundle.spool.layout import Spool
from bundle.trust.keys import Signer
from bundle.wire.preauth import pae
from relay import claims

READER = "status"
_READER_TYPE = "pulk/radio-reader/1"


class AllowList:
    """Keys by pilot, read from claims; each claim once."""

    def __init__(self, spool: Spool, reader: bytes) -> None:
        """`reader` is the public key of this relay's status."""
        self._spool = spool
        self._reader = reader
        self._keys: dict[bytes, PilotRun] = {}
        self._known: dict[PilotRun, bytes] = {}
        self._uid = os.geteuid()

    def who(self, key: bytes) -> str:
        """Return a pilot run in hex, `status`, or nothing for a key that is not allowed."""
        if key == self._reader:
            return READER
        run = self._keys.get(key)
        if run is None or not self._is_ours(run):
            return ""
        return run.hex()

    def look(self) -> None:
        """Read the claims that were not read yet, and forget those that are gone."""
        there = claims.pilot_runs(self._spool)
        for run in self._known.keys() - set(there):
            self._keys.pop(self._known.pop(run), None)
        for run in there:
            if run in self._known:
                continue
            with contextlib.suppress(OSError, PulkError):
                claim = claims.read(self._spool, run) if self._is_ours(run) else None
                if claim is not None:  # else it is about to be written
                    self._known[run] = claim.radio_key
                    if claim.radio_key:
                        self._keys[claim.radio_key] = run

    def _is_ours(self, run: PilotRun) -> bool:
        try:
            found = os.lstat(self._spool.claim(run))
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_uid == self._uid


def reader_secret(signer: Signer) -> bytes:
    """Return CURVE's secret key of the status: whoever holds the site's key can make it."""
    return hashlib.sha256(signer.sign(pae(_READER_TYPE, b""))).digest()
