"""Expanding the macros of a config, by IceProd's rules, for one job or for all of them.

A text is expanded again and again until nothing changes; what is never resolved stays as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from central.iceprod import functions
from central.iceprod.functions import Unresolved
from central.iceprod.holes import Hole, Holes, Unsayable, is_in, unescaped
from central.iceprod.model import Config, Parameters
from central.iceprod.phrases import Broken, Kind, gathered, parts
from central.iceprod.refusals import EndlessMacro, UnclosedMacro
from central.iceprod.types import Doubtful, as_text, typed

DEPTH_MAX = 20
ROUNDS_MAX = 200
TEXT_CHARS_MAX = 1 << 20
FILLED_BY_SHELL = ("OS_ARCH", "SROOT", "I3_BUILD", "I3_SRC")
WORK_MAX = 2_000_000  # rounds of one import; a config of thousands of values takes some thousands

Draw = Callable[[str, int], "str | int"]


@dataclass(slots=True)
class Expander:
    """Expands values for one task; `options` change while its trays are gone through.

    `draw` gives the place that `$choice` takes among so many, or the expression of it. `noted` are
    the paths that macros asked for, each behind the parameter that asked (empty: a command did).
    """

    config: Config
    options: dict[str, Any]
    draw: Draw
    holes: Holes = field(default_factory=Holes)
    unsayable: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    asking: str = ""
    noted: set[tuple[str, str]] = field(default_factory=set)
    _work: int = 0

    def value(self, value: Any, parameters: Mapping[str, Any]) -> Any:
        """Return the value that a text stands for, expanded until nothing changes.

        Raises EndlessMacro.
        """
        if not isinstance(value, str):
            return value
        first = value
        try:
            for _ in range(ROUNDS_MAX):
                found = self._any(value, parameters, DEPTH_MAX)
                if found is value or (found == value and type(found) is type(value)):
                    return found
                value = found
        except RecursionError:
            raise self._endless(first, "for some jobs") from None
        raise self._endless(value, f"not after {ROUNDS_MAX} rounds")

    def shown(self, text: str) -> str:
        """Return a text for a person, as the config would say it."""
        return self.holes.said(text, lambda one: f"$(={one.expression}?...)").replace("$$", "$")

    def _endless(self, value: Any, reason: str) -> EndlessMacro:
        return EndlessMacro(text=self.shown(str(value)[:800])[:80], reason=reason)

    def object(self, value: Any, parameters: Mapping[str, Any]) -> Any:
        """Return a copy of lists and objects with every text in them expanded."""
        if isinstance(value, list):
            return [self.object(one, parameters) for one in value]
        if isinstance(value, dict):
            return {key: self.object(one, parameters) for key, one in value.items()}
        return self.value(value, parameters)

    def note(self, path: str) -> None:
        """Remember that what stands at a path of the config is used."""
        self.noted.add((self.asking, path))

    def _any(self, value: Any, parameters: Mapping[str, Any], depth: int) -> Any:
        if depth < 1:
            return value
        match value:
            case str() if value:
                return self._text(value, parameters, depth)
            case list():
                return [self._any(one, parameters, depth - 1) for one in value]
            case dict():
                return {
                    _key(self._any(key, parameters, depth - 1)): self._any(
                        one, parameters, depth - 1
                    )
                    for key, one in value.items()
                }
            case _:
                return value

    def _text(self, text: str, parameters: Mapping[str, Any], depth: int) -> Any:
        found: Any = text
        for _ in range(ROUNDS_MAX):
            self._work += 1
            if len(text) > TEXT_CHARS_MAX or self._work > WORK_MAX:
                raise self._endless(text, "it grows and grows")
            try:
                joined = self._once(text, parameters, depth)
            except (Broken, LookupError):
                found = self._typed(text)
                break
            found = self._typed(joined)
            if not isinstance(found, str) or found == text:
                break
            text = found
        else:
            raise self._endless(text, f"not after {ROUNDS_MAX} rounds")
        return self._any(found, parameters, depth - 1) if isinstance(found, list | dict) else found

    def _typed(self, text: str) -> Any:
        try:
            return typed(text, self.holes)
        except Doubtful as why:
            self.doubtful.append(f"{text}: {why}")
            return text
        except Unsayable as why:
            self.unsayable.append(str(why))
            return text

    def _once(self, text: str, parameters: Mapping[str, Any], depth: int) -> str:
        """Replace each phrase once, the inner ones first. Raises Broken, LookupError."""
        stack: list[tuple[Kind, str]] = []
        for kind, word in parts(text):
            if kind is Kind.CLOSE:
                inner = gathered(stack, Kind.OPEN)
                _, name = stack.pop()
                stack.pop()
                stack.append((Kind.TEXT, self._phrase(name, inner, parameters)))
            elif kind is Kind.INDEX_END:
                inner = gathered(stack, Kind.INDEX)
                stack.append((Kind.TEXT, self._indexed(stack, inner, parameters, depth)))
            else:
                stack.append((kind, word))
        if (Kind.NAME, "") in stack:
            raise UnclosedMacro(text=text[:80])
        return "".join(word for _, word in stack)

    def _phrase(self, name: str, inner: str, parameters: Mapping[str, Any]) -> str:
        try:
            if not name:
                return self._looked_up(inner, lambda one: self._bare(one, parameters), parameters)
            return self._function(name, inner, parameters)
        except Unresolved:
            return f"${name}({inner})"
        except Unsayable as why:
            self.unsayable.append(f"${name}({inner}): {why}")
            return f"${name}({inner})"

    def _function(self, name: str, inner: str, parameters: Mapping[str, Any]) -> str:
        match name:
            case "steering":
                return self._looked_up(inner, self._in("steering.parameters"), parameters)
            case "system":
                if self.config.system is None:
                    raise Broken  # IceProd stumbles here, and leaves the whole text as it is
                return self._looked_up(inner, self._in("steering.system"), parameters)
            case "args" | "options":
                return self._looked_up(inner, self._in("options"), parameters)
            case "environ" if inner in FILLED_BY_SHELL:
                return f"${inner}"
            case "metadata":
                return self._looked_up(inner, self._in("difplus"), parameters)
            case "eval":
                return functions.evaluated(inner, self.holes)
            case "sprintf":
                return functions.printed(inner, self.holes)
            case "choice":
                return self._choice(inner)
            case "sum" | "min" | "max" | "len":
                return functions.reduced(name, inner, self.holes)
            case _:
                raise Unresolved

    def _bare(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """`$(name)`: parameters of the scopes around, the config itself, options, steering."""
        places = parameters.places if isinstance(parameters, Parameters) else {}
        for path, place in (
            (places.get(name, ""), parameters),
            (name, self.config.top),
            (f"options.{name}", self.options),
            (f"steering.parameters.{name}", self.config.parameters),
        ):
            if name in place:
                self.note(path)
                if place[name] is not None:
                    return place[name]
                break
        raise Unresolved

    def _in(self, path: str) -> Callable[[str], Any]:
        place: Mapping[str, Any] = {
            "steering.parameters": self.config.parameters,
            "steering.system": self.config.system or {},
            "options": self.options,
            "difplus": self.config.metadata,
        }[path]

        def find(name: str) -> Any:
            if name not in place:
                raise Unresolved
            self.note(f"{path}.{name}")
            return place[name]

        return find

    def _looked_up(
        self, name: str, find: Callable[[str], Any], parameters: Mapping[str, Any]
    ) -> str:
        """Return what a name stands for; where the name depends on the job, a choice of them."""
        if not is_in(name):
            return as_text(find(name))
        expression, names = self._each(name)
        return self._chosen(expression, [find(one) for one in names], parameters)

    def _each(self, text: str) -> tuple[str, list[str]]:
        """Return the expression that a text depends on, and the text for each of its values."""
        pieces = list(self.holes.pieces(text))
        found = [one for one in pieces if isinstance(one, Hole)]
        words: tuple[str, ...] = ()
        if len(found) == 1 and not found[0].shape and found[0].below <= 256:
            words = found[0].choices or tuple(map(str, range(found[0].below)))
        if not words or any(map(is_in, words)):
            raise Unsayable("a name that depends on the job, other than by $eval(... % NUMBER)")
        return found[0].expression, [
            "".join(one if isinstance(one, str) else word for one in pieces) for word in words
        ]

    def _chosen(self, expression: str, values: list[Any], parameters: Mapping[str, Any]) -> str:
        """Return the stand-in of one of several values, each of them expanded.

        Where some are numbers and some are not it is a text; the comparison with single jobs tells
        whether that makes a difference.
        """
        texts = [as_text(self.value(one, parameters)) for one in values]
        kinds = {type(typed(one, self.holes)) for one in texts}
        return self.holes.text(Hole(expression, "", tuple(texts), is_number=kinds <= {int, float}))

    def _choice(self, inner: str) -> str:
        if not inner:
            raise Unresolved
        texts = inner.split(",")
        drawn = self.draw(inner, len(texts))
        if isinstance(drawn, int):
            return texts[drawn]
        return self._chosen(drawn, list(texts), {})

    def _indexed(
        self,
        stack: list[tuple[Kind, str]],
        inner: str,
        parameters: Mapping[str, Any],
        depth: int,
    ) -> str:
        """`...[inner]`: an entry of the list or object before it, else the text as it stands."""
        if inner.endswith("]"):
            again = self._any(inner, parameters, depth - 1)
            if isinstance(again, list | dict):
                raise Broken
            inner = str(again)
        with suppress(Unresolved):
            found = self._bare(inner, parameters)
            if isinstance(found, list | dict):
                raise Broken  # IceProd stumbles here, and leaves the whole text as it is
            inner = as_text(found)
        before = ""
        while stack and stack[-1][0] is Kind.TEXT and before[:1] not in ("[", "{"):
            before = stack.pop()[1] + before
        try:
            held = self._typed(before)
            if not is_in(inner):
                return unescaped(str(held[self._typed(inner)]))
            expression, places = self._each(inner)
            values = [held[self._typed(one)] for one in places]
            return self._chosen(expression, values, parameters)
        except (LookupError, TypeError):
            return f"{before}[{inner}]"
        except Unsayable as why:
            self.unsayable.append(str(why))
            return f"{before}[{inner}]"


def _key(value: Any) -> Any:
    """A key of an object: what is no text or number there stays a text."""
    return str(value) if isinstance(value, list | dict) else value
