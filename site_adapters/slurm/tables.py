"""Slurm's text outputs cut into rows of words: tables, and `scontrol`'s `key=value` records. Pure.

Bytes come in, for names need not be UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from site_adapters.errors import OutputRefused

UNIT, RECORD = "\x1f", "\x1e"
_SHOWN = 80
_KEY = re.compile(r"(?:(?<=\s)|^)([A-Za-z][A-Za-z0-9_/:.]*)=")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the output, counted from 1, and its words by column."""

    line: int
    words: Mapping[str, str]


def text_of(raw: bytes) -> str:
    """Return text that shows what is not UTF-8 as the replacement character."""
    return raw.decode("utf-8", errors="replace")


def rows(
    raw: bytes, program: str, columns: Sequence[str] | None = None, separator: str = "|"
) -> list[Row]:
    """Cut a table into rows; `columns` None: the first row names them.

    Rows end with a line, or where the output uses record marks, with those: names may then hold
    line ends. A separator after the last word is allowed (`sacct -p`), and so are more of them
    inside the last column. Raises OutputRefused.
    """
    text = text_of(raw)
    is_marked = RECORD in text
    pieces = text.split(RECORD) if is_marked else text.splitlines()
    found: list[Row] = []
    line = 1
    for piece in pieces:
        at, line = line, line + (piece.count("\n") if is_marked else 1)
        bare = piece.strip("\r\n")
        if not bare.strip():
            continue
        words = bare.split(separator)
        if columns is None:
            columns = [word.strip() for word in words]
            if columns and not columns[-1]:
                columns = columns[:-1]
            continue
        found.append(Row(at, _words(words, columns, program, at, separator)))
    return found


def _words(
    words: list[str], columns: Sequence[str], program: str, line: int, separator: str
) -> dict[str, str]:
    if len(words) == len(columns) + 1 and not words[-1].strip():
        words = words[:-1]
    if len(words) > len(columns):
        last = len(columns) - 1
        words = [*words[:last], separator.join(words[last:])]
    if len(words) != len(columns):
        raise refused(program, line, separator.join(words), f"{len(columns)} words")
    return {name: word.strip() for name, word in zip(columns, words, strict=True)}


def records(raw: bytes, program: str, first: str) -> list[Row]:
    """Cut what `scontrol show` prints, on one line a record (`-o`) or on several.

    `first` is the key that begins a record, as `JobId`. Raises OutputRefused.
    """
    found: list[Row] = []
    begins = re.compile(rf"{re.escape(first)}=")
    block: list[str] = []
    at = 1
    for line, text in enumerate(text_of(raw).splitlines(), 1):
        if begins.match(text):
            found += _record(block, at)
            block, at = [text], line
        elif block:
            block.append(text)
        elif text.strip() and not _is_chatter(text):
            raise refused(program, line, text, f"{first}=")
    return found + list(_record(block, at))


def _is_chatter(text: str) -> bool:
    return text.startswith(("No ", "slurm_load", "scontrol:"))


def _record(block: list[str], line: int) -> Iterator[Row]:
    if not block:
        return
    words: dict[str, str] = {}
    for text in block:
        keys = list(_KEY.finditer(text))
        ends = [*(key.start() for key in keys[1:]), len(text)]
        for key, end in zip(keys, ends, strict=False):
            words.setdefault(key[1], text[key.end() : end].strip())
    yield Row(line, words)


def refused(program: str, line: int, found: str, expected: str) -> OutputRefused:
    """Make the error for a line that is not what it should be."""
    return OutputRefused(
        where=f"line {line}", program=program, found=repr(found[:_SHOWN]), expected=expected
    )
