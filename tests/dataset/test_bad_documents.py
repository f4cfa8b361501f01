"""Bad documents of all three kinds: each error says where, by line and path, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundle.dataset.refusals import DatasetRefused
from central import document

YAML = """\
schema: 1
name: two
jobs: 12
parameters:
  events: 1000
steps:
  - name: make
    command: [python3, run.py, "$(seed)", "$(events)"]
    outputs: [made.npy]
    request:
      memory: 200MiB
      walltime: 5min
  - name: sum
    per: dataset
    needs:
      - make
    inputs: ["make:made.npy"]
    script: |
      #!/bin/sh
      cat */made.npy > all
    outputs: [all]
"""
TOML = """\
schema = 1
name = "two"
jobs = 12
[parameters]
events = 1000

[[steps]]
name = "make"
command = [
  "python3",
  "$(events)",
]
[steps.request]
memory = "200MiB"

[[steps]]
name = "sum"
per = "dataset"
needs = ["make"]
command = ["true"]
"""
JSON = json.dumps(
    {
        "schema": 1,
        "name": "two",
        "jobs": 12,
        "steps": [{"name": "make", "command": ["true"]}, {"name": "sum", "command": ["true"]}],
    },
    indent=1,
)

# what is replaced in which text, by what; line, path, words of the error, words of the remedy
BAD: list[tuple[str, str, str, int, str, str, str]] = [
    (YAML, "jobs: 12", "jbos: 12", 3, "jbos", "no such key", "did you mean jobs?"),
    (YAML, "jobs: 12", "jobs: twelve", 3, "jobs", "integer", "docs/dataset-document.md"),
    (YAML, "jobs: 12", "jobs: 012", 3, "", "readers of YAML disagree", "correct it"),
    (YAML, "jobs: 12", "jobs: 12:30", 3, "", "readers of YAML disagree", "correct it"),
    (YAML, "name: two", "name: no", 2, "", 'write "no"', "correct it"),
    (YAML, "name: two", "name: &a two", 2, "", "", ""),
    (YAML, "jobs: 12", "jobs: *a", 3, "", "aliases are not taken", "correct it"),
    (YAML, "  - name: sum", "  - name: sum\n    name: x", 14, "", "stands twice", "correct it"),
    (YAML, "per: dataset", "per: datset", 14, "steps[1].per", "'job', 'block'", "correct it"),
    (YAML, "per: dataset", "per: block", 13, "steps[1]", "jobs_per_task go together", "correct"),
    (YAML, "- make\n", "- mkae\n", 16, "steps[1].needs[0]", "no step 'mkae'", "mean make?"),
    (YAML, "- make\n", "- {dataset: x}\n", 16, "steps[1].needs[0].step", "is missing", "add it"),
    (
        YAML,
        "- make\n",
        "- {dataset: x, step: make}\n",
        16,
        "steps[1].needs[0].dataset",
        "'x' is no id, and nobody can be asked",
        "correct",
    ),
    (
        YAML,
        "- make\n",
        f"- make\n      - {{dataset: {'a' * 26}, step: make, jobs: same}}\n",
        17,
        "steps[1].needs[1].jobs",
        'write jobs = "all"',
        "correct",
    ),
    (YAML, "make:made.npy", "make:mad.npy", 17, "steps[1].inputs[0]", "no output", "made.npy?"),
    (YAML, "$(events)", "$(evnts)", 8, "steps[0].command[3]", "names no macro", "mean events?"),
    (YAML, "$(events)", "$(=job // 0)", 8, "steps[0].command[3]", "must not be 0", "correct"),
    (YAML, "200MiB", "200 parsecs", 11, "steps[0].request.memory", "no", "20kB, 200MiB"),
    (YAML, "5min", "5", 12, "steps[0].request.walltime", "unit is missing", "30min"),
    (YAML, "#!/bin/sh", "#!", 18, "steps[1].script", "names no program", "correct"),
    (YAML, "jobs: 12", "jobs: 12\ngrid: {x: [1, 2, 3, 4, 5]}", 3, "jobs", "multiple of the 5", ""),
    (YAML, "jobs: 12", "grid: {x: {from: 3, to: 1}}", 3, "grid.x", "no steps of 1", "correct"),
    (YAML, "jobs: 12", "each: {x: [1, 2], y: [1]}", 3, "each", "move together", "correct"),
    (YAML, "jobs: 12\n", "", 1, "jobs", "missing", "a [grid] or [each]"),
    (YAML, "jobs: 12", "jobs: 0", 3, "jobs", "allowed is 1 to", "correct the number"),
    (YAML, "outputs: [all]", "outputs: [../all]", 21, "steps[1].outputs[0]", "..", "relative"),
    (YAML, "outputs: [all]", "outputs: [all", 22, "", "", "correct"),
    (TOML, "jobs = 12", "jobs = ", 3, "", "not TOML", "correct the TOML"),
    (TOML, '"$(events)"', '"$(event)"', 11, "steps[0].command[1]", "names no", "mean events?"),
    (TOML, "200MiB", "lots", 14, "steps[0].request.memory", "not a quantity", "200MiB"),
    (TOML, 'needs = ["make"]', 'needs = ["sum"]', 19, "steps[1].needs", "circle", "remove one"),
    (TOML, 'name = "sum"', 'name = "make"', 17, "steps[1].name", "taken by", "another name"),
    (TOML, 'name = "sum"', 'name = "a b"', 17, "steps[1].name", "not usable", "letters, digits"),
    (TOML, "events = 1000", "job = 1000", 5, "parameters.job", "built-in", "another name"),
    (JSON, '"jobs": 12', '"jobs": 12.5', 4, "jobs", "integer", "correct it"),
    (JSON, '"sum",', '"sum", "comand": [],', 13, "steps[1].comand", "no such key", "command?"),
    (JSON, '"jobs": 12,', '"jobs": 12, "jobs": 13,', 0, "", "stands twice", "correct the JSON"),
    (JSON, '"jobs": 12,', '"jobs" 12,', 4, "", "not JSON", "correct the JSON"),
]


@pytest.mark.parametrize(("text", "old", "new", "line", "path", "words", "remedy"), BAD)
def test_a_bad_document_is_refused_with_line_path_and_remedy(
    tmp_path: Path, text: str, old: str, new: str, line: int, path: str, words: str, remedy: str
) -> None:
    assert text.count(old) >= 1
    end = {YAML: "yaml", TOML: "toml", JSON: "json"}[text]
    file = tmp_path / f"bad.{end}"
    file.write_text(text.replace(old, new, 1))
    if not (words or path or remedy):  # an anchor that nobody names is only a word
        assert document.load(file).name == "two"
        return
    with pytest.raises(DatasetRefused) as caught:
        document.load(file)
    where = f"{file}:{line}" if line else str(file)
    where += f": {path}" if path else ""
    assert caught.value.where == where
    said = caught.value.text()
    assert words in said
    assert remedy in said
    assert caught.value.diagnostics()["remedy"]


@pytest.mark.parametrize("text", [YAML, TOML, JSON])
def test_the_documents_themselves_are_good_whatever_their_file_is_called(text: str) -> None:
    assert document.parse_text(text, None, "stdin").name == "two"
    with_comment = text if text == JSON else "# what this is\n\n" + text
    assert document.parse_text(with_comment, None, "stdin").jobs == 12


def test_every_mistake_of_a_document_has_its_line() -> None:
    wrong = YAML.replace("jobs: 12", "jobs: x").replace("per: dataset", "pre: dataset")
    with pytest.raises(document.DocumentRefused) as caught:
        document.parse_text(wrong, None, "a.yaml")
    others: Any = caught.value.fields["others"]
    assert caught.value.where == "a.yaml:3: jobs"
    assert others == ["a.yaml:14: steps[1].pre: there is no such key"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{above}'] * 9)}]\n"
    for above, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE_YAML = {
    "a bomb of aliases": BOMB,
    "a merge key": "base: {x: 1}\n<<: {y: 2}\n",
    "an object of Python": "name: !!python/object/apply:os.system ['touch here']\n",
    "a tag of its own": "name: !secret x\n",
    "two documents": "schema: 1\n---\nschema: 1\n",
    "nested beyond reason": "[" * 500 + "]" * 500,
    "a table for a key": "? {a: 1}\n: x\n",
    "a tab": "schema:\n\t- 1\n",
    "a control character": "name: \x01\n",
    "nothing": "# only words\n---\n",
    "a list": "- schema\n- name\n",
    "a text": "schema",
    "not a number": "schema: .nan\n",
    "base sixty": "schema: 1\nname: x\njobs: 1:00\n",
    "underscores": "schema: 1\njobs: 1_000\n",
    "a word for true": "schema: 1\nname: Yes\n",
}


@pytest.mark.parametrize("text", HOSTILE_YAML.values(), ids=HOSTILE_YAML.keys())
def test_hostile_yaml_is_refused_with_a_declared_error(text: str) -> None:
    with pytest.raises(DatasetRefused):
        document.parse_text(text, None, "a.yaml")


SAME = [
    ("x: 1", 1), ("x: -2", -2), ("x: 1.5", 1.5), ("x: 1e3", 1000.0), ("x: true", True),
    ("x: ~", None), ("x:", None), ('x: "no"', "no"), ("x: 'on'", "on"),
    ("x: 2027-01-31", "2027-01-31"),
    ("x: 1.2.3", "1.2.3"), ("x: no way", "no way"), ("x: |\n  a\n  b\n", "a\nb\n"), ("x: y", "y"),
    ('x: "12:30"', "12:30"), ("x: 0x1f7e", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SAME)
def test_a_value_is_what_every_reader_of_yaml_says_or_is_refused(text: str, value: object) -> None:
    if text.endswith("0x1f7e"):
        with pytest.raises(document.DocumentRefused, match="disagree"):
            document.values(text, "a.yaml")
        return
    assert document.values(text, "a.yaml")[0] == {"x": value}
