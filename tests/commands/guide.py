"""The user guide, read as a newcomer reads it: documents to write, commands to type."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "user-guide.md"
_SECTION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(toml)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"# exit code (\d+)")


@dataclass(frozen=True, slots=True)
class Typed:
    """A line to type, and the exit code that the guide says."""

    line: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """One task of the guide: files by name, and what to type."""

    title: str
    files: dict[str, str]
    lines: tuple[Typed, ...]


def sections() -> list[Section]:
    """Return the guide's sections, in order."""
    found = []
    for title, text in _SECTION.findall(PAGE.read_text()):
        files, lines = {}, []
        for kind, block in _BLOCK.findall(text):
            if kind:
                name, _, content = block.removeprefix("# ").partition("\n")
                files[name] = content
                continue
            for line in block.splitlines():
                told = _CODE.search(line)
                lines.append(Typed(line, int(told[1]) if told else 0))
        found.append(Section(title, files, tuple(lines)))
    return found
