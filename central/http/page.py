"""The page that shows an OpenAPI document to people: no script, no font, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """body{font:16px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
code,summary{font-family:ui-monospace,monospace;font-size:.95em}
details{border:1px solid #8884;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer}summary b{display:inline-block;width:4.5rem}summary span{opacity:.7}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;
vertical-align:top;border-top:1px solid #8883}h2{margin-top:2rem}
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}"""


def as_html(document: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the page, and the Content-Security-Policy that goes with it."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    return "".join(_page(document)).encode(), policy


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(info['title'])}: the REST API</title><style>{STYLE}</style>"
    yield f"<h1>{escape(info['title'])}: REST API, version {escape(info['version'])}</h1>"
    yield "".join(f"<p>{escape(part)}</p>" for part in info["description"].split("\n\n"))
    yield '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            tags.setdefault(one["tags"][0], []).append("".join(_operation(path, method, one)))
    for tag, found in tags.items():
        yield f'<h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(found)}'
    yield "<h2>Shapes</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _operation(path: str, method: str, one: Mapping[str, Any]) -> Iterator[str]:
    head = f"<b>{method.upper()}</b> {escape(path)} <span>{escape(one['summary'])}</span>"
    yield f'<details id="{escape(one["operationId"])}"><summary>{head}</summary>'
    yield "".join(f"<p>{escape(part)}</p>" for part in one["description"].split("\n\n")[1:])
    rows = [
        (each["name"], each["in"], _kind(each["schema"]), "needed" if each["required"] else "")
        for each in one["parameters"]
    ]
    if rows:
        yield _table(("parameter", "in", "form", ""), rows)
    for what, content in (
        ("Body", one.get("requestBody", {}).get("content", {})),
        ("Answer", one["responses"]["200"]["content"]),
    ):
        for kind, each in content.items():
            form = _kind(each["schema"])
            yield f"<p>{what}: <code>{escape(kind)}</code> {form}</p>"
    yield "</details>"


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<details id="shape-{escape(name)}"><summary>{escape(name)}</summary>'
    yield f"<p>{escape(schema.get('description', ''))}</p>"
    needed = schema.get("required", ())
    rows = [
        (member, _kind(one), "needed" if member in needed else "")
        for member, one in schema.get("properties", {}).items()
    ]
    yield _table(("member", "form", ""), rows) if rows else f"<p>{_kind(schema)}</p>"
    yield "</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{one}</th>" for one in head)
    lines = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    words = [escape(str(schema.get("type", "anything")))]
    if "pattern" in schema:
        words.append(f"<code>{escape(schema['pattern'])}</code>")
    words += [f"{key} {schema[key]}" for key in ("minimum", "maximum") if key in schema]
    if "description" in schema:
        words.append(escape(schema["description"]))
    return " ".join(words)
