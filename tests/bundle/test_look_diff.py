"""`pulk bundle diff` says what differs, down to the records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.fates import Fate
from bundle.intervals import IntervalSet
from bundle.look.differ import _fields
from bundle.records import lease as leases
from bundle.records.lease import Block, Lease
from bundle.wire import thin
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource
from tests.bundle.looking import Carried, carried, run


def differ(capsys: pytest.CaptureFixture[str], a: Path, b: Path, code: int) -> Any:
    assert run("diff", a, b, "--json") == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def world(tmp_path: Path) -> Carried:
    return carried(tmp_path)


def lease(**fields: Any) -> bytes:
    made = Lease(
        lease=b"l" * 16,  # type: ignore[arg-type]
        dataset="a" * 26,  # type: ignore[arg-type]
        dataset_digest=b"d" * 32,
        shard=0,
        blocks=(Block(0, IntervalSet(((0, 10),)), (0, 1)),),
        spec_hashes=(),
        needs=(),
        returns=(),
        pins=(),
        spent=(),
        duration_ms=1,
    )
    return leases.encode(replace(made, **fields))


def test_a_bundle_does_not_differ_from_a_copy_in_another_stored_form(
    cast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = ChunkSource("lease", "l", 1, lease())
    a = cast.pack([chunk])
    b = cast.pack([chunk], compress=False)
    found = differ(capsys, a, b, 0)
    assert found["same"]
    assert run("diff", a, b) == 0
    assert capsys.readouterr().out == "the same bundle, with the same chunks present\n"


def test_a_part_differs_from_its_whole_in_nothing_but_what_is_present(
    world: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part"
    thin.write_thin(world.result, part, {0, 1, 4})
    found = differ(capsys, world.result, part, 1)
    assert found["same_bundle"]
    assert found["present"] == {"only_a": [2, 3, 5, 6], "only_b": []}
    assert not found["manifest"]
    assert found["chunks"] == {"only_a": [], "only_b": [], "changed": []}
    run("diff", world.result, part)
    shown = capsys.readouterr().out
    assert "differ in nothing but which chunks are present" in shown
    assert f"only in {world.result}: chunks 2-3, 5-6" in shown


def test_fields_and_chunks_that_differ_are_named(
    cast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    a = cast.pack(
        [ChunkSource("lease", "l", 1, lease()), ChunkSource("data", "x", 0, b"1")],
        cast.draft(Kind.WORK, sequence=4),
    )
    b = cast.pack(
        [ChunkSource("lease", "l", 1, lease(shard=7)), ChunkSource("data", "\x1b[2J", 0, b"2")],
        cast.draft(Kind.WORK, sequence=5),
    )
    found = differ(capsys, a, b, 1)
    assert {"field": "sequence", "a": 4, "b": 5} in found["manifest"]
    assert found["chunks"]["only_a"] == [{"kind": "data", "name": "x"}]
    assert found["chunks"]["only_b"] == [{"kind": "data", "name": "\x1b[2J"}]
    assert found["chunks"]["changed"] == [{"kind": "lease", "name": "l"}]
    [record] = found["records"]
    assert record["fields"] == [{"field": "shard", "a": 0, "b": 7}]
    assert run("diff", a, b) == 1
    shown = capsys.readouterr().out
    assert all(line.isprintable() for line in shown.splitlines())
    assert "sequence" in shown


def test_chunks_of_one_name_are_told_apart_by_their_order(
    cast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three = (ChunkSource("data", "x", 0, text) for text in (b"1", b"2", b"3"))
    found = differ(capsys, cast.pack([one, two]), cast.pack([one, three]), 1)
    assert found["chunks"]["changed"] == [{"kind": "data", "name": "x", "number": 1}]


def test_attempts_are_compared_by_key_however_they_are_cut(
    world: Carried, capsys: pytest.CaptureFixture[str]
) -> None:
    site = world.site
    held = next(iter(site.works.values()))
    first = site.play(held, held.leases[0])
    segment = first.segment
    later = replace(segment.attempts[2], local=99)
    changed = replace(segment.attempts[1], fate=Fate.LOST, outputs=())
    other = replace(segment, attempts=(segment.attempts[0], changed, later, *segment.attempts[3:]))
    a, b = site.result([first]), site.result([replace(first, segment=other)])
    found = differ(capsys, a, b, 1)["attempts"]
    assert (found["only_a"], found["only_b"], found["changed"]) == (1, 1, 1)
    assert {(row["in"], row["local"]) for row in found["rows"]} == {
        ("both", 1),
        ("a", 2),
        ("b", 99),
    }
    assert run("diff", a, b) == 1
    assert "attempts: 1 only in A, 1 only in B, 1 changed" in capsys.readouterr().out


def test_records_that_cannot_be_read_are_named_as_not_compared(
    cast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    a = cast.pack([ChunkSource("lease", "l", 1, b"rubbish"), ChunkSource("segment", "s", 1, b"x")])
    b = cast.pack([ChunkSource("lease", "l", 1, lease())])
    found = differ(capsys, a, b, 1)
    assert [one["kind"] for one in found["unread"]] == ["lease", "segment"]
    assert run("diff", a, b) == 1
    assert "not compared: lease:l: " in capsys.readouterr().out


VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_fields_differ_exactly_where_values_do(a: Any, b: Any) -> None:
    assert _fields(a, a) == []
    forth, back = _fields(a, b), _fields(b, a)
    assert bool(forth) == (_without_nil(a) != _without_nil(b))
    assert {row["field"] for row in forth} == {row["field"] for row in back}


def _without_nil(value: Any) -> Any:
    """A field that is nil and one that is missing are one."""
    if isinstance(value, dict):
        return {name: _without_nil(one) for name, one in value.items() if one is not None}
    return [_without_nil(one) for one in value] if isinstance(value, list) else value
