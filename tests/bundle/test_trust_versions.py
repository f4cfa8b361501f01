"""Taking trust versions: only forward, never a fork, all kept, whole after a crash anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundle.trust import trust_file, versions
from bundle.trust.errors import ForkedTrust, MalformedTrust, ThresholdNotMet, WrongTrustVersion
from bundle.trust.keys import MemoryKey
from bundle.trust.quickstart import save_trust
from bundle.trust.trust_file import Trust


class Line:
    """Versions of one authority, and a folder at version 1."""

    def __init__(self, folder: Path, cast: Any) -> None:
        self.cast = cast
        self.path = folder / "trust"
        self.files = [self.version(number) for number in range(1, 6)]
        save_trust(self.path, self.files[0])
        versions.keep(self.path, trust_file.load(self.path))

    def version(self, number: int, *, fork: int = 0, signer: MemoryKey | None = None) -> bytes:
        extra = tuple(
            MemoryKey(bytes([100 + n]) * 32).public for n in range(min(number, 9) + 10 * fork)
        )
        changed = replace(
            self.cast.trust, version=number, centrals=(*self.cast.trust.centrals, *extra)
        )
        return trust_file.encode(changed, [signer or self.cast.root])

    def in_force(self) -> Trust:
        return trust_file.load(self.path)


@pytest.fixture
def line(tmp_path: Path, cast: Any) -> Line:
    folder = tmp_path / "home"
    folder.mkdir()
    return Line(folder, cast)


def test_versions_are_taken_in_steps_and_all_kept(line: Line) -> None:
    assert versions.take(line.path, line.files[1:2]).version == 2
    assert versions.take(line.path, line.files).version == 5
    assert versions.take(line.path, line.files).version == 5
    assert versions.chain(line.path) == line.files
    assert versions.chain(line.path, 3) == line.files[3:]
    assert versions.chain(line.path, 5) == []
    assert not versions.problems(line.path)


def test_a_lower_version_is_never_taken(line: Line) -> None:
    versions.take(line.path, line.files)
    for files in (line.files[:1], line.files[3:4], line.files[:4]):
        with pytest.raises(WrongTrustVersion):
            versions.take(line.path, files)
    assert line.in_force().raw == line.files[4]


def test_a_version_in_between_that_is_missing_takes_nothing(line: Line) -> None:
    with pytest.raises(WrongTrustVersion, match="4 cannot follow version 2"):
        versions.take(line.path, [line.files[1], line.files[3]])
    assert line.in_force().version == 1
    assert sorted(one.name for one in (line.path.parent / "trusts").iterdir()) == ["1"]


def test_another_file_of_the_version_in_force_is_named_a_fork(line: Line) -> None:
    versions.take(line.path, line.files[:3])
    fork = line.version(3, fork=1)
    for files in ([fork], [fork, line.files[3]]):
        with pytest.raises(ForkedTrust, match="version 3"):
            versions.take(line.path, files)
    chain = trust_file.encode_chain([*line.files[:2], fork, *line.files[3:]])
    with pytest.raises(ForkedTrust):
        trust_file.advance(line.in_force(), chain)
    assert line.in_force().raw == line.files[2]


def test_a_forged_fork_is_a_forgery_not_a_fork(line: Line, cast: Any) -> None:
    forged = line.version(1, fork=1, signer=cast.stranger)
    with pytest.raises(ThresholdNotMet):
        versions.take(line.path, [forged])


def test_the_same_content_signed_by_others_is_no_fork(tmp_path: Path, make_key: Any) -> None:
    roots = [make_key(n) for n in (1, 2, 3)]
    trust = Trust(
        1, tuple(one.public for one in roots), 2, (make_key(4).public,), (make_key(5).public,)
    )
    path = tmp_path / "trust"
    save_trust(path, trust_file.encode(trust, roots[:2]))
    assert versions.take(path, [trust_file.encode(trust, roots[1:])]).version == 1


def test_a_number_of_versions_far_ahead_blocks_nothing(line: Line) -> None:
    """Fast-forward: nobody can jump to a version so high that no other follows."""
    with pytest.raises(WrongTrustVersion):
        versions.take(line.path, [line.version(2**63 - 1)])
    assert versions.take(line.path, line.files).version == 5


def test_a_chain_stops_before_what_is_lost_or_damaged(line: Line) -> None:
    versions.take(line.path, line.files)
    versions.path_of(line.path, 2).write_bytes(b"damaged")
    assert versions.chain(line.path) == line.files[2:]
    assert versions.problems(line.path) == ["version 2 is missing or damaged in trusts/"]
    versions.path_of(line.path, 5).unlink()
    assert versions.chain(line.path) == line.files[2:]  # the version in force is there anyway


def test_a_kept_version_that_is_another_is_told(line: Line) -> None:
    versions.take(line.path, line.files)
    versions.path_of(line.path, 5).write_bytes(line.version(5, fork=1))
    assert any("forked-trust" in one for one in versions.problems(line.path))


def dies_at(name: str, number: int, action: Callable[[], object]) -> bool:
    """Do something in a process that dies before its number-th call of `os.<name>`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    real, count = getattr(os, name), 0

    def dying(*given: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count == number:
            os._exit(9)
        return real(*given, **named)

    setattr(os, name, dying)
    try:
        action()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("name", ["open", "fsync", "replace", "mkdir"])
def test_a_process_that_dies_anywhere_leaves_what_can_be_done_again(
    tmp_path: Path, cast: Any, name: str
) -> None:
    for number in range(1, 60):
        folder = tmp_path / f"again-{number}"
        folder.mkdir()
        line = Line(folder, cast)
        died = dies_at(name, number, lambda line=line: versions.take(line.path, line.files[1:3]))
        assert line.in_force().version == 3 if not died else line.in_force().version in (1, 3)
        assert versions.take(line.path, line.files[:3]).version == 3
        assert versions.chain(line.path) == line.files[:3]
        assert not versions.problems(line.path)
        if not died:
            break
    assert not died
    assert number > 2 or name == "mkdir"


def test_files_that_are_no_trust_are_refused(line: Line, tmp_path: Path) -> None:
    for raw in (b"", b"\x90", b"\x91\x01", b"\xc1", b"\x80"):
        (tmp_path / "file").write_bytes(raw)
        with pytest.raises((MalformedTrust, WrongTrustVersion)):
            versions.take(line.path, versions.read_files(tmp_path / "file"))
    with pytest.raises(MalformedTrust, match=str(tmp_path / "none")):
        versions.read_files(tmp_path / "none")
    assert line.in_force().version == 1
