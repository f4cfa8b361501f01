"""`pulk dataset` against a small real HTTP server: what is sent, and what is never sent twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import click
import pytest
from click.testing import CliRunner

from bundle.client import NoAnswer
from bundle.dataset import spec
from central.cli.asking import NoSuchStep
from central.cli.controls import job_runs
from central.cli.dataset import group
from central.cli.sent import Sent

ID = "a" * 26
OTHER = "b" * 26
V = "/v1/datasets"
DOCUMENT = {"schema": 1, "name": "x", "jobs": 2, "steps": [{"name": "s", "command": ["true"]}]}

ABOUT = {
    "jobs": 2000,
    "steps": [
        {"step": 0, "name": "make", "per": "job", "needs": []},
        {"step": 1, "name": "sum[2]", "per": "dataset", "needs": [0]},
    ],
    "tasks": 2001,
    "submitted": "2026-01-02T03:04:05Z",
    "submitted_by": "anna",
    "cosigned_by": ["bela", "carla"],
    "control": "suspended",
}
USED = {"attempts": 1500, "wall_ms": 7_200_000, "cpu_ms": 3_600_000, "memory_peak_mib": 64}
COUNTS = [
    {"step": 0, "name": "make", "tasks": 2000, "counts": {"ready": 500, "done": 1500}, **USED},
    {"step": 1, "name": "sum[2]", "tasks": 1, "counts": {"held": 1}, **USED, "attempts": 0},
]


class Central(BaseHTTPRequestHandler):
    """Answers as central does, remembers requests; the first `broken` answers get lost."""

    seen: ClassVar[list[tuple[str, str, bytes]]]
    broken: ClassVar[int]

    def do_GET(self) -> None:
        rows = [{**ABOUT, "id": ID, "name": "x"}, {**ABOUT, "id": OTHER, "name": "y"}]
        asked = urlsplit(self.path)
        begins = parse_qs(asked.query).get("id", [""])[0]
        listed = [row for row in rows if row["id"].startswith(begins)]
        known: dict[str, object] = {V: {"datasets": listed, "next": None}, f"{V}/{ID}": rows[0]}
        known[f"{V}/{ID}/counts"] = {"steps": COUNTS}
        self._answer(known.get(asked.path, {"path": self.path}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen.append((self.path, self.headers["Idempotency-Key"], body))
        if type(self).broken:
            type(self).broken -= 1
            self.close_connection = True
            return
        self._answer({"id": ID, "digest": "d", "tasks": 2})

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Central]]:
    class Own(Central):
        seen: ClassVar[list[tuple[str, str, bytes]]] = []
        broken: ClassVar[int] = 0

    server = HTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "dataset.json").write_text(json.dumps(DOCUMENT))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PULK_CENTRAL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PULK_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.chdir(tmp_path)
    yield Own
    server.shutdown()
    server.server_close()


def pulk(*words: str, stdin: str = "") -> str:
    ran = CliRunner().invoke(group, words, input=stdin, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def test_a_document_is_sent_canonically_and_the_answer_shown(central: type[Central]) -> None:
    answer = json.loads(pulk("submit", "dataset.json", "--json"))
    assert answer["id"] == ID
    ((path, key, body),) = central.seen
    assert path == V
    assert len(key) == 32
    assert spec.decode(body).jobs == 2


def test_a_submission_whose_answer_got_lost_is_repeated_with_its_key(
    central: type[Central],
) -> None:
    central.broken = 1
    with pytest.raises(NoAnswer):
        pulk("submit", "dataset.json")
    pulk("submit", "dataset.json")
    pulk("submit", "dataset.json")
    first, again, on_purpose = (key for _, key, _ in central.seen)
    assert first == again
    assert again != on_purpose


def test_a_control_names_jobs_as_runs_and_ids_may_be_abbreviated(central: type[Central]) -> None:
    pulk("suspend", "aa", "--jobs", "0-9,12", "--step", "1")
    ((path, _, body),) = central.seen
    assert path == f"{V}/{ID}/controls"
    assert json.loads(body) == {"control": "suspend", "jobs": [[0, 10], [12, 1]], "steps": [1]}


def test_questions_are_passed_on(central: type[Central]) -> None:
    asked = json.loads(pulk("attempts", "b", "--step", "2", "--fate", "oom", "--json"))["path"]
    assert asked.startswith(f"{V}/{OTHER}/attempts?")
    assert "step=2" in asked
    assert "fate=oom" in asked
    assert "job=" not in asked
    assert json.loads(pulk("tasks", ID, "3", "1", "--json"))["path"] == f"{V}/{ID}/tasks/3/1"
    assert ID in pulk("list")


def test_steps_are_named_or_counted(central: type[Central]) -> None:
    task = f"{V}/{ID}/tasks/3/1"
    assert json.loads(pulk("tasks", "aa", "3", "sum[2]", "--json"))["path"] == task
    asked = json.loads(pulk("attempts", "aa", "--step", "make", "--json"))["path"]
    assert "step=0" in asked
    pulk("reset", "aa", "--step", "make", "--step", "1")
    assert json.loads(central.seen[-1][2])["steps"] == [0, 1]
    with pytest.raises(NoSuchStep, match=r"'mkae'; there are make, sum\[2\]"):
        pulk("tasks", "aa", "3", "mkae")


def test_a_dataset_is_shown_as_a_table_for_people(central: type[Central]) -> None:
    lines = pulk("show", "aa").splitlines()
    assert lines[0] == f"x  {ID}"
    assert lines[1:4] == [
        "  2,000 jobs, 2,001 tasks; done 1,500 (75.0%)",
        "  submitted 2026-01-02T03:04:05Z by anna; co-signed by bela, carla",
        "  control: suspended",
    ]
    head = ["step", "per", "needs", "tasks", "held", "ready", "done", "attempts"]
    assert lines[4].split()[:8] == head
    assert lines[6].split()[:8] == ["0", "make", "job", "2,000", "0", "500", "1,500", "1,500"]
    assert lines[7].split()[:7] == ["1", "sum[2]", "dataset", "make", "1", "1", "0"]
    assert json.loads(pulk("show", "aa", "--json"))["counts"] == COUNTS
    assert "sum[2]" in pulk("counts", "aa")


def test_who_names_no_central_is_told_of_the_variables(
    central: type[Central], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULK_TOKEN_FILE")
    said = CliRunner().invoke(group, ["list"])
    assert said.exit_code == 2
    assert "PULK_TOKEN_FILE" in said.output
    monkeypatch.delenv("PULK_CENTRAL")
    assert "PULK_CENTRAL" in CliRunner().invoke(group, ["submit", "dataset.json"]).output


def test_check_says_what_a_document_comes_to_without_any_central() -> None:
    answer = json.loads(pulk("check", "-", "--json", stdin=json.dumps(DOCUMENT)))
    assert (answer["ok"], answer["tasks"], answer["steps"]) == (
        True,
        2,
        [{"name": "s", "tasks": 2}],
    )


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "1,,2"])
def test_jobs_that_are_no_jobs_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        job_runs(text)


def test_the_journal_survives_a_torn_line(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    key = sent.key_for("one")
    with (tmp_path / "sent.jsonl").open("a") as file:
        file.write('{"key": "to\n')
    assert sent.key_for("one") == key
    sent.answered("one")
    assert sent.key_for("one") != key
