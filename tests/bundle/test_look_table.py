"""Tables for people: aligned, as wide as the terminal, and unable to steer it."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.cli.table import (
    COLUMN_WIDTH_MIN,
    CUT,
    GAP,
    UNKNOWN,
    cells_of,
    printable,
    say,
    table,
    write,
)

ESCAPES = (
    "\x1b[2J\x1b[31mred",
    "a\rb",
    "a\nb",
    "\x9b31m",
    "\x00",
    "\u202eevil",
    "\u2066x",
    "\ud800",
    "tab\there",
    "\u200bzero",
    "\ufeff",
)


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert table(("name", "n"), [("a", 5), ("longer", 12345), ("none", None)]).splitlines() == [
        "name        n",
        "a           5",
        "longer  12345",
        "none",
    ]


def test_a_table_without_names_or_rows() -> None:
    assert table((), [("id", "x"), ("kind", "work")]) == "id    x\nkind  work\n"
    assert table((), []) == ""
    assert table(("a", "b"), []) == "a  b\n"


@pytest.mark.parametrize("text", ESCAPES)
def test_nothing_that_could_steer_a_terminal_comes_out(text: str) -> None:
    shown = table((text, "n"), [(text, text)])
    assert shown.count("\n") == 2
    assert all(one.isprintable() for one in shown.replace("\n", ""))
    assert UNKNOWN in shown


@given(
    st.lists(
        st.tuples(st.text(max_size=30), st.text(max_size=80), st.integers()), min_size=1, max_size=6
    ),
    st.integers(3 * COLUMN_WIDTH_MIN + 2 * len(GAP), 200),
)
def test_every_line_fits_and_no_text_breaks_a_line(
    rows: list[tuple[str, str, int]], width: int
) -> None:
    lines = table(("first", "second", "third"), rows, width).split("\n")[:-1]
    assert len(lines) == len(rows) + 1
    assert all(cells_of(line) <= width for line in lines)
    assert all(printable(line) == line for line in lines)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_nothing_is_cut_without_a_width(texts: list[str]) -> None:
    assert table((), [(one,) for one in texts]) == "".join(
        printable(one).rstrip() + "\n" for one in texts
    )


def test_the_widest_column_is_cut_first_and_says_so() -> None:
    [line] = table((), [("short", "x" * 50, "12345678")], 40).splitlines()
    assert line.startswith("short  xxx")
    assert f"x{CUT}  12345678" in line
    assert len(line) == 40


def test_wide_signs_take_two_cells_and_marks_none() -> None:
    assert cells_of("\N{CJK UNIFIED IDEOGRAPH-4E00}a") == 3
    marked = unicodedata.normalize("NFD", "\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert cells_of(marked) == 1
    [first, second] = table((), [("\N{CJK UNIFIED IDEOGRAPH-4E00}", "x"), ("ab", "y")]).split()[
        1::2
    ]
    assert (first, second) == ("x", "y")


def test_a_stream_of_few_signs_gets_escapes_instead_of_a_traceback() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    write("caf\N{LATIN SMALL LETTER E WITH ACUTE}\n", out)
    say("\x1b[0m", out)
    out.flush()
    assert raw.getvalue() == b"caf\\xe9\n\\ufffd[0m\n"
