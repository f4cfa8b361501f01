"""What was read of stored bytes, kept as long as there is room: one value for the same bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by the bytes that they are stored as; those asked for last stay."""

    def __init__(self, read: Callable[[bytes], Value], bytes_max: int) -> None:
        """Keep nothing yet. `read`: makes a value of its bytes; `bytes_max`: of bytes in all."""
        self._read, self._bytes_max = read, bytes_max
        self._kept: OrderedDict[bytes, Value] = OrderedDict()
        self._bytes = 0

    def of(self, raw: bytes) -> Value:
        """Return the value of some bytes."""
        if raw in self._kept:
            self._kept.move_to_end(raw)
            return self._kept[raw]
        value = self._read(raw)
        self.keep(raw, value)
        return value

    def keep(self, raw: bytes, value: Value) -> None:
        """Keep a value that is at hand."""
        if raw in self._kept:
            return
        self._kept[raw] = value
        self._bytes += len(raw)
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            gone, _ = self._kept.popitem(last=False)
            self._bytes -= len(gone)
