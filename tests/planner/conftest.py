"""The same real central that the tests of central use."""

from __future__ import annotations

from tests.central.conftest import central

__all__ = ["central"]
