"""Taking a text of IceProd's macro language apart: `$name( ... )` and `...[ ... ]`, nested.

The rules are IceProd's, with their corners: a `$` that opens nothing spoils the whole text unless
it is the first thing in it, `()` in a text of its own stays text, a backslash takes the meaning
from what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

SPECIAL = "$()[]"


class Kind(Enum):
    """What a part of a text is."""

    TEXT = auto()
    DOLLAR = auto()
    NAME = auto()
    OPEN = auto()
    CLOSE = auto()
    INDEX = auto()
    INDEX_END = auto()


Part = tuple[Kind, str]


class Broken(Exception):
    """A text does not fit the grammar, so IceProd leaves it as it is."""


def parts(text: str) -> list[Part]:
    """Return the parts of a text in their order. Raises Broken."""
    reading = _Reading()
    for character, run in _runs(text):
        match character:
            case "$":
                reading.dollar()
            case "(":
                reading.opened()
            case ")":
                reading.closed(Kind.CLOSE, Kind.OPEN, ")")
            case "[":
                reading.bracket()
            case "]":
                reading.closed(Kind.INDEX_END, Kind.INDEX, "]")
            case _:
                reading.words(run)
    return reading.end()


def gathered(stack: list[Part], until: Kind) -> str:
    """Take the text back to what opened it off the stack. Raises LookupError where nothing did."""
    text = ""
    while stack and stack[-1][0] is not until:
        kind, word = stack.pop()
        if kind is Kind.NAME and not word:
            raise Broken
        text = word + text
    stack.pop()
    return text


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Yield each special character by itself, and what lies between without its backslashes."""
    run: list[str] = []
    is_escaped = False
    for character in text:
        if is_escaped:
            run.append(character)
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character in SPECIAL:
            if run:
                yield "", "".join(run)
                run.clear()
            yield character, ""
        else:
            run.append(character)
    if run:
        yield "", "".join(run)


@dataclass(slots=True)
class _Reading:
    """Where the reading of a text stands.

    `pending` is text not yet given out, `plain` how many plain brackets are open in it, `outer`
    the same for each phrase that is still open around it.
    """

    made: list[Part] = field(default_factory=list)
    last: Kind | None = None
    pending: str = ""
    plain: int = 0
    outer: list[int] = field(default_factory=list)

    def dollar(self) -> None:
        if self.last is Kind.TEXT:
            self._give(Kind.TEXT, self.pending)
        if self.last is not None:
            self.outer.append(self.plain)
            self.plain, self.pending = 0, ""
        self._give(Kind.DOLLAR, "$")

    def opened(self) -> None:
        if self.last is Kind.DOLLAR:
            self._give(Kind.NAME, "")
        if self.last is Kind.NAME:
            self._give(Kind.OPEN, "(")
            self.pending = ""
        else:
            self._keep("(")
            self.plain += 1

    def bracket(self) -> None:
        if self.last is not Kind.TEXT:
            raise Broken
        if self.pending:
            self._keep("[")
            self.plain += 1
        else:
            self._give(Kind.INDEX, "[")

    def closed(self, end: Kind, begin: Kind, mark: str) -> None:
        if self.last is begin:  # nothing inside; what is open around stays as it is
            self._give(Kind.TEXT, "")
            self._give(end, mark)
        elif self.last is not Kind.TEXT:
            raise Broken
        elif self.plain:
            self._keep(mark)
            self.plain -= 1
            return
        else:
            self._give(Kind.TEXT, self.pending)
            self._give(end, mark)
            self.plain = self.outer.pop() if self.outer else 0
        self.last, self.pending = Kind.TEXT, ""

    def words(self, run: str) -> None:
        if self.last is Kind.DOLLAR:
            self._give(Kind.NAME, run)
        else:
            self._keep(run)

    def end(self) -> list[Part]:
        if self.pending:
            self._give(Kind.TEXT, self.pending)
        if self.plain or self.outer:
            raise Broken
        return self.made

    def _keep(self, text: str) -> None:
        self.pending = self.pending + text if self.last is Kind.TEXT else text
        self.last = Kind.TEXT

    def _give(self, kind: Kind, text: str) -> None:
        self.made.append((kind, text))
        self.last = kind
