"""Reading the tables of a config: every refusal and remark names its path."""

from __future__ import annotations

import json
from typing import Any

from bundle.dataset.refusals import meant
from central.iceprod.model import Remark, Weight
from central.iceprod.refusals import IceprodRefused

VALUE_CHARS_MAX = 2000


class Fields:
    """One object of the config; what is never asked for is remarked by `close`."""

    def __init__(self, value: Any, path: str, remarks: list[Remark]) -> None:
        """Take a JSON object. Raises IceprodRefused."""
        if not isinstance(value, dict):
            raise refused(path, f"an object is wanted here, not {_kind(value)}")
        self.path, self._value, self._remarks = path, value, remarks
        self._asked: set[str] = set()

    def at(self, key: str) -> str:
        """Return the path of a key."""
        shown = key if key.replace("_", "").isalnum() else f'"{key}"'
        return f"{self.path}.{shown}" if self.path else shown

    def get(self, key: str) -> Any:
        """Return a value as it is; None where there is none."""
        self._asked.add(key)
        return self._value.get(key)

    def text(self, key: str) -> str:
        """Return a text; empty where there is none or null."""
        value = self.get(key)
        if value is None:
            return ""
        if isinstance(value, (dict, list, bool)):
            raise refused(self.at(key), f"a text is wanted here, not {_kind(value)}")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise refused(self.at(key), f"true or false is wanted here, not {_kind(value)}")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """Return an object; empty where there is none or null."""
        value = self.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise refused(self.at(key), f"an object is wanted here, not {_kind(value)}")
        return value

    def rows(self, key: str, least: int = 0) -> list[tuple[str, Any]]:
        """Return the entries of a list with their paths."""
        value = self.get(key)
        found = [] if value is None else value
        if not isinstance(found, list):
            raise refused(self.at(key), f"a list is wanted here, not {_kind(found)}")
        if len(found) < least:
            raise refused(self.at(key), "this list is empty or missing")
        return [(f"{self.at(key)}[{place}]", one) for place, one in enumerate(found)]

    def lost(self, key: str, words: str) -> None:
        """Remark a key that Pulk has no place for, unless it says nothing."""
        value = self.get(key)
        if value not in (None, "", [], {}, False):
            self.remark(self.at(key), f"{words} (here {as_written(value)})")

    def remark(self, path: str, words: str, weight: Weight = Weight.LOST) -> None:
        """Remark something about a place."""
        self._remarks.append(Remark(path, weight, words))

    def close(self) -> None:
        """Remark every key that nobody asked for."""
        for key in self._value:
            if key not in self._asked:
                hint = meant(key, self._asked, "IceProd's schema does not know it")
                here = as_written(self._value[key])
                self.remark(self.at(key), f"this key is unknown: {hint} (here {here})")

    def told(self, key: str, words: str) -> None:
        """Remark a key that is not needed, or done in another way; not where there is none."""
        value = self.get(key)
        if value not in (None, "", [], {}):
            self.remark(self.at(key), f"{words} (here {as_written(value)})", Weight.CHANGED)


def as_written(value: Any) -> str:
    """Return a value as JSON, of which the beginning where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > VALUE_CHARS_MAX:
        return f"{text[:VALUE_CHARS_MAX]}... of {len(text)} characters"
    return text


def refused(path: str, reason: str, hint: str = "correct the config") -> IceprodRefused:
    """Return the refusal of a place."""
    return IceprodRefused(where=path or "the config", reason=reason, hint=hint)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
