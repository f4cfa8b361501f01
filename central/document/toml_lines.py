"""The lines of a TOML text that `tomllib` has read already: it does not tell where it read what."""

from __future__ import annotations

import re

from central.document.lines import Cursor, Lines, Path

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"""+', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'''+", re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\r\n]+")
_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[btnfre"\\])')
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def toml_lines(text: str) -> Lines:
    """Return the line of every key and entry of a text that is TOML."""
    return _Toml(text).found


class _Toml(Cursor):
    """Walks over a text; tables of arrays are counted as they come."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.found: dict[Path, int] = {(): 1}
        self._entries: dict[Path, int] = {}  # how many `[[name]]` there were
        table: Path = ()
        while self.skip(_BLANK) or self.next():
            if not self.next():
                return
            if self.next() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self.line()
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        names = self._key()
        self.at += 2 if many else 1
        path: Path = ()
        for place, name in enumerate(names):
            path = (*path, name)
            is_last = place == len(names) - 1
            if is_last and many:
                self._entries[path] = self._entries.get(path, 0) + 1
            self.found.setdefault(path, line)
            if path in self._entries:
                path = (*path, self._entries[path] - 1)
            self.found.setdefault(path, line)
        return path

    def _pair(self, table: Path) -> None:
        line = self.line()
        path = table
        for name in self._key():
            path = (*path, name)
            self.found.setdefault(path, line)
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        names = []
        while True:
            self.skip(_SPACE)
            if self.next() == '"':
                names.append(_ESCAPE.sub(_plain, self.skip(_BASIC)[1:-1]))
            elif self.next() == "'":
                names.append(self.skip(_LITERAL)[1:-1])
            else:
                names.append(self.skip(_BARE))
            self.skip(_SPACE)
            if self.next() != ".":
                return names
            self.at += 1

    def _value(self, path: Path) -> None:
        if self.next() == "[":
            self._array(path)
        elif self.next() == "{":
            self._table(path)
        elif self.text.startswith('"""', self.at):
            self.skip(_LONG_BASIC)
        elif self.text.startswith("'''", self.at):
            self.skip(_LONG_LITERAL)
        else:
            self.skip({'"': _BASIC, "'": _LITERAL}.get(self.next(), _PLAIN))

    def _array(self, path: Path) -> None:
        self.at += 1
        number = 0
        while self.skip(_BLANK) or self.next():
            if self.next() in "],":
                self.at += 1
                if self.text[self.at - 1] == "]":
                    return
                continue
            self.found[*path, number] = self.line()
            self._value((*path, number))
            number += 1

    def _table(self, path: Path) -> None:
        self.at += 1
        while self.skip(_BLANK) or self.next():
            if self.next() in "},":
                self.at += 1
                if self.text[self.at - 1] == "}":
                    return
                continue
            self._pair(path)


def _plain(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else _ESCAPES.get(code, code)
