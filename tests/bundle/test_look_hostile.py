"""Whatever a file holds, looking at it ends with an answer or a refusal, never with a traceback."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.errors import PulkError
from bundle.look.opened import open_unvouched
from bundle.records import lease as leases
from bundle.records.lease import Lease
from bundle.trust import trust_file
from bundle.wire.entries import ChunkEntry
from bundle.wire.manifest import Kind
from bundle.wire.write import ChunkSource
from tests.bundle.conftest import Cast
from tests.bundle.looking import Carried, carried, run
from tests.conftest import SHARED_DATA

pytestmark = pytest.mark.sweeps

EVERY_LOOK: tuple[tuple[str, ...], ...] = (
    ("inspect", "{}"),
    ("inspect", "{}", "--json", "--trust", "{trust}"),
    ("verify", "{}", "--trust", "{trust}"),
    ("ls", "{}"),
    ("ls", "{}", "--read", "--json"),
    ("cat", "{}", "0"),
    ("cat", "{}", "segment", "--json"),
    ("diff", "{}", "{whole}"),
    ("query", "{}", "select * from attempts"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    return carried(tmp_path_factory.mktemp("world"))


def look_at(path: Path, trust: Path, whole: Path) -> None:
    """Run every command; only declared errors come out."""
    for command in EVERY_LOOK:
        arguments = [one.format(str(path), trust=trust, whole=whole) for one in command]
        with contextlib.suppress(PulkError):
            assert run(*arguments) in (0, 1)


@given(data=st.data())
def test_bits_may_flip_and_bytes_may_go(world: Carried, data: st.DataObject) -> None:
    raw = bytearray(world.result.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    scrap = world.site.folder.parent / "scrap"
    scrap.write_bytes(raw)
    look_at(scrap, world.trust, world.result)


WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=5)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
RECORDS = ("dataset", "lease", "segment", "logs", "telemetry", "report", "work-manifest")


@given(kind=st.sampled_from(RECORDS), value=WILD, data=st.data())
def test_records_may_hold_anything(world: Carried, kind: str, value: Any, data: Any) -> None:
    """A signer may put anything into a chunk: into a field of a good record, or instead of it."""
    cast = Cast(_empty(world.site.folder.parent / "wild"))
    with open_unvouched(world.report if kind == "report" else world.result) as bundle:
        found = bundle.find(kind)
        good = canonical.decode(bundle.chunk(found[0]), canonical_limits()) if found else value
    if isinstance(good, dict) and good and data.draw(st.booleans()):
        value = good | {data.draw(st.sampled_from(sorted(good))): value}
    path = cast.pack([ChunkSource(kind, "x", 1, canonical.encode(value))])
    trust = cast.folder / "trust"
    trust.write_bytes(cast.trust_bytes)
    look_at(path, trust, world.result)


def canonical_limits() -> Any:
    from bundle.look.records import UNKNOWN_LIMITS

    return UNKNOWN_LIMITS


def _empty(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


def test_a_lease_of_as_many_tasks_as_there_can_be(
    cast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = Lease(b"l" * 16, "d", b"d" * 32, 0, (), (), (), (), (), (), 1)  # type: ignore[arg-type]
    value = canonical.decode(leases.encode(empty), canonical_limits())
    top = 2**32
    value["blocks"] = [[0, [[0, top]], list(range(100))]]
    path = cast.pack([ChunkSource("lease", "x", 1, canonical.encode(value))], cast.draft(Kind.WORK))
    assert run("inspect", path) == 0
    assert f"{top * 100:,} tasks" in capsys.readouterr().out
    assert run("query", path, "select tasks from leases", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["tasks"] == pytest.approx(top * 100)


def test_a_trust_chain_that_is_none_is_told(cast: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for chain in (b"\xc1", b"\x91\xc4\x01x", trust_file.encode_chain([b""])):
        path = cast.pack((), cast.draft(Kind.WORK, trust=chain))
        assert run("inspect", path) == 0
        assert "a trust chain that cannot be read" in capsys.readouterr().out


def test_names_of_files_that_are_no_text(
    cast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    name = os.path.join(os.fsencode(stick), b"\xff\x1b[2J\n.pulk")  # noqa: PTH118
    Path(os.fsdecode(name)).write_bytes(cast.pack().read_bytes())
    for command in (("ls", stick), ("query", stick, "select path from copies")):
        assert run(*command) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert len(shown.splitlines()) in (2, 3)
    assert run("ls", stick, "--json") == 0
    assert json.loads(capsys.readouterr().out)["bundles"][0]["state"] == "whole"


def test_a_bundle_whose_header_and_manifest_disagree_on_the_kind_is_refused(cast: Any) -> None:
    parts = cast.take_apart(cast.pack())
    path = cast.scrap(parts.whole(kind=Kind.REPORT))
    with pytest.raises(PulkError, match="the header says report, the manifest result"):
        run("inspect", path)


def test_many_chunks_of_one_name_are_no_trouble(
    cast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cast.pack([ChunkSource("data", "x" * 255, 0, b"%d" % n) for n in range(3000)])
    assert run("inspect", path) == 0
    assert "and 2,960 more" in capsys.readouterr().out
    assert run("diff", path, path) == 0
    assert run("query", path, "select count(*) from chunks") == 0


@pytest.mark.parametrize("file", ["minimaxir__big-list-of-naughty-strings--blns.json"])
def test_naughty_strings_as_names(cast: Any, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = SHARED_DATA / "hostile" / "strings" / file
    if not source.is_file():
        pytest.skip("the hostile strings (../shared/data/hostile) are not here")
    texts = [one[:255] for one in json.loads(source.read_text()) if isinstance(one, str)]
    path = cast.pack([ChunkSource("data", one, 0, b"x") for one in texts])
    for command in (("inspect", path), ("ls", path), ("query", path, "select name from chunks")):
        assert run(*command) == 0
        shown = capsys.readouterr().out
        assert all(one.isprintable() for one in shown.replace("\n", ""))
    assert shown.count("\n") == len(texts) + 1
    entries = [ChunkEntry("data", one, 1, 0, b"") for one in texts]
    assert run("ls", path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["chunks"]] == [one.name for one in entries]
