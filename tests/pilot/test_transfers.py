"""Outputs that are kept: what nobody can change any more is moved, all else is copied first."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilot import linux, stage
from pilot.staging.transfers import Mover, Pace

CONTENT = b"as it was when the task was dead " * 1000
CHANGED = b"changed afterwards by who still had it open"


class Kept:
    """The folders of a mover, with one output that was handed on."""

    def __init__(self, root: Path) -> None:
        self.folders = {name: root / name for name in ("brought", "handed", "data")}
        for folder in self.folders.values():
            folder.mkdir()
        self.output = self.folders["handed"] / "1" / "0"
        self.output.parent.mkdir()
        self.output.write_bytes(CONTENT)
        opened = [os.open(folder, linux.FOLDER) for folder in self.folders.values()]
        self.mover, self.opened = Mover(*opened, Pace(0)), opened

    def keep(self, wanted: Callable[[], bool] = lambda: True) -> Path:
        """Keep the output; return where it lies then."""
        rows = self.mover.keep(1, 1, wanted)
        assert rows == [(hashlib.sha256(CONTENT).digest(), len(CONTENT))]
        return self.folders["data"] / stage.data_path(rows[0][0])


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path)
    yield one
    for descriptor in one.opened:
        os.close(descriptor)


def test_an_output_that_nobody_has_open_for_writing_is_moved_not_copied(kept: Kept) -> None:
    inode = kept.output.stat().st_ino
    with kept.output.open("rb"):  # to read it changes nothing
        where = kept.keep()
    assert where.stat().st_ino == inode and where.read_bytes() == CONTENT


def test_an_output_that_somebody_has_open_for_writing_is_copied_and_the_copy_counts(
    kept: Kept,
) -> None:
    with kept.output.open("r+b", buffering=0) as still_open:
        where = kept.keep()
        still_open.write(CHANGED)
    assert where.read_bytes() == CONTENT


def test_an_output_with_a_second_name_is_copied_and_the_copy_counts(
    kept: Kept, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.hardlink_to(kept.output)
    where = kept.keep()
    other.write_bytes(CHANGED)
    assert where.read_bytes() == CONTENT


def test_an_output_that_somebody_wants_to_write_while_it_is_hashed_is_copied(kept: Kept) -> None:
    inode, refused = kept.output.stat().st_ino, []

    def tries_to_write() -> bool:
        if not refused:
            with pytest.raises(BlockingIOError):  # who does not ask so waits for the lease's end
                os.open(kept.output, os.O_WRONLY | os.O_NONBLOCK)
            refused.append(True)
        return True

    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # as the stager does
    try:
        where = kept.keep(tries_to_write)
    finally:
        signal.signal(signal.SIGIO, before)
    assert refused and where.read_bytes() == CONTENT
    assert where.stat().st_ino != inode
