"""ClassAds as HTCondor's programs print them: long, JSON, XML, and new ClassAds. Pure.

`condor_q -long`, `-json`, `-xml`, `condor_history`, `condor_status`, files of ads. A value that is
a literal becomes a plain value; an expression stays as it is written, an `Expression`, for only
HTCondor can evaluate it; `undefined` and `error` are left out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from site_adapters.errors import OutputRefused

Ad = dict[str, object]
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)")
_NUMBER = re.compile(r"[+-]?(?:\d+|(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_ENTITY = re.compile(r"<!ENTITY", re.IGNORECASE)


class Expression(str):
    """What only HTCondor can evaluate, as it is written."""

    __slots__ = ()


def parse(raw: bytes) -> list[Ad]:
    """Return the ads of an output, whatever its form. Raises OutputRefused."""
    text = raw.decode(errors="replace").lstrip("\ufeff").strip()
    try:
        if text.startswith("<"):
            return from_xml(text)
        if text.startswith(("[", "{")) and (found := _from_json(text)) is not None:
            return found
        return list(from_new(text) if text.startswith("[") else from_long(text))
    except RecursionError:
        raise _refused(text, "lists that are not so deep") from None


def from_long(text: str) -> Iterator[Ad]:
    """Yield ads of a line for each attribute; an empty line, or `***`, ends one."""
    ad: Ad = {}
    for line in text.splitlines():
        bare = line.strip()
        if not bare or bare.startswith("***"):
            if ad:
                yield ad
            ad = {}
        elif not bare.startswith(("#", "--")):
            matched = _ASSIGNED.fullmatch(bare)
            if matched is None:
                raise _refused(bare, "a line `Name = value`")
            _add(ad, matched[1], matched[2])
    if ad:
        yield ad


def _from_json(text: str) -> list[Ad] | None:
    """Read JSON, or the lists of dictionaries that Python prints; None where it is neither."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = _of_python(ast.parse(text, mode="eval").body)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in rows):
        raise _refused(text, "ads")
    plain = [{str(name): _of_json(value) for name, value in one.items()} for one in rows]
    return [{name: value for name, value in one.items() if value is not None} for one in plain]


def _of_python(node: ast.expr) -> object:
    """Return the value of what Python prints; the bindings' own values stand for nothing."""
    match node:
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {str(_of_python(key)): _of_python(value) for key, value in pairs if key}
        case ast.List(elts=values) | ast.Tuple(elts=values):
            return [_of_python(value) for value in values]
        case ast.Attribute():  # classad.Value.Error, classad2.Value.Undefined
            return None
        case ast.Call(args=[ast.Constant(value=str(text))]):  # classad.ExprTree("...")
            return Expression(text)
        case _:
            value: object = ast.literal_eval(node)
            return value


def _of_json(value: object) -> object:
    if isinstance(value, str) and value.startswith("/Expr(") and value.endswith(")/"):
        return Expression(value[6:-2])
    return value


def from_xml(text: str) -> list[Ad]:
    """Read `<c>` elements of `<a n="Name">` with `<i> <r> <s> <b v="t"/> <e> <l>` in them."""
    if _ENTITY.search(text):
        raise _refused("an entity", "ClassAds in XML")
    try:
        top = ElementTree.fromstring(text)  # noqa: S314  it defines no entities
    except ElementTree.ParseError as error:
        raise _refused(str(error), "ClassAds in XML") from error
    found: list[Ad] = []
    for one in [top] if top.tag == "c" else top.findall("c"):
        ad: Ad = {}
        for attribute in one.findall("a"):
            value = _of_xml(attribute[0]) if len(attribute) else None
            if value is not None:
                ad[attribute.get("n", "")] = value
        found.append(ad)
    return found


def _of_xml(element: ElementTree.Element) -> object:
    text = element.text or ""
    if element.tag == "b":
        return element.get("v", text).lower().startswith("t")
    if element.tag in ("i", "n", "r"):
        value = literal(text.strip())
        return value if isinstance(value, (int, float)) else None
    if element.tag == "e":
        return literal(text.strip())
    if element.tag == "l":
        return [_of_xml(one) for one in element]
    return text if element.tag in ("s", "t") else None


def from_new(text: str) -> Iterator[Ad]:
    """Yield ads as `[ Name = value; Name = value ]`, with comments."""
    for body in _between(_bare(text), "[", "]"):
        ad: Ad = {}
        for part in _split(body, ";"):
            matched = re.fullmatch(_ASSIGNED.pattern, part.strip(), re.DOTALL)
            if matched is None:
                if part.strip():
                    raise _refused(part.strip(), "`Name = value;`")
                continue
            _add(ad, matched[1], matched[2])
        yield ad


def literal(text: str) -> object:
    """Return the value of a literal, None for undefined and error, else an Expression."""
    text = text.strip()
    low = text.lower()
    if low in ("undefined", "error"):
        return None
    if low in ("true", "false"):
        return low == "true"
    if _NUMBER.fullmatch(text):
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    if _STRING.fullmatch(text):
        return re.sub(r"\\(.)", lambda one: _ESCAPED.get(one[1], one[1]), text[1:-1])
    if text.startswith("{") and text.endswith("}"):
        return [literal(part) for part in _split(text[1:-1], ",") if part.strip()]
    return Expression(" ".join(text.split()))


def _add(ad: Ad, name: str, text: str) -> None:
    value = literal(text)
    if value is not None:
        ad[name] = value
    else:
        ad.pop(name, None)


def _bare(text: str) -> str:
    """Return a text without comments; what stands in quotes is no comment."""
    pattern = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|//[^\n]*', re.DOTALL)
    return pattern.sub(lambda one: one[0] if one[0].startswith('"') else " ", text)


def _between(text: str, opens: str, closes: str) -> Iterator[str]:
    """Yield what stands between the outermost brackets."""
    depth = begin = 0
    for at, sign in _signs(text):
        if sign == opens:
            depth += 1
            begin = at + 1 if depth == 1 else begin
        elif sign == closes:
            depth -= 1
            if depth == 0:
                yield text[begin:at]
            if depth < 0:
                break
    if depth:
        raise _refused(text[-60:], f"as many {opens} as {closes}")


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the parts of a text that stand between separators outside of any bracket."""
    depth = begin = 0
    for at, sign in _signs(text):
        if sign in "[{(":
            depth += 1
        elif sign in ")}]":
            depth -= 1
        elif sign == separator and depth == 0:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _signs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the characters outside of quotes, with their places."""
    quoted = escaped = False
    for at, sign in enumerate(text):
        if quoted:
            quoted = escaped or sign != '"'
            escaped = sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        else:
            yield at, sign


def _refused(found: str, expected: str) -> OutputRefused:
    return OutputRefused(program="HTCondor", found=repr(found[:60]), expected=expected)
