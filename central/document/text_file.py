"""Reading of files that people hand in: bounded, UTF-8, and JSON without surprises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bundle.dataset.refusals import BeyondLimit, DatasetRefused

FILE_BYTES_MAX = 256 << 20


class DocumentRefused(DatasetRefused):
    """A dataset document cannot be read or has a wrong key or type. Correct it at the path."""

    code = "document-refused"
    what = "{reason}"
    remedy = "{hint}"


def read_text(path: Path) -> str:
    """Return the text of a regular file of at most FILE_BYTES_MAX. Raises DatasetRefused."""
    where = str(path)
    try:
        if not path.is_file():
            reason = "this is no file" if path.exists() else "there is no such file"
            raise DocumentRefused(where=where, reason=reason, hint="check the path")
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            allowed = f"at most {FILE_BYTES_MAX}"
            raise BeyondLimit(where=where, quantity="bytes", found=size, allowed=allowed)
        return decoded(path.read_bytes(), where)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DocumentRefused(where=where, reason=reason, hint="check the path") from None


def decoded(content: bytes, where: str) -> str:
    """Return the text of UTF-8 bytes, with a mark at the beginning or without."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text: {error.reason} at byte {error.start}"
        raise DocumentRefused(where=where, reason=reason, hint="save it as UTF-8") from None


def json_values(text: str) -> Any:
    """Return the values of JSON text; a repeated key, NaN or Infinity is a ValueError too."""
    return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} stands twice in one object")
            seen.add(key)
    return made


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number of JSON")
