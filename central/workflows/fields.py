"""Typed reading of a WfFormat file: every refusal names the file and the path inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from central.workflows.refusals import WorkflowRefused

NUMBER_MAX = 1e15
REMEDY = "correct the file, or record the workflow again"


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of the file and the path that leads to it; null counts as absent."""

    value: dict[str, Any]
    file: str
    path: str

    def has(self, key: str) -> bool:
        """Return whether the key is there."""
        return self.value.get(key) is not None

    def object(self, key: str) -> Fields:
        """Return the object at a key."""
        return self._inner(self._required(key), self._at(key))

    def objects(self, key: str, *, required: bool = True) -> Iterator[Fields]:
        """Yield the objects of an array."""
        for place, one in enumerate(self._array(key, required)):
            yield self._inner(one, f"{self._at(key)}[{place}]")

    def text(self, key: str) -> str:
        """Return text that is not empty."""
        value = self._required(key)
        if not isinstance(value, str) or not value:
            raise self.refused(key, f"expected text, found {_kind(value)}")
        return value

    def texts(self, key: str) -> list[str]:
        """Return an array of text, empty where the key is absent."""
        found = self._array(key, required=False)
        for place, one in enumerate(found):
            if not isinstance(one, str) or not one:
                reason = f"expected text, found {_kind(one)}"
                raise self.refused(f"{key}[{place}]", reason)
        return found

    def number(self, *keys: str) -> float | None:
        """Return the number >= 0 at the first key that is there, or None."""
        for key in keys:
            value = self.value.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self.refused(key, f"expected a number, found {_kind(value)}")
            if value < 0:
                raise self.refused(key, f"{value:g} is negative")
            if value > NUMBER_MAX or not math.isfinite(value):
                raise self.refused(key, "the number is too large")
            return float(value)
        return None

    def refused(self, key: str, reason: str, hint: str = REMEDY) -> WorkflowRefused:
        """Make the refusal of what stands at a key."""
        return WorkflowRefused(where=self.where(key), reason=reason, hint=hint)

    def where(self, key: str) -> str:
        """Return file and path of a key."""
        return f"{self.file}: {self._at(key)}"

    def _array(self, key: str, required: bool) -> list[Any]:
        value = self._required(key) if required else self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.refused(key, f"expected an array, found {_kind(value)}")
        return value

    def _required(self, key: str) -> Any:
        value = self.value.get(key)
        if value is None:
            raise self.refused(key, "this key is missing")
        return value

    def _inner(self, value: Any, path: str) -> Fields:
        if not isinstance(value, dict):
            where = f"{self.file}: {path}"
            reason = f"expected an object, found {_kind(value)}"
            raise WorkflowRefused(where=where, reason=reason, hint=REMEDY)
        return Fields(value, self.file, path)

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def _kind(value: Any) -> str:
    words = {dict: "an object", list: "an array", str: "text", bool: "true or false"}
    return words.get(type(value), "a number") if value != "" else "empty text"
