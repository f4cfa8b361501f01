"""On which line of its text each place of a document stands: looked up on the way to a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]

Path = tuple[str | int, ...]
Lines = Mapping[Path, int]  # lines are counted from 1

_PART = re.compile(r'\[(\d+)\]|"([^"]*)"|([^.\["]+)')
_JSON_SPACE = re.compile(r"[ \t\n\r]*")
_JSON_PLAIN = re.compile(r"[^\s,\]}]+")


def parts(where: str) -> Path:
    """Return the places that a path names, as errors write it: `steps[2].files."a.py"`."""
    return tuple(
        int(one[1]) if one[1] else (one[2] if one[2] is not None else one[3])
        for one in _PART.finditer(where)
    )


def line_of(path: Path, lines: Lines) -> int:
    """Return the line of a place, or of the nearest thing around it; 0 where nothing is known.

    A key that names no table may have dots in it: `environment.A.B` is looked for as well.
    """
    for length in range(len(path), 0, -1):
        if found := lines.get(path[:length]):
            return found
    return lines.get((), 0)


def json_lines(text: str) -> Lines:
    """Return the line of every key and entry of a text that is JSON."""
    return _Json(text).found


class Cursor:
    """A place in a text, and which line that is; it only moves forwards."""

    def __init__(self, text: str) -> None:
        """Start at the beginning."""
        self.text, self.at = text, 0
        self._line, self._counted = 1, 0

    def line(self) -> int:
        """Return the line that the cursor is on."""
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def next(self) -> str:
        """Return the character at the cursor; empty at the end."""
        return self.text[self.at : self.at + 1]

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Move behind what a pattern finds here, and return that."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()


class _Json(Cursor):
    """Walks over a text that `json` has read already, so it need not be checked again."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.found: dict[Path, int] = {}
        self.skip(_JSON_SPACE)
        self._value(())

    def _value(self, path: Path) -> None:
        self.found.setdefault(path, self.line())
        match self.next():
            case "{":
                self._entries(path, "}")
            case "[":
                self._entries(path, "]")
            case '"':
                _, self.at = scanstring(self.text, self.at + 1)
            case _:
                self.skip(_JSON_PLAIN)

    def _entries(self, path: Path, end: str) -> None:
        self.at += 1
        number = 0
        while self.skip(_JSON_SPACE) or self.next():
            if self.next() == end:
                self.at += 1
                return
            if self.next() == ",":
                self.at += 1
            elif end == "]":
                self._value((*path, number))
                number += 1
            else:
                self.found.setdefault(path, self.line())
                line = self.line()
                key, self.at = scanstring(self.text, self.at + 1)
                self.found[*path, key] = line
                self.skip(_JSON_SPACE)
                self.at += 1  # the colon
                self.skip(_JSON_SPACE)
                self._value((*path, key))
