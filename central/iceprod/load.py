"""Reading the file of an IceProd config; every error names it."""

from __future__ import annotations

from pathlib import Path

from central.document import text_file
from central.iceprod.fields import refused
from central.iceprod.holes import is_in, unescaped
from central.iceprod.model import Config
from central.iceprod.read import read
from central.iceprod.refusals import IceprodRefused


def load(path: Path) -> Config:
    """Return the config in a file. Raises IceprodRefused, DatasetRefused."""
    return _read(text_file.read_text(path), str(path))


def parse(content: bytes, where: str) -> Config:
    """Return the config in some bytes. Raises IceprodRefused, DatasetRefused."""
    return _read(text_file.decoded(content, where), where)


def _read(text: str, where: str) -> Config:
    try:
        return read(_values(text))
    except IceprodRefused as error:
        raise type(error)(where=f"{where}: {error.where}", **error.fields) from None


def _values(text: str) -> object:
    if is_in(unescaped(text.lower())):
        raise refused("", "it holds characters of private use, which the import needs itself")
    try:
        return text_file.json_values(text)
    except RecursionError:
        raise refused("", "it is nested too deep", "flatten it") from None
    except ValueError as error:
        raise refused("", f"not JSON: {error}", "correct the JSON") from None
