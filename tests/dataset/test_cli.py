"""`pulk dataset` against a small real HTTP server: what is sent, and what is never sent twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click
import pytest
from click.testing import CliRunner

from bundle.client import NoAnswer
from bundle.dataset import spec
from central.cli.dataset import group, job_runs
from central.cli.sent import Sent

ID = "a" * 26
OTHER = "b" * 26
DOCUMENT = {"schema": 1, "name": "x", "jobs": 2, "steps": [{"name": "s", "command": ["true"]}]}


class Central(BaseHTTPRequestHandler):
    """Answers as central does, remembers requests; the first `broken` answers get lost."""

    seen: ClassVar[list[tuple[str, str, bytes]]]
    broken: ClassVar[int]

    def do_GET(self) -> None:
        rows = [{"id": ID, "name": "x"}, {"id": OTHER, "name": "y"}]
        self._answer({"datasets": rows} if self.path == "/datasets" else {"path": self.path})

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
    assert path == "/datasets"
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
    assert path == f"/datasets/{ID}/controls"
    assert json.loads(body) == {"control": "suspend", "jobs": [[0, 10], [12, 1]], "steps": [1]}


def test_questions_are_passed_on(central: type[Central]) -> None:
    asked = json.loads(pulk("attempts", "b", "--step", "2", "--fate", "oom", "--json"))["path"]
    assert asked.startswith(f"/datasets/{OTHER}/attempts?")
    assert "step=2" in asked
    assert "fate=oom" in asked
    assert "job=" not in asked
    assert json.loads(pulk("tasks", ID, "3", "1", "--json"))["path"] == f"/datasets/{ID}/tasks/3/1"
    assert ID in pulk("list")


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
