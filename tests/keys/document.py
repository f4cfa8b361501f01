"""The drills of docs/operate-keys.md, read out of the document: it is what is tested."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conftest import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "operate-keys.md"
_DRILL = re.compile(r"^## Drill (\d+): (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Drill:
    """One section: its number, what it says, and its commands, a line each."""

    number: int
    title: str
    text: str
    commands: tuple[str, ...]


def drills() -> dict[int, Drill]:
    """Return all drills by number."""
    found = {}
    for number, title, text in _DRILL.findall(DOCUMENT.read_text()):
        lines = [line for block in _BLOCK.findall(text) for line in block.splitlines() if line]
        found[int(number)] = Drill(int(number), title, text, tuple(lines))
    return found
