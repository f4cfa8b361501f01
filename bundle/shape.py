"""Typed reading of decoded values: outside input gives a WrongShape that names the path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from bundle.errors import PulkError

_T = TypeVar("_T")


class WrongShape(PulkError):
    """A record lacks a field or holds another type than its format says. The sender must fix it."""

    code = "wrong-shape"
    what = "expected {expected}, found {found}"
    remedy = "have the sender make it again with a current version; nothing of it was used"


@dataclass(frozen=True, slots=True)
class Reader:
    """A decoded map or array and the path that leads to it; keys are names or positions."""

    value: Any
    where: str

    @classmethod
    def of(cls, value: Any, where: str) -> Reader:
        """Wrap a decoded map or array. Raises WrongShape for anything else."""
        if not isinstance(value, (dict, list)):
            raise WrongShape(where=where, expected="a map or an array", found=_name(value))
        return cls(value, where)

    def get(self, key: str | int) -> Any:
        """Return the value at a key. Raises WrongShape where there is none."""
        try:
            return self.value[key]
        except (KeyError, IndexError, TypeError):
            raise WrongShape(where=self._at(key), expected="a value", found="nothing") from None

    def has(self, key: str) -> bool:
        """Return whether a map holds the key with a value other than null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def fields(self) -> frozenset[str]:
        """Return the keys of a map. Raises WrongShape for an array."""
        if not isinstance(self.value, dict):
            raise WrongShape(where=self.where, expected="a map", found="an array")
        return frozenset(self.value)

    def text(self, key: str | int) -> str:
        """Return text."""
        return self._typed(key, str, "text")

    def count(self, key: str | int) -> int:
        """Return an integer >= 0."""
        number = self._typed(key, int, "an integer")
        if number < 0:
            raise WrongShape(where=self._at(key), expected="an integer >= 0", found=str(number))
        return number

    def integer(self, key: str | int) -> int:
        """Return an integer of any sign."""
        return self._typed(key, int, "an integer")

    def flag(self, key: str | int) -> bool:
        """Return a boolean."""
        value = self.get(key)
        if not isinstance(value, bool):
            raise WrongShape(where=self._at(key), expected="true or false", found=_name(value))
        return value

    def bytes(self, key: str | int, length: int | None = None) -> bytes:
        """Return bytes, of exactly `length` where it is given."""
        data = self._typed(key, bytes, "bytes")
        if length is not None and len(data) != length:
            found = f"{len(data)} bytes"
            raise WrongShape(where=self._at(key), expected=f"{length} bytes", found=found)
        return data

    def rows(self, key: str | int) -> list[Any]:
        """Return an array."""
        return self._typed(key, list, "an array")

    def counts(self, key: str | int) -> tuple[int, ...]:
        """Return an array of integers >= 0."""
        numbers = self.integers(key)
        if numbers and min(numbers) < 0:
            inner = Reader(numbers, self._at(key))
            for place in range(len(numbers)):
                inner.count(place)
        return numbers

    def integers(self, key: str | int) -> tuple[int, ...]:
        """Return an array of integers of any sign."""
        numbers = self.rows(key)
        if set(map(type, numbers)) - {int}:
            inner = Reader(numbers, self._at(key))
            return tuple(inner.integer(place) for place in range(len(numbers)))
        return tuple(numbers)

    def texts(self, key: str | int) -> tuple[str, ...]:
        """Return an array of text."""
        inner = Reader(self.rows(key), self._at(key))
        return tuple(inner.text(place) for place in range(len(inner.value)))

    def reader(self, key: str | int) -> Reader:
        """Return the map or array at a key."""
        return Reader.of(self.get(key), self._at(key))

    def readers(self, key: str | int) -> Iterator[Reader]:
        """Yield the maps or arrays inside an array."""
        for place, row in enumerate(self.rows(key)):
            yield Reader.of(row, f"{self._at(key)}[{place}]")

    def text_map(self, key: str | int) -> dict[str, str]:
        """Return a map from text to text."""
        inner = Reader(self._typed(key, dict, "a map"), self._at(key))
        return {name: inner.text(name) for name in inner.value}

    def _typed(self, key: str | int, kind: type[_T], expected: str) -> _T:
        value = self.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise WrongShape(where=self._at(key), expected=expected, found=_name(value))
        return value

    def _at(self, key: str | int) -> str:
        return f"{self.where}[{key}]" if isinstance(key, int) else f"{self.where}.{key}"


def _name(value: Any) -> str:
    return "null" if value is None else type(value).__name__
