"""From text (YAML, TOML or JSON) to a checked `Dataset`.

Every refusal names file, line, path and remedy.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bundle.dataset import graph, spec
from bundle.dataset.refusals import BeyondLimit, DatasetRefused
from bundle.limits import DOCUMENT_BYTES_MAX
from central.document import build, text_file
from central.document.form import DatasetForm
from central.document.lines import Lines, json_lines, line_of, parts
from central.document.origin import Origin
from central.document.others import Find
from central.document.text_file import DocumentRefused
from central.document.toml_lines import toml_lines
from central.document.yaml_text import YamlRefused, yaml_values

OTHERS_SHOWN_MAX = 20

_SUFFIXES = {".json": "JSON", ".toml": "TOML", ".yaml": "YAML", ".yml": "YAML"}
_TOML_LINE = re.compile(r"""\s*(?:\[|(?:[\w.\s-]|"[^"]*"|'[^']*')+=)""")
_LINE_IN_REASON = re.compile(r"line (\d+)")


def load(path: Path, find: Find | None = None) -> spec.Dataset:
    """Read a document's file with the files it names beside it; `find` asks for other datasets.

    Raises DatasetRefused: `where` is the file, the line and the path inside the document.
    """
    return parse_text(text_file.read_text(path), path.parent, str(path), find)


def parse_text(text: str, base: Path | None, where: str, find: Find | None = None) -> spec.Dataset:
    """Read a document's text: JSON, TOML or YAML by the name's end, or by how it begins.

    See `parse`.
    """
    value, lines = values(text, where)
    return parse(value, base, where, lines, find)


def values(text: str, where: str) -> tuple[Any, Callable[[], Lines]]:
    """Return a text's plain values, and what finds the lines that they stand on.

    Raises DocumentRefused where it is not JSON, TOML or YAML.
    """
    kind = kind_of(text, where)
    try:
        match kind:
            case "JSON":
                return text_file.json_values(text), lambda: json_lines(text)
            case "TOML":
                return tomllib.loads(text), lambda: toml_lines(text)
            case _:
                value, lines = yaml_values(text)
                return value, lambda: lines
    except RecursionError:
        raise DocumentRefused(where=where, reason="nested too deep", hint="flatten it") from None
    except YamlRefused as error:
        at = _at(where, error.line)
        raise DocumentRefused(where=at, reason=f"YAML: {error}", hint="correct it") from None
    except ValueError as error:
        found = _LINE_IN_REASON.search(str(error))
        line, reason = int(found[1]) if found else 0, f"not {kind}: {error}"
    hint = f"correct the {kind}; an incomplete file must be made again"
    raise DocumentRefused(where=_at(where, line), reason=reason, hint=hint)


def kind_of(text: str, where: str) -> str:
    """Return JSON, TOML or YAML: what a text is written in."""
    said = _SUFFIXES.get(Path(where).suffix.lower())
    if text.lstrip()[:1] == "{" and said != "YAML":
        return "JSON"
    if said:
        return said
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            return "TOML" if _TOML_LINE.match(line) else "YAML"
    return "TOML"


def parse(
    value: Any,
    base: Path | None,
    where: str,
    lines: Callable[[], Lines] | None = None,
    find: Find | None = None,
) -> spec.Dataset:
    """Make a checked Dataset of a document's plain values. Raises DatasetRefused.

    Args:
        value: what YAML, TOML or JSON gave.
        base: folder below which `from = "path"` of `[files]` is read; None refuses such files.
        where: how errors name the document.
        lines: finds the lines that its keys stand on; None where it has none.
        find: asks for other datasets; None where nobody can be asked.
    """
    place = _Place(where, lines)
    if not isinstance(value, dict):
        hint = "write a table with schema, name, jobs, steps"
        raise DocumentRefused(where=where, reason="it is not a table", hint=hint)
    try:
        form = DatasetForm.model_validate(value)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_input=False), place) from None
    try:
        dataset, origin = build.dataset(form, base, find)
    except DatasetRefused as error:
        raise place.told(error, error.where) from None
    try:
        check(dataset, origin)
    except DatasetRefused as error:
        raise place.told(error, origin.path(error.where)) from None
    return dataset


def check(dataset: spec.Dataset, origin: Origin) -> None:
    """Refuse a dataset that cannot run as written, or that is too large to be carried."""
    graph.check(dataset)
    origin.check(dataset)
    size = len(spec.encode(dataset))
    if size > DOCUMENT_BYTES_MAX:
        allowed = f"{DOCUMENT_BYTES_MAX} bytes"
        raise BeyondLimit(quantity="the document's size", found=size, allowed=allowed)


class _Place:
    """How places of one document are told: its name, the line, the path inside."""

    def __init__(self, where: str, lines: Callable[[], Lines] | None) -> None:
        self._where, self._find = where, lines

    def told(self, error: DatasetRefused, path: str) -> DatasetRefused:
        return type(error)(where=self.of(path), **error.fields)

    def of(self, path: str) -> str:
        try:
            line = line_of(parts(path), self._find()) if self._find else 0
        except RecursionError:  # it is nested about as deep as its reader allowed
            line = 0
        at = _at(self._where, line)
        return f"{at}: {path}" if path else at


def _at(where: str, line: int) -> str:
    return f"{where}:{line}" if line else where


def _refusal(errors: list[ErrorDetails], place: _Place) -> DocumentRefused:
    """Make one error of what pydantic found: the first in full, the others as a list."""
    rows = [_row(one) for one in errors]
    path, reason, hint = rows[0]
    others = [f"{place.of(at)}: {why}" for at, why, _ in rows[1:OTHERS_SHOWN_MAX]]
    if others:
        reason += f" (and {len(rows) - 1} more: {others[0]})"
    return DocumentRefused(where=place.of(path), reason=reason, hint=hint, others=others)


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
