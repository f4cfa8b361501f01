"""Changing single values of a document: `parameters.energy=5`, `steps.make.request.cpu=2`."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from bundle.dataset.refusals import meant
from central.document.text_file import DocumentRefused


def changed(values: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Return a document's values with some of them replaced. Raises DocumentRefused.

    Args:
        values: as `render` gives them.
        changes: `KEY=VALUE` each; keys of tables are joined by dots, an entry of a list is named by
            its number, a step by its name too. A value is JSON, or else text as it stands.
    """
    made = deepcopy(values)
    for one in changes:
        path, equals, text = one.partition("=")
        if not equals or not path:
            _refuse(one, "it is no KEY=VALUE", "write for example jobs=10")
        *above, last = path.split(".")
        into: Any = made
        for place, name in enumerate(above):
            into = _inside(into, name, ".".join(above[: place + 1]))
        _put(into, last, path, _value(text))
    return made


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _inside(into: Any, name: str, path: str) -> Any:
    if isinstance(into, dict):
        return into.setdefault(name, {})
    if isinstance(into, list):
        return into[_entry(into, name, path)]
    return _refuse(path, "it is inside what is no table", "name a key that the document has")


def _put(into: Any, name: str, path: str, value: Any) -> None:
    if isinstance(into, dict):
        into[name] = value
    elif isinstance(into, list):
        into[_entry(into, name, path)] = value
    else:
        _refuse(path, "it is inside what is no table", "name a key that the document has")


def _entry(into: list[Any], name: str, path: str) -> int:
    named = {one.get("name"): n for n, one in enumerate(into) if isinstance(one, dict)}
    if name in named:
        return named[name]
    if name.isascii() and name.isdecimal() and int(name) < len(into):
        return int(name)
    hint = meant(name, map(str, named), f"it has {len(into)} entries, counted from 0")
    return int(_refuse(path, f"there is no entry {name}", hint))


def _refuse(path: str, reason: str, hint: str) -> Any:
    raise DocumentRefused(where=f"--set {path}", reason=reason, hint=hint)
