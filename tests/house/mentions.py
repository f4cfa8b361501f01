"""Where code and pages name commands: found, and compared with the commands that there are."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bundle.cli.main import COMMANDS
from tests.house.reference import PACKAGES, REPOSITORY, Command, commands

TREE = {one.name: one for one in commands()}
TICKED = re.compile(r"`([^`]+)`")
PLAIN = re.compile(rf"\bpulk ({'|'.join(COMMANDS)})\b(?: ([a-z-]+)\b)?")
TYPED = re.compile(r"^\s*(?:(?:[*/0-9]+ +){5})?(?:\.venv/bin/)?(pulk .*)$")
OPEN = ("...", "\N{HORIZONTAL ELLIPSIS}")  # what follows is left to the reader
COMMON = frozenset({"--help", "--version"})


class Mention(NamedTuple):
    """A command that a text names; `is_typed`: as it stands, so all arguments must be there."""

    place: str
    text: str
    is_typed: bool = False


def pages() -> list[Path]:
    """Return every page of the repository."""
    kept = ("*.md", "docs/**/*.md", "examples/**/*.md")
    return sorted({path for pattern in kept for path in REPOSITORY.glob(pattern)})


def in_code() -> Iterator[Mention]:
    """Yield the commands that texts in the programs name, docstrings included."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for line, text in _texts(ast.parse(path.read_text())):
                where = f"{path.relative_to(REPOSITORY)}:{line}"
                yield from _ticked(where, text)
                for found in PLAIN.finditer(TICKED.sub("", text)):
                    if any(name.startswith(f"pulk {found[1]} ") for name in TREE):
                        yield Mention(where, found[0])


def in_pages() -> Iterator[Mention]:
    """Yield the commands that the pages name, in sentences and in what is to be typed."""
    for path in pages():
        where, prose, is_fenced = str(path.relative_to(REPOSITORY)), [], False
        for line in path.read_text().replace("\\\n", " ").splitlines():
            if line.startswith("```"):
                is_fenced = not is_fenced
            elif is_fenced or line.startswith("    "):
                if typed := TYPED.match(line):
                    yield Mention(where, re.split(r" [|>#]", typed[1])[0], is_typed=True)
            else:
                prose.append(line)
        yield from _ticked(where, "\n".join(prose))


def wrong(mention: Mention) -> str:
    """Return what is wrong with a mention, or nothing."""
    words = [one.strip("[]") for one in shlex.split(mention.text)]
    command, rest = _command(words)
    if command is None:
        is_group = not mention.is_typed and any(f"{' '.join(words)} " in name for name in TREE)
        is_left_open = bool(rest) and rest[0] in (*OPEN, *COMMON, "COMMAND")
        return "" if is_group or is_left_open else "there is no such command"
    return _misfit(command, rest, mention)


def _misfit(command: Command, rest: list[str], mention: Mention) -> str:
    accepts, given, waits = command.accepts, 0, False
    for word in rest:
        option = word.partition("=")[0]
        if waits:
            waits = False
        elif word.startswith("--"):
            if option not in accepts.flags | accepts.valued | COMMON:
                return f"it has no option {option}"
            waits = option in accepts.valued and "=" not in word
        elif word not in OPEN:
            given += 1
    if accepts.most is not None and given > accepts.most:
        return f"it takes {accepts.most} arguments at most"
    is_open = any(one in rest for one in OPEN)
    if given < accepts.least and not is_open and (given or mention.is_typed):
        return f"it takes {accepts.least} arguments"
    return ""


def _command(words: list[str]) -> tuple[Command | None, list[str]]:
    """Return the command that words begin with, and what follows its name."""
    name, rest = words[0], list(words[1:])
    while rest:
        word = rest.pop(0)
        if word == "--config":  # of a group, before the command
            rest = rest[1:]
            continue
        name = f"{name} {word}"
        if name in TREE:
            return TREE[name], rest
        if not any(known.startswith(f"{name} ") for known in TREE):
            return None, [word, *rest]
    return None, []


def _ticked(where: str, text: str) -> Iterator[Mention]:
    for found in TICKED.findall(text):
        said = " ".join(found.split()).removeprefix(".venv/bin/")
        if not said.startswith("pulk "):
            continue
        first, *others = said.split(" | ")
        yield Mention(where, first)
        if _command(shlex.split(first))[1] == []:  # several commands of one group
            for one in others:
                yield Mention(where, f"{first.rpartition(' ')[0]} {one}")


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every text in a program with its line; what is filled in later stands as X."""
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(one) for one in node.values)
            parts = [one.value if isinstance(one, ast.Constant) else "X" for one in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in inside and _is_text(node):
            yield node.lineno, str(node.value)


def _is_text(node: ast.Constant) -> bool:
    return isinstance(node.value, str)
