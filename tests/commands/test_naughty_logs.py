"""A payload that writes whatever a terminal, a browser or a reader of lines would obey."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from bundle.cli.main import run
from tests.commands.conftest import Production, served
from tests.commands.hook import Hook
from tests.dataset.naughty import CLASSES, NAUGHTY
from tests.loop.conftest import rehearse

FORGED = "== 99 at north: success"
RAW = (
    b"\xff\xfe no text\n\x00\n\x1b[2J\x1b]0;owned\x07\x9b31m\n"
    b"</pre><script>alert(1)</script>\nlooks fine\rreally\n\xe2\x80\xaekcab\n" + FORGED.encode()
)
WROTE = "\n".join(NAUGHTY).encode() + b"\n" + RAW
NAME = "</title><script>alert(1)</script>\x1b[31m\u202e"
STEP = "say"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """A central with a dataset whose only task wrote all that, to both of its streams."""
    root = tmp_path_factory.mktemp("naughty")
    (root / "one.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "name": NAME,
                "description": "\n".join(NAUGHTY)[:16_000],
                "jobs": 1,
                "files": {"wrote": {"base64": base64.b64encode(WROTE).decode()}},
                "steps": [
                    {
                        "name": STEP,
                        "files": ["wrote"],
                        "command": ["sh", "-c", "cat wrote; echo; cat wrote >&2; exit 3"],
                        "failures_max": 1,
                        "request": {"memory": "50MiB", "walltime": "2min"},
                    }
                ],
            }
        )
    )
    summary = rehearse(root / "one.json", root / "run")
    assert (summary["done"], summary["failed"], summary["lost"]) == (0, 1, 0)
    with served(root, summary["dataset"], Hook(), "") as made:
        yield made


@pytest.mark.programs
def test_what_was_written_comes_home_as_it_was(told: Production) -> None:
    [one] = told.json("dataset", "tasks", told.dataset, "0", STEP, "--logs")["attempts"]
    meant = WROTE.decode(errors="replace")
    assert one["log"] == f"{meant}\n{meant}"
    [again] = told.json("dataset", "attempts", told.dataset, "--logs")["attempts"]
    assert again["log"] == one["log"]
    assert again["evidence"].isprintable() and FORGED in again["evidence"]


@pytest.mark.programs
@pytest.mark.parametrize(
    "line",
    [
        "dataset tasks {0} 0 say --logs",
        "dataset tasks {0} 0 say",
        "dataset tasks {0}",
        "dataset jobs {0}",
        "dataset attempts {0}",
        "dataset attempts {0} --logs",
        "dataset show {0}",
        "dataset list",
        "dataset audit {0}",
        "dataset suspend --owner admin --dry-run",
        "tell {0}/0/say",
        "why {0}/0/say",
        "watch --once",
    ],
)
def test_none_of_it_steers_a_terminal_or_passes_for_words_of_ours(
    told: Production, line: str
) -> None:
    words = [word.format(told.dataset) for word in line.split()]
    said = told.pulk(*words).stdout
    assert all(one.isprintable() for one in said.split("\n"))
    assert not any(one.startswith(FORGED) for one in said.split("\n"))
    if "--logs" in words:
        shown = [one.strip() for one in said.split("\n")]
        assert all(one.strip() in shown for one in CLASSES["shell"])  # as they are, not obeyed
    as_json = told.pulk(*words, "--json").stdout
    assert as_json.isascii() and as_json.strip().isprintable()


@pytest.mark.programs
@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_asked_for_is_text_whatever_it_is(
    told: Production, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in told.environment.items():
        monkeypatch.setenv(name, value)
    for text in CLASSES[kind]:
        for option in ("--search", "--owner", "--group"):
            assert run(["dataset", "list", f"{option}={text[:200]}", "--json"]) == 0
            found = json.loads(capsys.readouterr().out)["datasets"]
            assert len(found) <= (option == "--search")
        assert run(["dataset", "suspend", f"--name={text}", "--dry-run", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["datasets"]
        assert bool(found) == (set(text) == {"*"})  # the one sign that stands for anything


@pytest.mark.programs
def test_nothing_of_it_was_run_and_the_crate_holds_it_as_text(told: Production) -> None:
    crate = told.home / "crate"
    told.pulk("dataset", "export", told.dataset, "--out", str(crate))
    about = json.loads((crate / "ro-crate-metadata.json").read_text())
    assert any(one.get("name") == NAME for one in about["@graph"])
    root = told.central.parent.parent
    assert not [path for path in root.rglob("*") if path.name.startswith("pwned")]
    page = (root / "run" / "site" / "status" / "index.html").read_text()
    assert "rehearsal" in page and "<script" not in page
