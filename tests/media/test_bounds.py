"""Two at once, little room, many files: parts are kept, and memory and descriptors are bounded."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bundle.errors import PulkError
from bundle.media import aside, room, take
from bundle.media.parts import join, split
from bundle.media.sight import look
from bundle.wire import thin
from tests.media.made import Press
from tests.media.test_take import Became, landed, taken


def test_two_imports_at_once_lose_no_part(
    press: Press, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = press.make(chunks=4)
    out, into = tmp_path / "out", tmp_path / "into"
    out.mkdir()
    parts = [part.path for part in split(whole, out, 2700)]
    sticks = []
    for number, part in enumerate(parts):
        sticks.append(tmp_path / f"stick-{number}")
        sticks[-1].mkdir()
        shutil.copy(part, sticks[-1])
    both, real = threading.Barrier(len(sticks), timeout=5), take.assemble
    waited = threading.local()

    def assemble(*given: object) -> list[int]:
        absent = real(*given)  # type: ignore[arg-type]
        if not hasattr(waited, "once"):
            waited.once = True
            both.wait()
        return absent

    monkeypatch.setattr(take, "assemble", assemble)
    threads = [threading.Thread(target=taken, args=(stick, into)) for stick in sticks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    held = set()
    for path in (*into.glob("parts/*.pulk"), *into.glob("*.pulk")):
        held |= set(look(path).sizes)
    assert held == {0, 1, 2, 3}
    taken(sticks[0], into)
    assert landed(into) == {whole.stem}


def test_a_disk_that_is_too_small_refuses_one_and_takes_the_rest(
    press: Press, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = press.make(0, chunk_bytes=50_000), press.make(1)
    for path in (large, small):
        shutil.copy(path, stick)
    monkeypatch.setattr("bundle.media.assemble.free_bytes", lambda _folder: 60_000)
    found = taken(stick, tmp_path / "into")
    assert (found[large.name].became, found[large.name].code) == (Became.REFUSED, "no-room")
    assert found[small.name].became is Became.LANDED
    assert room.free_bytes(tmp_path) > 0


def test_what_is_set_aside_is_bounded_in_number(
    stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aside, "ASIDE_FILES_MAX", 5)
    for number in range(12):
        (stick / f"{number}.pulk").write_text(f"{number}")
    found = taken(stick, tmp_path / "into")
    assert {one.became for one in found.values()} == {Became.REFUSED}
    assert len(list((tmp_path / "into" / "quarantine").glob("*.pulk"))) == 5
    assert sum("on the medium alone" in one.text for one in found.values()) == 7


def test_a_bundle_of_which_nothing_is_whole_is_refused_once(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    path = press.make(chunks=2, chunk_bytes=40)
    raw = bytearray(path.read_bytes())
    for at in (-1, -41):
        raw[at] ^= 1
    (stick / "x").write_bytes(raw)
    (came,) = taken(stick, tmp_path / "into").values()
    assert (came.became, came.code) == (Became.REFUSED, "damaged")
    assert not list((tmp_path / "into" / "parts").iterdir())


def test_more_parts_than_files_may_be_open_are_joined(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=160, chunk_bytes=20)
    parts = [tmp_path / f"{number}.pulk" for number in range(160)]
    for number, part in enumerate(parts):
        thin.write_thin(whole, part, {number})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(128, before[0]), before[1]))
    try:
        (joined,), passed_over = join(parts, tmp_path / "joined")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert not passed_over
    assert joined.path.read_bytes() == whole.read_bytes()


_CHILD = """
import resource, sys
from pathlib import Path
from bundle.media.parts import join
mib = 1 << 20
base = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
join([Path(one) for one in sys.argv[2:]], Path(sys.argv[1]))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print((int(status["VmHWM"].split()[0]) * 1024 - base) // mib)
"""


@pytest.mark.programs
def test_joining_many_copies_holds_one_at_a_time(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=2000, chunk_bytes=20)
    copies = [tmp_path / f"{number}.pulk" for number in range(24)]
    for copy in copies:
        shutil.copy(whole, copy)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path / "joined"), *map(str, copies)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert int(done.stdout) < 24


def test_every_error_of_a_medium_says_what_to_do() -> None:
    from bundle.media import errors

    found = [one for one in vars(errors).values() if isinstance(one, type)]
    for one in found:
        if issubclass(one, PulkError) and one is not PulkError:
            assert one.code
            assert one.remedy
