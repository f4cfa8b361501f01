"""What people look at: tasks, jobs, the live view; tables fit whatever terminal there is."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from central.cli import shown_watch, tables
from tests.commands.conftest import COMMAND, LIMIT_S, Production, until

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30)


@example([["", "", "", "\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}"]], 38)
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=5)
    ),
    st.integers(24, 120),
)
def test_no_table_is_wider_than_its_terminal_whatever_is_in_it(
    rows: list[list[str]], width: int
) -> None:
    head = [f"column {number}" for number in range(len(rows[0]))]
    text = tables.table(head, 1, rows, head[1:], width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert all(line.isprintable() for line in text.splitlines())


def test_what_can_be_spared_goes_first_and_the_rest_is_whole() -> None:
    rows = [["a" * 26, "name", "2026-11-27", "12"]]
    head = ["id", "name", "submitted", "jobs"]
    assert "submitted" in tables.table(head, 3, rows, ("submitted",), 80)
    narrow = tables.table(head, 3, rows, ("submitted",), 45)
    assert "submitted" not in narrow
    assert "a" * 26 in narrow
    assert tables.plain([]) == "none"
    assert "yes" in tables.plain([{"x": True, "y": ["a", "b"], "z": None}])


@pytest.mark.programs
def test_tasks_and_jobs_are_listed_and_one_is_told_in_full(production: Production) -> None:
    failed = production.json("dataset", "tasks", production.dataset, "--verdict", "failed")
    assert [(one["job"], one["step"], one["failures"]) for one in failed["tasks"]] == [(2, 0, 3)]
    jobs = production.json("dataset", "jobs", production.dataset[:7], "--state", "failed")
    assert [one["job"] for one in jobs["jobs"]] == [2]
    words = production.pulk("dataset", "tasks", production.dataset, "2", "roll").stdout
    assert "(roll) is failed" in words
    assert "exit 7" in words
    assert "no more: failures used up" in words
    assert "{" not in words.partition("command:")[0]  # it is no JSON
    of_job = production.json("dataset", "tasks", production.dataset, "1")["tasks"]
    assert {one["job"] for one in of_job} == {1}
    few = production.pulk("dataset", "tasks", production.dataset, "--limit", "3").stdout
    assert "--limit 0 lists all" in few
    refused = production.pulk("dataset", "tasks", production.dataset, "2", "rol", code=1)
    assert "no-such-step" in refused.stderr


@pytest.mark.programs
def test_what_a_tasks_attempts_wrote_is_shown_from_the_archive(production: Production) -> None:
    asked = ("dataset", "tasks", production.dataset, "2", "roll", "--logs")
    wrote = production.json(*asked)
    assert [one["fate"] for one in wrote["attempts"]] == ["payload-error"] * 3
    assert [one["log"] for one in wrote["attempts"]] == ["no dice\n"] * 3
    assert wrote["complete"] and wrote["step"] == "roll"
    words = production.pulk(*asked).stdout
    assert words.count("== ") == 3 and words.count("\n  no dice") == 3
    silent = production.pulk("dataset", "tasks", production.dataset, "1", "roll", "--logs").stdout
    assert "success" in silent and "it wrote nothing" in silent
    refused = production.pulk("dataset", "tasks", production.dataset, "2", "--logs", code=2)
    assert "JOB and STEP" in refused.stderr


@pytest.mark.programs
def test_attempts_of_many_tasks_are_listed_with_what_they_wrote(production: Production) -> None:
    asked = ("dataset", "attempts", production.dataset, "--fate", "payload-error")
    table = production.pulk(*asked).stdout
    assert table.count(" roll ") == 3
    words = production.pulk(*asked, "--logs").stdout
    assert words.count("== job 2 roll: ") == 3 and words.count("\n  no dice") == 3
    wrote = production.json(*asked, "--logs")["attempts"]
    assert [one["log"] for one in wrote] == ["no dice\n"] * 3
    one = production.json(*asked, "--limit", "1")
    assert f"--after {one['next']}" in production.pulk(*asked, "--limit", "1").stdout
    refused = production.pulk("dataset", "attempts", production.dataset, "--fate", "oo", code=2)
    assert "'oom'" in refused.stderr


@pytest.mark.programs
def test_what_a_dataset_is_stands_above_its_steps(production: Production) -> None:
    shown = production.pulk("dataset", "show", production.dataset).stdout
    assert "owner admin; private" in shown
    assert "admin" in production.pulk("dataset", "list").stdout
    learned = production.pulk("dataset", "learned", production.dataset).stdout
    assert "only 4 tasks, 299 are needed" in learned


@pytest.mark.programs
def test_no_command_that_drops_jobs_adds_any(production: Production) -> None:
    size = ("dataset", "truncate", production.dataset)
    refused = production.pulk(*size, "5", "--dry-run", code=1).stderr
    assert "nothing-to-drop" in refused and "extend DATASET 1" in refused
    assert "would have 3 jobs" in production.pulk(*size, "3", "--dry-run").stdout
    opened = production.pulk("dataset", "open", production.dataset, "--dry-run").stdout
    assert "would be open, with 4 jobs" in opened


def test_what_a_truncated_dataset_dropped_waits_for_nothing() -> None:
    row = {"tasks": 42, "leased": 1, "done": 40, "failed": 0, "cancelled": 0, "removed": 5403}
    assert shown_watch.waiting(row) == 1
    assert shown_watch.waiting(row | {"tasks": 41}) == 0


@pytest.mark.programs
def test_what_central_refuses_is_told_by_its_own_code_and_place(production: Production) -> None:
    said = production.json("dataset", "list", "--sort", "nam", code=1)["error"]
    assert (said["fields"]["refusal"], said["fields"]["status"]) == ("request-malformed", 400)
    assert "query.sort" in said["what"]
    wrong = production.pulk("dataset", "list", "--central", "pulk.example.org", code=1).stderr
    assert "no-address" in wrong and "https://" in wrong
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    gone = production.pulk("dataset", "list", "--central", f"http://127.0.0.1:{port}", code=75)
    assert "no-answer" in gone.stderr


@pytest.mark.programs
def test_watching_says_in_lines_how_it_is_and_ends_with_the_dataset(production: Production) -> None:
    done = production.pulk("watch", production.dataset[:6], "--until-done", code=1)
    assert re.search(r"planted \w{8}: 6 of 8 done, 1 waiting, 1 failed\n", done.stdout)
    told = production.pulk("watch", production.dataset, "--until-done", "--ndjson", code=1).stdout
    assert json.loads(told)["failed"] == 1
    ended = production.pulk("watch", production.dataset, "--until-done", "--json", code=1)
    assert [one["failed"] for one in json.loads(ended.stdout)["datasets"]] == [1]
    assert "6 of 8 done" in ended.stderr  # progress is no part of the document
    for words in (["--once"], [], [production.dataset]):
        about = production.json("watch", *words)
        assert {one["name"] for one in about["datasets"]} == {"planted"}
        assert [one["site"] for one in about["sites"]] == ["rehearsal"]
    assert production.pulk("watch", "--ndjson", "--json", code=2).stderr
    assert production.pulk("watch", "--until-done", code=2).stderr


@pytest.mark.programs
def test_watching_on_a_narrow_terminal_stays_inside_it_until_interrupted(
    production: Production,
) -> None:
    text = "".join(on_terminal(production, 60, "watch", wanted="6/8"))
    lines = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", text)) if line]
    assert any("planted" in line and "6/8" in line for line in lines)
    assert max(map(cell_len, lines)) <= 60


def on_terminal(production: Production, columns: int, *words: str, wanted: str) -> Iterator[str]:
    """Run a command on a terminal until it has shown something; yield what it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**production.environment, "TERM": "xterm", "COLUMNS": str(columns)}
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = ""
    try:
        ends_s = time.monotonic() + LIMIT_S
        while wanted not in shown:
            assert time.monotonic() < ends_s, shown
            piece = os.read(ours, 65_536).decode(errors="replace")
            shown += piece
            yield piece
    finally:
        process.send_signal(signal.SIGINT)
        until(lambda: process.poll() is not None)
        os.close(ours)
    assert process.returncode == 128 + signal.SIGINT
