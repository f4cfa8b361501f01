"""Files appear whole or not at all, and are claimed by one."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from bundle.spool import publish


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """The folder of unfinished files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def test_a_new_file_is_whole_private_and_leaves_nothing_in_tmp(tmp: Path) -> None:
    target = tmp.parent / "file"
    publish.write_new_file(tmp, target, b"content")
    assert target.read_bytes() == b"content"
    assert target.stat().st_mode & 0o777 == 0o600
    assert not list(tmp.iterdir())


def test_a_name_is_taken_once(tmp: Path) -> None:
    target = tmp.parent / "file"
    publish.write_new_file(tmp, target, b"first")
    with pytest.raises(publish.AlreadyThere):
        publish.write_new_file(tmp, target, b"second")
    assert target.read_bytes() == b"first"
    assert not list(tmp.iterdir())


def test_a_link_whose_answer_was_lost_counts_as_ours(tmp: Path) -> None:
    target = tmp.parent / "file"
    staged = publish.stage(tmp, b"content")
    os.link(staged, target)  # done, but the caller never heard of it
    publish.publish_new(staged, target)
    assert target.read_bytes() == b"content"
    assert not staged.exists()


def test_of_many_who_take_a_name_at_once_one_gets_it(tmp: Path) -> None:
    target, start = tmp.parent / "file", threading.Barrier(8)
    won: list[int] = []

    def take(number: int) -> None:
        start.wait()
        try:
            publish.write_new_file(tmp, target, b"%d" % number)
            won.append(number)
        except publish.AlreadyThere:
            pass

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % number for number in won] == [target.read_bytes()]


def test_a_name_that_is_given_back_meanwhile_was_taken(tmp: Path) -> None:
    target, stop = tmp.parent / "file", threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            target.touch()
            target.unlink()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(400):
            try:
                publish.publish_new(_unsynced(tmp), target)
            except publish.AlreadyThere:
                continue
    finally:
        stop.set()
        thread.join()


def _unsynced(tmp: Path) -> Path:
    path = tmp / os.urandom(6).hex()
    path.touch()
    return path


def test_a_file_that_finds_no_room_leaves_nothing_in_tmp(tmp: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            publish.write_file(tmp, tmp.parent / "file", bytes(2000))
        except OSError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not list(tmp.iterdir())


def test_of_many_who_claim_a_file_at_once_one_gets_it(tmp: Path) -> None:
    source, start = tmp.parent / "shard", threading.Barrier(8)
    source.write_bytes(b"x")
    won: list[int] = []

    def take(number: int) -> None:
        start.wait()
        if publish.claim(source, tmp / f"{number}"):
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_rename_whose_answer_was_lost_counts_as_ours(tmp: Path) -> None:
    source, target = tmp.parent / "shard", tmp / "mine"
    source.write_bytes(b"x")
    source.rename(target)  # done, but the caller never heard of it
    assert publish.claim(source, target)
    assert not publish.claim(source, tmp / "other")


def test_replacing_never_shows_half_a_file(tmp: Path) -> None:
    target = tmp.parent / "file"
    publish.write_file(tmp, target, b"a" * 100_000)
    seen: set[bytes] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            data = target.read_bytes()
            seen.add(data[:1] + b"%d" % len(data))

    looker = threading.Thread(target=look)
    looker.start()
    for number in range(50):
        publish.write_file(tmp, target, (b"b" if number % 2 else b"a") * 100_000)
    stop.set()
    looker.join()
    assert seen <= {b"a100000", b"b100000"}


def test_removing_what_is_gone_is_fine(tmp: Path) -> None:
    publish.remove(tmp / "nothing")
    (tmp / "folder" / "inner").mkdir(parents=True)
    (tmp / "folder" / "inner" / "file").write_bytes(b"x")
    publish.remove(tmp / "folder")
    assert not list(tmp.iterdir())


def test_a_folder_that_a_task_locked_is_removed_all_the_same(tmp: Path) -> None:
    inner = tmp / "slot" / "locked"
    inner.mkdir(parents=True)
    (inner / "file").write_bytes(b"x")
    inner.chmod(0o000)
    (tmp / "slot").chmod(0o500)
    publish.remove(tmp / "slot")
    assert not list(tmp.iterdir())


def test_a_link_is_removed_not_what_it_points_to(tmp: Path) -> None:
    (tmp.parent / "precious").mkdir()
    (tmp / "link").symlink_to(tmp.parent / "precious")
    publish.remove(tmp / "link")
    assert (tmp.parent / "precious").is_dir()
    assert not (tmp / "link").is_symlink()


def test_folders_are_private_and_made_by_several_at_once(tmp: Path) -> None:
    deep, start = tmp / "a" / "b" / "c", threading.Barrier(4)

    def make() -> None:
        start.wait()
        publish.make_folder(deep)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert deep.stat().st_mode & 0o777 == 0o700
