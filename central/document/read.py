"""From text (TOML or JSON) to a checked `Dataset`; every refusal names file, path and remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bundle.dataset import graph, spec
from bundle.dataset.refusals import BeyondLimit, DatasetRefused
from bundle.limits import DOCUMENT_BYTES_MAX
from central.document import build, text_file
from central.document.form import DatasetForm
from central.document.text_file import DocumentRefused

OTHERS_SHOWN_MAX = 20


def load(path: Path) -> spec.Dataset:
    """Read a document's file, TOML or JSON, with the files it names beside it.

    Raises DatasetRefused: `where` is the file and the path inside the document.
    """
    return parse_text(text_file.read_text(path), path.parent, str(path))


def parse_text(text: str, base: Path | None, where: str) -> spec.Dataset:
    """Read a document's text; it is JSON where it starts with `{`, else TOML. See `parse`."""
    is_json = text.lstrip()[:1] == "{"
    try:
        value = text_file.json_values(text) if is_json else tomllib.loads(text)
    except RecursionError:
        raise DocumentRefused(where=where, reason="nested too deep", hint="flatten it") from None
    except ValueError as error:
        kind = "JSON" if is_json else "TOML"
        hint = f"correct the {kind}; an incomplete file must be made again"
        raise DocumentRefused(where=where, reason=f"not {kind}: {error}", hint=hint) from None
    return parse(value, base, where)


def parse(value: Any, base: Path | None, where: str) -> spec.Dataset:
    """Make a checked Dataset of a document's plain values. Raises DatasetRefused.

    Args:
        value: what TOML or JSON gave.
        base: folder below which `from = "path"` of `[files]` is read; None refuses such files.
        where: how errors name the document.
    """
    if not isinstance(value, dict):
        hint = "write a table with schema, name, jobs, steps"
        raise DocumentRefused(where=where, reason="it is not a table", hint=hint)
    try:
        form = DatasetForm.model_validate(value)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_input=False), where) from None
    try:
        dataset = build.dataset(form, base)
        graph.check(dataset)
        size = len(spec.encode(dataset))
        if size > DOCUMENT_BYTES_MAX:
            allowed = f"{DOCUMENT_BYTES_MAX} bytes"
            raise BeyondLimit(quantity="the document's size", found=size, allowed=allowed)
    except DatasetRefused as error:
        raise type(error)(where=f"{where}: {error.where}", **error.fields) from None
    return dataset


def _refusal(errors: list[ErrorDetails], where: str) -> DocumentRefused:
    """Make one error of what pydantic found: the first in full, the others as a list."""
    rows = [_row(one) for one in errors]
    path, reason, hint = rows[0]
    others = [f"{at}: {why}" for at, why, _ in rows[1:OTHERS_SHOWN_MAX]]
    if others:
        reason += f" (and {len(rows) - 1} more: {others[0]})"
    return DocumentRefused(
        where=f"{where}: {path}" if path else where, reason=reason, hint=hint, others=others
    )


def _row(error: ErrorDetails) -> tuple[str, str, str]:
    """Return path, reason and remedy of one of pydantic's errors."""
    location = list(error["loc"])
    context = error.get("ctx", {})
    hint = "correct it; see docs/dataset-document.md"
    match error["type"]:
        case "unknown_key":
            location.append(context["key"])
            return _path(location), "there is no such key", context["hint"]
        case "missing":
            return _path(location), "this key is missing", "add it"
        case "value_error":
            return _path(location), str(context["error"]), hint
        case _:
            reason = error["msg"]
            return _path(location), reason[:1].lower() + reason[1:], hint


def _path(location: Iterable[int | str]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." if text else ""
            text += part if part.replace("_", "").isalnum() else f'"{part}"'
    return text
