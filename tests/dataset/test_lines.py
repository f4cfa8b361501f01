"""The line of every place of a document, in all three formats."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from central import document
from central.document.lines import Path, json_lines, line_of, parts
from central.document.toml_lines import toml_lines

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=9)
SCALARS = WORDS | st.integers(-99, 99) | st.booleans()
VALUES = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=3) | st.dictionaries(WORDS, of, max_size=3)
)
TABLES = st.dictionaries(WORDS, VALUES, max_size=4)


def marked(value: Any, numbers: list[int]) -> Any:
    """The same with every scalar replaced by a word that stands nowhere else."""
    if isinstance(value, dict):
        return {key: marked(one, numbers) for key, one in value.items()}
    if isinstance(value, list):
        return [marked(one, numbers) for one in value]
    numbers.append(len(numbers))
    return f"mark{numbers[-1]:05d}mark"


def leaves(value: Any, path: Path = ()) -> dict[Path, str]:
    if isinstance(value, str):
        return {path: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return {at: mark for key, one in pairs for at, mark in leaves(one, (*path, key)).items()}


def check(text: str, lines: Any, value: Any) -> None:
    for path, mark in leaves(value).items():
        assert line_of(path, lines) == text[: text.index(mark)].count("\n") + 1, path


@given(TABLES, st.sampled_from([None, 0, 1, 4]))
def test_in_json(table: dict[str, Any], indent: int | None) -> None:
    value = marked(table, [])
    text = json.dumps(value, indent=indent)
    check(text, json_lines(text), value)


@given(TABLES, st.booleans())
def test_in_yaml(table: dict[str, Any], flow: bool) -> None:
    value = marked({f"k{n}": one for n, one in enumerate(table.values())}, [])
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True, width=10**6)
    try:
        found, lines = document.values(text, "a.yaml")
    except document.DocumentRefused as refused:  # a key that readers of YAML disagree about
        assert "YAML" in refused.text()
        return
    if "? " in text:  # a key on a line of its own: that is the one that is told
        return
    assert (found or {}) == value
    check(text, lines(), value)


@st.composite
def tomls(draw: st.DrawFn) -> str:
    """TOML with tables, arrays of tables, all kinds of keys and values over several lines."""
    keys = st.sampled_from(["a", "b-c", '"d.e"', "'f g'", "h.i", '"\\u006a"', "k . l"])
    space = st.sampled_from([" ", "\n  ", ' # a ] comment "\n', "\n\n"])
    values = st.recursive(
        st.sampled_from(
            [
                "1",
                '"x, ]"',
                "'y \\'",
                '"""\nlong \\""" "\n"""',
                "'''\nraw\\''''",
                "1979-05-27",
                "1e3",
            ]
        ),
        lambda of: (
            st.lists(of, max_size=3).map(lambda some: f"[{', '.join(some)}]")
            | st.lists(of, min_size=1, max_size=2).map(
                lambda some: "{ " + ", ".join(f"z{n} = {one}" for n, one in enumerate(some)) + " }"
            )
        ),
        max_leaves=5,
    )
    made = []
    for number in range(draw(st.integers(0, 4))):
        head = draw(
            st.sampled_from(["", f"[t{number}]", "[[many]]", "[[many.more]]", f"[u{number}.v]"])
        )
        if head.startswith("[[many.more") and "[[many]]" not in made:
            head = "[[many]]"
        made += [head] if head else []
        for place, key in enumerate(draw(st.lists(keys, max_size=3))):
            text = draw(values)
            if draw(st.booleans()) and text.startswith("["):
                text = text.replace(", ", "," + draw(space)).replace("]", draw(space) + "]", 1)
            made.append(f"n{number}p{place}.{key} = {text}  # said")
    return "\n".join(made) + "\n"


@given(tomls())
def test_in_toml(text: str) -> None:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = toml_lines(text)
    rows = text.splitlines()
    for path in places(value):
        assert path in lines, path
        last = next((one for one in reversed(path) if isinstance(one, str)), "")
        if isinstance(path[-1], str) and last.isalnum() and last != "j":
            assert last in rows[lines[path] - 1], path


def places(value: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(value, dict):
        found += [at for key, one in value.items() for at in places(one, (*path, key))]
    elif isinstance(value, list):
        found += [at for n, one in enumerate(value) for at in places(one, (*path, n))]
    return found


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("jobs", ("jobs",)),
        ("steps[2].needs[0]", ("steps", 2, "needs", 0)),
        ('files."run.py".from', ("files", "run.py", "from")),
        ("", ()),
    ],
)
def test_a_path_of_an_error_is_taken_apart(where: str, path: Path) -> None:
    assert parts(where) == path


def test_json_as_deep_as_its_reader_allows_has_an_error_all_the_same() -> None:
    for depth in (200, 900, 5000):
        text = '{"name": ' + "[" * depth + "]" * depth + "}"
        with pytest.raises(document.DocumentRefused):
            document.parse_text(text, None, "a.json")
