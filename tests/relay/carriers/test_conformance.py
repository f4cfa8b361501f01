"""What every carrier keeps to: the contract of `relay.carrier.contract`, on real far ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundle.ids import BundleId
from bundle.media.errors import MediumFailed
from relay.carrier.contract import Answer
from relay.carrier.exchange import is_whole
from relay.errors import CarryFailed
from tests.relay.carriers.far import LARGE_BYTES, Far
from tests.relay.carriers.lines import Line, SshLine

pytestmark = pytest.mark.programs

CUT_AT = 4_500_000
SLACK = 2_500_000  # what is sent again: what was on the wire when it was cut, windows, heads


def nothing_known(_bundle: BundleId, _size_bytes: int = 0) -> bool:
    return False


@pytest.fixture
def into(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def test_what_is_sent_arrives_whole_however_often(line: Line, far: Far) -> None:
    bundle = far.bundle()
    assert line.carrier().send(bundle) in (Answer.MERGED, Answer.COPIED)
    assert line.has(bundle.id)
    assert line.carrier().send(bundle) in (Answer.MERGED, Answer.COPIED)
    assert line.carrier().send(replace(bundle, again=True)) in (Answer.MERGED, Answer.COPIED)
    assert line.has(bundle.id)


def test_what_is_offered_is_fetched_whole_under_its_id(line: Line, far: Far, into: Path) -> None:
    (path,) = line.carrier().fetch(nothing_known, into)
    assert path == into / f"{far.offered}.pulk"
    assert is_whole(path, far.offered)
    assert path.stat().st_mode & 0o077 == 0
    assert [one.name for one in line.parts.iterdir() if one.name != "laid"] == []


def test_what_is_known_is_not_fetched_and_its_size_is_told_before(
    line: Line, far: Far, into: Path
) -> None:
    asked: list[tuple[str, int]] = []

    def known(bundle: BundleId, size_bytes: int = 0) -> bool:
        asked.append((bundle, size_bytes))
        return True

    assert not list(line.carrier().fetch(known, into))
    assert not list(into.iterdir())
    ((bundle, size),) = asked
    assert bundle == far.offered
    assert size > LARGE_BYTES // 2


def test_where_nobody_is_there_it_says_so_and_goes_on_afterwards(
    line: Line, far: Far, into: Path
) -> None:
    bundle = far.bundle()
    with line.away():
        with pytest.raises((CarryFailed, MediumFailed)) as failed:
            line.carrier().send(bundle)
        assert failed.value.transient
        with pytest.raises((CarryFailed, MediumFailed)):
            list(line.carrier().fetch(nothing_known, into))
    assert not line.has(bundle.id)
    assert line.carrier().send(bundle) is not None
    assert len(list(line.carrier().fetch(nothing_known, into))) == 1
    assert line.has(bundle.id)


def test_sending_goes_on_where_it_was_cut(wired_line: Line, far: Far) -> None:
    bundle, wire = far.bundle(LARGE_BYTES), wired_line.wire
    assert wire is not None
    wire.cut_up = CUT_AT
    with pytest.raises(CarryFailed):
        wired_line.carrier().send(bundle)
    assert not wired_line.has(bundle.id)
    wire.up = 0
    _log_in_again(wired_line)
    assert wired_line.carrier().send(bundle) is not None
    assert wired_line.has(bundle.id)
    assert wire.up < LARGE_BYTES - CUT_AT + SLACK


def test_fetching_goes_on_where_it_was_cut(wired_line: Line, far: Far, into: Path) -> None:
    wire = wired_line.wire
    assert wire is not None
    wire.cut_down = CUT_AT
    with pytest.raises(CarryFailed):
        list(wired_line.carrier().fetch(nothing_known, into))
    assert not list(into.iterdir())
    wire.down = 0
    _log_in_again(wired_line)
    (path,) = wired_line.carrier().fetch(nothing_known, into)
    assert is_whole(path, far.offered)
    assert wire.down < path.stat().st_size - CUT_AT + SLACK


def test_what_a_crash_tore_is_found_and_fetched_anew(
    wired_line: Line, far: Far, into: Path
) -> None:
    wire = wired_line.wire
    assert wire is not None
    wire.cut_down = CUT_AT
    with pytest.raises(CarryFailed):
        list(wired_line.carrier().fetch(nothing_known, into))
    (part,) = (one for one in wired_line.parts.iterdir() if one.name != "laid")
    with part.open("r+b") as file:  # a power cut left the end of what was written unwritten
        file.seek(part.stat().st_size - 5000)
        file.write(bytes(5000))
    _log_in_again(wired_line)
    (path,) = wired_line.carrier().fetch(nothing_known, into)
    assert is_whole(path, far.offered)


def _log_in_again(line: Line) -> None:
    if isinstance(line, SshLine):
        line.log_in()
