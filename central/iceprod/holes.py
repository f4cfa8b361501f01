"""Stand-ins for what depends on the job, so that a text is expanded once for all jobs.

IceProd expands texts, so a hole is a piece of text: where a number will stand, a long number
that nothing else has, and IceProd's own rules of types hold for it; where formatted digits or a
chosen text will stand, a character of private use. `said` puts Pulk's macros in their places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_NUMBER = re.compile(r"97077970(\d{4})79707797")
_CHARACTER = re.compile("[\ue000-\uf8ff]")
_EITHER = re.compile(f"{_NUMBER.pattern}|{_CHARACTER.pattern}")
_ESCAPED = re.compile(r"\\u([ef][0-9a-f]{3})")
FIRST = 0xE000
HOLES_MAX = 6000


class Unsayable(Exception):
    """What a config does with the job's number cannot be written in a document; says why."""


@dataclass(frozen=True, slots=True)
class Hole:
    """What will stand there: an expression of Pulk's macros, a format, or texts to choose of.

    `below`: it is 0 or more and less than that, where known; `least`: 0 where it is never negative.
    """

    expression: str
    shape: str = ""
    choices: tuple[str, ...] = ()
    is_number: bool = True
    is_whole: bool = True
    is_negative: bool = False
    below: int = 0
    is_varying: bool = True


class Holes:
    """All holes of one import; the same one always gets the same stand-in."""

    def __init__(self) -> None:
        self._made: list[Hole] = []
        self._place_of: dict[Hole, int] = {}

    def text(self, hole: Hole) -> str:
        """Return the stand-in of a hole. Raises Unsayable when there are too many."""
        place = self._place_of.setdefault(hole, len(self._made))
        if place == len(self._made):
            if place >= HOLES_MAX:
                raise Unsayable("too many things depend on the job")
            self._made.append(hole)
        return f"97077970{place:04d}79707797" if hole.is_number else chr(FIRST + place)

    def only(self, text: str) -> Hole | None:
        """Return the hole that a text consists of, if it is one."""
        match = _EITHER.fullmatch(text)
        return self._of(match) if match else None

    def of_number(self, number: object) -> Hole | None:
        """Return the hole that a number stands for, if it does. Raises Unsayable for a part."""
        text = str(number)
        found = self.only(text)
        if found is None and _EITHER.search(text):
            raise Unsayable("digits are put together from several numbers")
        return found

    def pieces(self, text: str) -> Iterator[str | Hole]:
        """Yield what lies between the holes of a text, and the holes."""
        at = 0
        for match in _EITHER.finditer(text):
            if (hole := self._of(match)) is not None:
                yield text[at : match.start()]
                yield hole
                at = match.end()
        yield text[at:]

    def samples(self, text: str, values: Iterable[str]) -> Iterator[str]:
        """Yield the text with each of some values in the place of all its holes."""
        pieces = list(self.pieces(text))
        for value in values:
            yield "".join(one if isinstance(one, str) else value for one in pieces)

    def said(self, text: str, choose: Callable[[Hole], str]) -> str:
        """Return the text as a document says it; `choose` names the parameters of choices."""
        made: list[str] = []
        for piece in self.pieces(text):
            if isinstance(piece, str):
                made.append(_dollars_kept(piece))
            elif piece.choices:
                made.append(choose(piece))
            elif re.fullmatch(r"[a-z]+", piece.expression) and not piece.shape:
                made.append(f"$({piece.expression})")
            else:
                shape = f":{piece.shape}" if piece.shape else ""
                made.append(f"$(={piece.expression}{shape})")
        return "".join(made)

    def _of(self, match: re.Match[str]) -> Hole | None:
        """What only looks like a stand-in is the config's own text."""
        place = int(match[1]) if match[1] else ord(match[0]) - FIRST
        return self._made[place] if place < len(self._made) else None


def is_in(text: str) -> bool:
    """Return whether a text has holes, or what looks like one."""
    return bool(_EITHER.search(text))


def unescaped(text: str) -> str:
    """Undo that JSON or repr wrote a private character as an escape."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def plain(text: str) -> str:
    """Return a text with one word in place of every hole: a name that all jobs can share."""
    return _EITHER.sub("N", text)


def _dollars_kept(text: str) -> str:
    """Double each dollar that would begin a macro, or that a macro could follow."""
    return re.sub(r"\$(?=[$(]|\Z)", "$$", text)
