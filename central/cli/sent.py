"""The client's journal: which idempotency key went with what was sent, kept across crashes.

A request whose answer was never read is sent again with the same key, so that central acts once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from bundle.errors import PulkError

JOURNAL_NAME = "sent.jsonl"


class NoJournal(PulkError):
    """The client's journal cannot be written: a repeated call could act twice. Free the folder."""

    code = "no-client-journal"
    what = "the journal of sent requests cannot be used: {reason}"
    remedy = "make the folder writable, or set XDG_STATE_HOME to one that is"


class Sent:
    """The journal in one folder; see `in_home`."""

    def __init__(self, folder: Path) -> None:
        """Keep the journal in a folder, which is made where it is missing."""
        self._path = folder / JOURNAL_NAME

    @classmethod
    def in_home(cls) -> Sent:
        """Open the journal of this user: below XDG_STATE_HOME, else ~/.local/state."""
        given = os.environ.get("XDG_STATE_HOME", "")
        state = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
        return cls(state / "pulk")

    def key_for(self, request: str) -> str:
        """Return the key to send a request with; the same again until it was answered.

        Args:
            request: what tells the request from others: address, kind and digest of its body.
        """
        with self._opened() as file:
            waiting = self._waiting(file)
            if request in waiting:
                return waiting[request]
            key = os.urandom(16).hex()
            self._append(file, {"key": key, "request": request})
            return key

    def answered(self, request: str) -> None:
        """Note that central's answer to a request was read; the next one like it is a new one."""
        with self._opened() as file:
            self._append(file, {"answered": request})

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        except OSError as error:
            reason = error.strerror or str(error)
            raise NoJournal(where=str(self._path), reason=reason) from error

    def _waiting(self, file: TextIO) -> dict[str, str]:
        waiting: dict[str, str] = {}
        file.seek(0)
        for line in file:
            row = _row(line)
            if "key" in row:
                waiting[str(row.get("request"))] = str(row["key"])
            else:
                waiting.pop(str(row.get("answered")), None)
        return waiting

    def _append(self, file: TextIO, row: dict[str, str]) -> None:
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _row(line: str) -> dict[str, Any]:
    """Return a line's row; one that a crash cut off is nothing."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
