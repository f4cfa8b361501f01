"""YAML without surprises: what its versions read differently is refused, with the line.

YAML 1.1 reads `no` as false, `12:30` as 750 and `010` as 8; YAML 1.2 does not. A plain scalar here
is what JSON calls a number, true, false or null; it is text where both versions say so; else it
must be written in quotes. Aliases, tags and merge keys are refused: what is meant is written out.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from central.document.lines import Lines, Path

YAML_BYTES_MAX = 16 << 20  # a larger document is made by a program, which can write JSON
DEPTH_MAX = 32

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.SafeLoader("")
_STR = "tag:yaml.org,2002:str"
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOTHING = ("", "~", "null", "Null", "NULL")
_ODD = re.compile(r"0o[0-7]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|\+[0-9.]+.*")
_TEXT_IN_BOTH = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")  # kept as written


class YamlRefused(ValueError):
    """What is wrong with the text, and on which line (0: none in particular)."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def yaml_values(text: str) -> tuple[Any, Lines]:
    """Return the values of YAML text, and the line of every key and entry. Raises YamlRefused."""
    if len(text) > YAML_BYTES_MAX:
        reason = f"longer than {YAML_BYTES_MAX} characters; write such a document as JSON"
        raise YamlRefused(reason, 0)
    made = _Made()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            made.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = error.problem or error.context or "cannot be read"
        raise YamlRefused(words, mark.line + 1 if mark else 0) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        position = getattr(error, "position", 0) or 0
        reason = str(getattr(error, "reason", "") or "cannot be read")
        raise YamlRefused(reason, text.count("\n", 0, position) + 1) from None
    return made.value, made.lines


class _Made:
    """Takes the events of one document and makes plain values of them, without recursion."""

    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[Path, int] = {(): 1}
        self._documents = 0
        self._open: list[tuple[Any, Path]] = []  # lists and tables that are not closed yet
        self._keys: list[str | None] = []  # of each open table the key that waits for its value

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        match event:
            case yaml.AliasEvent():
                self._refuse("aliases are not taken: write it out where it is needed", line)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._refuse("a second document begins here: one file is one dataset", line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                made: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                if event.tag not in (None, "!"):
                    self._refuse(f"the tag {event.tag} is not taken", line)
                if self._is_key():
                    self._refuse("a key is a text, not a list or a table", line)
                if len(self._open) >= DEPTH_MAX:
                    self._refuse("nested too deep", line)
                path = self._put(made, line)
                self._open.append((made, path))
                self._keys.append(None)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._open.pop()
                self._keys.pop()
            case yaml.ScalarEvent():
                self._scalar(event, line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if event.tag not in (None, "!", _STR):
            self._refuse(f"the tag {event.tag} is not taken", line)
        is_plain = not event.style and event.tag is None  # "" or None, as the reader likes
        if not self._is_key():
            self._put(_plain(event.value, line) if is_plain else event.value, line)
            return
        key, table = event.value, self._open[-1][0]
        if is_plain:
            if key == "<<":
                self._refuse("merge keys are not taken: write the keys out", line)
            if not isinstance(_plain(key, line), str) and not _INTEGER.fullmatch(key):
                self._refuse(f'the key {key} is no text: write "{key}"', line)
        if key in table:
            self._refuse(f"the key {key!r} stands twice in one table", line)
        table[key] = None
        self._keys[-1] = key
        self.lines[*self._open[-1][1], key] = line

    def _is_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1][0], dict) and self._keys[-1] is None

    def _put(self, made: Any, line: int) -> Path:
        """Lay a value where it belongs and return its path."""
        if not self._open:
            self.value = made
            return ()
        into, path = self._open[-1]
        if isinstance(into, list):
            into.append(made)
            path = (*path, len(into) - 1)
            self.lines[path] = line
            return path
        key = self._keys[-1] or ""  # `_is_key` saw to it that there is one
        into[key] = made
        self._keys[-1] = None
        return (*path, key)

    def _refuse(self, reason: str, line: int) -> None:
        raise YamlRefused(reason, line)


def _plain(text: str, line: int) -> Any:
    """Return what a scalar without quotes is; refuse what not every reader of YAML agrees upon."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _NOTHING:
        return None
    if _INTEGER.fullmatch(text) and len(text) <= 400:
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if _ODD.fullmatch(text) or (tag != _STR and tag not in _TEXT_IN_BOTH):
        reason = f'readers of YAML disagree about {text[:50]}: write "{text[:50]}" if it is text'
        raise YamlRefused(f"{reason}; numbers and true, false as JSON has them", line)
    return text
