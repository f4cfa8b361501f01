"""The root of every declared error.

A subclass states in its docstring what went wrong and what to do; `code` is stable (logs, exit
text, HTTP body), `what` is a template over the fields, `remedy` tells the reader the next step.
"""

from __future__ import annotations

from typing import Any, ClassVar

FIELD_CHARS_MAX = 1000  # of one fact in a text; some come from outside


class PulkError(Exception):
    """Something was refused or failed; see `code`, `fields`, `remedy`."""

    code: ClassVar[str] = "failed"
    transient: ClassVar[bool] = False
    what: ClassVar[str] = "the operation failed"
    remedy: ClassVar[str] = ""

    def __init__(self, *, where: str = "", **fields: Any) -> None:
        """Make the error.

        Args:
            where: file, path inside a document, or address that the error is about.
            fields: the facts that `what` and `remedy` name in braces.
        """
        self.where = where
        self.fields = fields
        super().__init__(self.text())

    def text(self) -> str:
        """Return `code: where: what; remedy` as one line for a person."""
        facts = {name: _shown(value) for name, value in self.fields.items()}
        parts = [self.code]
        if self.where:
            parts.append(_shown(self.where))
        parts.append(self.what.format(**facts))
        line = ": ".join(parts)
        remedy = self.remedy.format(**facts)
        return f"{line}; {remedy}" if remedy else line

    def diagnostics(self) -> dict[str, Any]:
        """Return the error as plain values: code, where, what, remedy, transient, fields."""
        facts = {name: _shown(value) for name, value in self.fields.items()}
        return {
            "code": self.code,
            "where": self.where,
            "what": self.what.format(**facts),
            "remedy": self.remedy.format(**facts),
            "transient": self.transient,
            "fields": {name: _plain(value) for name, value in self.fields.items()},
        }


def _shown(value: Any) -> Any:
    """Return text so that it fits a line and no terminal obeys it; other values as they are."""
    if not isinstance(value, str):
        return value
    if len(value) > FIELD_CHARS_MAX:
        value = f"{value[:FIELD_CHARS_MAX]}..."
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value[:FIELD_CHARS_MAX]
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value)
