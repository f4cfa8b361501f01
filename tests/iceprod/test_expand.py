"""Texts are expanded as IceProd expands them, corners included; what never ends is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bundle.errors import PulkError
from central.iceprod.expand import Expander
from central.iceprod.model import Config
from central.iceprod.refusals import EndlessMacro, UnclosedMacro

STEERING = {
    "a": 5,
    "b": "$(job)",
    "c": "x$steering(a)y",
    "foo": "foo$(iter)",
    "foo0": "baz",
    "list": [1, 2, "$(job)"],
    "table": {"k": "v", "a": 3},
    "pair": [4, 9],
    "yes": True,
    "X::y": "1e3",
    "nothing": None,
    "round": "$(round)x",
}
OPTIONS = {"job": 3, "dataset": 21, "iter": 0, "own": "o$(a)"}


def expanded(text: str, **parameters: Any) -> Any:
    config = Config(3.1, "", 21, {"top": "T"}, {}, STEERING, {"s": "q"}, {"t": "M"}, (), (), ())
    return Expander(config, dict(OPTIONS), lambda _text, _count: 1).value(text, parameters)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$steering(c)", "x5y"),
        ("$(b)", 3),
        ("n$(b)", "n3"),
        ("$steering($(foo))", "baz"),  # a name made of macros
        ("$args(own)/$options(job)", "o5/3"),
        ("$system(s)$metadata(t)$(top)", "qMT"),
        ("$(yes)", True),
        ("$(X::y)", 1000.0),
        ("v$(X::y)", "v1e3"),
        ("$steering(nothing)", "None"),  # but a bare macro does not find null
        ("$(nothing)", "$(nothing)"),
        ("$environ(OS_ARCH)", "$OS_ARCH"),
        ("$eval($(dataset)*100 + $(job))", 2103),
        ("$eval(-7//2)$eval(7/2)", -43.5),
        ("$eval(2**3)", 8),
        ("$eval(1+)", "$eval(1+)"),
        ("$eval(open)", "$eval(open)"),
        ("$eval(9**999999)", "$eval(9**999999)"),
        ("$sprintf('%06d',$(job))", 3),  # digits alone are a number again
        ("f$sprintf('%06d',$(job))", "f000003"),
        ('$sprintf("%s-%x-%.2f",a,255,1)', "a-ff-1.00"),
        ("$sprintf(%d.gz,$(a))", "5.gz"),
        ("$sprintf('%d')", "$sprintf('%d')"),
        ("$sprintf()x$(a)", "$sprintf()x$(a)"),  # it spoils the whole text
        ("$sum($(pair))", 13),
        ("$sum($(list))", '$sum([1, 2, "$(job)"])'),  # what is added up may not be text
        ("$max($(pair))$len(abc)", 93),
        ("$max([4,9])", "$max([4,9])"),
        ("$choice(p,q,r)", "q"),
        ("$(list)[1]", 2),
        ("$(table)[k]", "v"),
        ("$(list)[9]", "[1, 2, \"$(job)\"][9]"),
        ("$(list)", [1, 2, 3]),
        ('{"n": "$(a)"}', {"n": 5}),
        ("$steering(mising)", "$steering(mising)"),
        ("$HOME/$(a)", "$HOME/5"),
        ("in $HOME and $(a)", "in $HOME and $(a)"),  # a dollar that opens nothing spoils it
        (r"\$(a)", 5),  # a backslash holds for one round only
        ("a(b)[c]", "a(b)[c]"),
        ("a)b", "a)b"),
        ("007", 7),
        ("", ""),
    ],
)  # fmt: skip
def test_a_text_means_what_it_means_in_iceprod(text: str, meant: Any) -> None:
    found = expanded(text)
    assert (found, type(found)) == (meant, type(meant))


def test_the_parameters_around_come_before_steering_for_bare_macros_only() -> None:
    assert expanded("$(a)$steering(a)", a=6) == 65


@pytest.mark.parametrize("text", ["$(round)", "$steering(round)", "$($steering(round))"])
def test_what_leads_back_to_itself_is_refused(text: str) -> None:
    with pytest.raises(EndlessMacro):
        expanded(text)


def test_what_stops_iceprod_is_refused() -> None:
    with pytest.raises(UnclosedMacro, match="never closed"):
        expanded("$(a")


MACROS = st.sampled_from(
    [
        *("$", "(", ")", "[", "]", "\\", "$(a)", "$(list)", "$steering(", "$eval(", "$sum("),
        *("$sprintf('%d',", "$(foo", "1", "+", "**", "%", "'", '"', ",", "{", "}", "job", "x"),
        "$(round)",
    ]
)


@example("\ue000$(a)97077970000179707797")  # what the import itself uses
@given(st.lists(MACROS | st.text(max_size=3), max_size=14).map("".join))
def test_any_text_is_expanded_or_refused_and_twice_is_once(text: str) -> None:
    try:
        first = expanded(text)
    except PulkError:
        return
    assert repr(expanded(text)) == repr(first)
