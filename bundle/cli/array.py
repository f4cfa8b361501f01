"""JSON on stdout as a whole or not at all; arrays with a value a line."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

from bundle.limits import MIB

HELD_BYTES_MAX = 8 * MIB  # beyond, text waits in a temporary file


def array(values: Iterable[Any]) -> Iterator[str]:
    """Yield the pieces of an array of values, which may be many."""
    before = "["
    for value in values:
        yield f"{before}{json.dumps(value)}"
        before = ",\n"
    yield "[]\n" if before == "[" else "]\n"


def write_whole(texts: Iterable[str]) -> None:
    """Write ASCII text once all of it is there. Raises what taking it raises, writing nothing."""
    with SpooledTemporaryFile(HELD_BYTES_MAX, "w+", encoding="ascii") as held:
        held.writelines(texts)
        held.seek(0)
        shutil.copyfileobj(held, sys.stdout)
