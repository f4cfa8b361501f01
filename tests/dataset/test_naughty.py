"""Naughty texts in documents: kept as they are, shown without harm, never run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bundle.dataset import macros, spec
from bundle.dataset.refusals import DatasetRefused
from bundle.dataset.spec import Dataset
from central import document
from central.cli.dataset import group
from tests.dataset.naughty import CLASSES, NAUGHTY, NEVER
from tests.loop.conftest import assert_sound, rehearse

SHOW = """#!/bin/sh
# writes what it was given, so that it can be compared with what was meant
printf '%s\\0' "$@" > given
printf '%s\\0' "$NAUGHTY" >> given
"""


def meant(text: str) -> str:
    """As it is written where macros are expanded."""
    return text.replace("$", "$$")


def values(texts: tuple[str, ...]) -> dict[str, Any]:
    arguments = [*map(meant, texts), "$(listed)", *(f"$(p{n})" for n in range(len(texts)))]
    return {
        "schema": 1,
        "name": texts[0][:255],
        "description": "\n".join(texts)[:16_000],
        "user": texts[-1][:255],
        "parameters": {f"p{n}": meant(one) for n, one in enumerate(texts)},
        "each": {"listed": [one.replace("$(", "$ (") for one in texts]},
        "sites": {"deny": [one[:255] for one in texts]},
        "steps": [
            {
                "name": "show",
                "script": SHOW,
                "arguments": arguments,
                "environment": {"NAUGHTY": meant(texts[0])},
                "outputs": ["given"],
            }
        ],
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_written_is_what_a_task_gets(kind: str) -> None:
    texts = CLASSES[kind]
    written = values(texts)
    read = [
        document.parse_text(json.dumps(written), None, "x.json"),
        document.parse_text(json.dumps(written, ensure_ascii=False), None, "x.json"),
        document.parse_text(yaml.safe_dump(written), None, "x.yaml"),
        document.parse_text(
            json.dumps(document.render(document.parse(written, None, "x"))), None, "x"
        ),
        spec.decode(spec.encode(document.parse(written, None, "x"))),
    ]
    for dataset in read:
        assert dataset == read[0]
        assert expanded(dataset, 0)[: len(texts)] == list(texts)
        assert expanded(dataset, 0)[len(texts) + 1 :] == list(texts)
        for job, one in enumerate(texts):
            assert expanded(dataset, job)[len(texts)] == one.replace("$(", "$ (")


def expanded(dataset: Dataset, job: int) -> list[str]:
    argv = dataset.steps[0].run.argv  # type: ignore[union-attr]
    return [macros.expand(text, dataset, 0, job) for text in argv[2:]]


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_shown_obeys_no_terminal(kind: str) -> None:
    stdin = json.dumps(values(CLASSES[kind]))
    said = CliRunner().invoke(group, ["check", "-"], input=stdin, catch_exceptions=False)
    assert said.exit_code == 0
    assert all(one.isprintable() for one in said.output.splitlines())


@pytest.mark.parametrize("text", NAUGHTY)
def test_as_the_name_of_a_file_or_a_step_it_is_refused_or_harmless(text: str) -> None:
    for place in ("name", "outputs"):
        step: dict[str, Any] = {"name": "s", "command": ["true"], "outputs": ["o"]}
        step[place] = [text] if place == "outputs" else text
        try:
            document.parse({"schema": 1, "name": "x", "jobs": 1, "steps": [step]}, None, "x")
        except DatasetRefused as refused:
            assert refused.text().isprintable()
        else:
            assert place == "outputs" or text.isascii()
            assert ".." not in text.split("/") and not text.startswith("/")
            assert not {"\n", "\r", "\x1b", "\x00"}.intersection(text)


@pytest.mark.parametrize("text", NEVER)
def test_what_no_process_can_be_given_is_refused_everywhere(text: str) -> None:
    whole = values(("fine",))
    step = whole["steps"][0]
    for changed in (
        {"name": text},
        {"description": text},
        {"each": {"listed": [text]}},
        {"user": text},
        {"steps": [step | {"arguments": [text]}]},
        {"steps": [step | {"environment": {"NAUGHTY": text}}]},
    ):
        with pytest.raises(DatasetRefused) as caught:
            document.parse(whole | changed, None, "x")
        assert caught.value.text().isprintable()


@pytest.mark.programs
def test_a_real_pilot_hands_every_one_of_them_to_its_program_unchanged(tmp_path: Path) -> None:
    some = tuple(one for one in NAUGHTY if len(one) < 1000)
    written = values(some) | {"sites": {}}
    written["steps"][0]["request"] = {"memory": "100MiB", "walltime": "5min"}
    file = tmp_path / "naughty.json"
    file.write_text(json.dumps(written))
    run = tmp_path / "run"
    summary = rehearse(file, run, "--jobs", "1")
    assert_sound(summary)
    assert (summary["done"], summary["failed"]) == (1, 0)
    listed = some[0].replace("$(", "$ (")
    given = "\0".join([*some, listed, *some, some[0]]) + "\0"
    digest = hashlib.sha256(given.encode()).digest()  # of the output, as its bundle states it
    archive = (run / "central" / "archive").rglob("*.pulk")
    assert any(digest in one.read_bytes() for one in archive)
    assert not list(run.rglob("pwned"))
