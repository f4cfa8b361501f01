"""The local adapter: the contract of all adapters, and what is its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_adapters import process
from site_adapters.contract import PilotRequest, PilotState
from site_adapters.local import LocalAdapter
from tests.site_adapters.conformance import SLEEPER, Conformance, Make, python, wait_for

WAIT_S = 10.0
PARENT = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
    "    start_new_session=True, env={'PULK_ATTEMPT': 'x:feed:0'})\n"
    "open(sys.argv[1], 'w').close(); time.sleep(60)\n"
)


class TestLocal(Conformance):
    """All sentences of the contract."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[Make]:
        """Makes an adapter as a new relay process would: from its files alone."""
        folder = tmp_path / "pilots"
        yield lambda: LocalAdapter(folder)
        adapter = LocalAdapter(folder)
        for batch_id in adapter.survey():
            adapter.clear(batch_id, "")


def test_clearing_ends_the_pilot_its_children_and_what_carries_its_mark(
    tmp_path: Path,
) -> None:
    adapter = LocalAdapter(tmp_path / "pilots")
    ready = tmp_path / "ready"
    (batch_id,) = adapter.submit(PilotRequest("one", python(PARENT, str(ready)), tmp_path))
    deadline = time.monotonic() + WAIT_S
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (view,) = adapter.survey().values()
    of_batch = [p for p in process.every() if batch_id.encode() in process.arguments_of(p.pid)]
    leaders = {p.session for p in of_batch if p.session == p.pid}  # the launcher's, the pilot's
    sessions = [{p.pid for p in process.every() if p.session == s and p.alive} for s in leaders]
    session = max(sessions, key=len)
    marked = {
        p.pid
        for p in process.every()
        if b":feed:" in process.environment_of(p.pid) and p.alive and p.pid not in session
    }
    assert len(session) == 2
    assert len(marked) == 1
    assert adapter.clear(view.batch_id, ":feed:")
    assert not [p for p in process.every() if p.pid in session | marked and p.alive]
    wait_for(adapter, batch_id, PilotState.ABSENT)


def test_a_pilot_is_seen_from_the_moment_it_was_submitted_on(tmp_path: Path) -> None:
    adapter = LocalAdapter(tmp_path / "pilots")
    for number in range(100):  # a launcher that began this moment shows no arguments yet
        request = PilotRequest(f"n{number}", ("/bin/sleep", "60"), tmp_path)
        (batch_id,) = adapter.submit(request)
        assert adapter.survey()[batch_id].state is not PilotState.ABSENT
        wait_for(adapter, batch_id, PilotState.RUNNING)
        assert adapter.clear(batch_id, "")
        adapter.forget(batch_id)


def test_a_reused_pid_is_not_taken_for_the_pilot(tmp_path: Path) -> None:
    adapter = LocalAdapter(tmp_path / "pilots")
    (batch_id,) = adapter.submit(PilotRequest("one", python("pass"), tmp_path))
    wait_for(adapter, batch_id, PilotState.ABSENT)
    other = subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True)
    try:
        record = tmp_path / "pilots" / "one" / "process"
        fields = record.read_text().split(" ")
        record.write_text(" ".join([str(other.pid), *fields[1:]]))  # its pid, another start time
        assert adapter.survey()[batch_id].state is PilotState.ABSENT
        assert adapter.clear(batch_id, "")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_another_hosts_pilot_is_unknown_and_an_earlier_boots_is_absent(tmp_path: Path) -> None:
    adapter = LocalAdapter(tmp_path / "pilots")
    (batch_id,) = adapter.submit(PilotRequest("one", python(SLEEPER), tmp_path))
    wait_for(adapter, batch_id, PilotState.RUNNING)
    request = tmp_path / "pilots" / "one" / "request"
    about = json.loads(request.read_text())
    request.write_text(json.dumps(about | {"host": "other"}))
    assert adapter.survey()[batch_id].state is PilotState.UNKNOWN
    assert not adapter.clear(batch_id, "")
    request.write_text(json.dumps(about | {"boot_id": "earlier"}))
    assert adapter.survey()[batch_id].state is PilotState.ABSENT
    request.write_text(json.dumps(about))
    assert adapter.clear(batch_id, "")


def test_damaged_files_of_a_pilot_are_passed_over(tmp_path: Path) -> None:
    home = tmp_path / "pilots" / "one"
    home.mkdir(parents=True)
    (home / "request").write_text("{")
    assert LocalAdapter(tmp_path / "pilots").survey() == {}


def test_a_launcher_that_was_killed_is_absent_while_its_submitter_lives(tmp_path: Path) -> None:
    home = tmp_path / "pilots" / "one"
    adapter = LocalAdapter(home.parent)
    wall = str(tmp_path / "wall")
    os.mkfifo(wall)  # the launcher waits here, before it is the pilot
    request = PilotRequest("one", python(SLEEPER), tmp_path)
    batch_id = _submit_with_stuck_launcher(adapter, request, wall)
    assert adapter.survey()[batch_id].state is PilotState.WAITING
    record = os.fsencode(home / "process")  # others on this machine start sessions meanwhile
    (launcher,) = [p for p in process.every() if record in process.arguments_of(p.pid)]
    process.end(launcher, signal.SIGKILL)
    wait_for(adapter, batch_id, PilotState.ABSENT)
    adapter.survey()
    assert process.look(launcher.pid) is None  # nor is it left as a zombie


def _submit_with_stuck_launcher(adapter: LocalAdapter, request: PilotRequest, wall: str) -> str:
    """Submit so that the launcher's first write blocks: its file is a pipe without a reader."""
    home = adapter._folder / request.name

    def block() -> None:
        while not home.is_dir():
            time.sleep(0)
        (home / "process.part").symlink_to(wall)

    thread = threading.Thread(target=block)
    thread.start()
    (batch_id,) = adapter.submit(request)
    thread.join()
    return batch_id


def test_a_submission_killed_before_it_said_anything_is_forgotten_in_time(tmp_path: Path) -> None:
    adapter = LocalAdapter(tmp_path / "pilots")
    home = tmp_path / "pilots" / "one"
    home.mkdir(parents=True)
    assert adapter.survey() == {}  # its submitter may be about to write
    os.utime(home, (1, 1))
    assert adapter.survey()["local:one"].state is PilotState.ABSENT
    adapter.forget("local:one")
    assert not home.exists()


def test_a_line_of_stat_is_read_whatever_the_name_of_the_program_is() -> None:
    line = "7 (a) b) (c) S 1 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0"
    assert process.parse_stat(line) == process.Process(7, 4242, 5, "S")
    for wrong in ("", "7 (a", "x (a) S 1", "7 (a) S 1 5 five"):
        with pytest.raises(ValueError):
            process.parse_stat(wrong)


def test_the_pilot_leads_a_session_of_its_own(tmp_path: Path) -> None:
    adapter = LocalAdapter(tmp_path / "pilots")
    (batch_id,) = adapter.submit(PilotRequest("one", python(SLEEPER), tmp_path))
    wait_for(adapter, batch_id, PilotState.RUNNING)
    pid = int((tmp_path / "pilots" / "one" / "process").read_text().split()[0])
    assert os.getsid(pid) == pid
    assert adapter.clear(batch_id, "")
