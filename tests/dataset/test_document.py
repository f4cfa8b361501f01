"""A dataset document is read whole, or refused with file, path, reason and remedy."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bundle import shape
from bundle.dataset import spec
from bundle.dataset.abilities import Checkpoint, Elastic
from bundle.dataset.refusals import (
    BeyondLimit,
    CycleFound,
    DatasetRefused,
    DuplicateName,
    NotNeeded,
    ParameterCycle,
    UnknownOutput,
    UnknownStep,
    UnresolvedMacro,
    UnsafeName,
)
from bundle.dataset.spec_hash import spec_hash
from central import document

GOOD = """
schema = 1
name = "two steps"
jobs = 3
seed = 7
[parameters]
energy = 1e5
[files."run.py"]
from = "run.py"
[[steps]]
name = "make"
command = ["python3", "run.py", "$(seed)", "$(energy)"]
files = ["run.py"]
outputs = ["made.npy", { name = "log", keep = true }]
request = { cpu = 0.5, memory = 0.25, disk = "20MB", walltime = "5min" }
[[steps]]
name = "sum"
per = "dataset"
needs = ["make"]
inputs = [{ from = "make:made.npy", as = "one.npy" }]
outputs = ["sum"]
synthetic = { cpu = "0.2s", wall = 1, memory = "20MiB", outputs = ["1kB"] }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run.py").write_text("print(1)\n")
    return tmp_path


def read(folder: Path, text: str) -> spec.Dataset:
    path = folder / "dataset.toml"
    path.write_text(text)
    return document.load(path)


def test_names_become_indexes_and_quantities_have_units(folder: Path) -> None:
    dataset = read(folder, GOOD)
    make, total = dataset.steps
    assert make.run == spec.Command(("python3", "run.py", "$(seed)", "$(energy)"))
    assert make.request == spec.Request(500, 0, 256, 20_000_000, 300_000)
    assert make.outputs == (spec.Output("made.npy"), spec.Output("log", keep=True))
    assert total.needs == (0,)
    assert total.inputs == (spec.Input(0, 0, "one.npy"),)
    assert total.run == spec.Synthetic(200, 1000, 20, (1000,))
    assert dataset.files == (("run.py", b"print(1)\n"),)
    assert dataset.parameters == (("energy", "100000.0"),)


def test_without_inputs_a_step_reads_every_output_of_its_parents(folder: Path) -> None:
    text = GOOD.replace('inputs = [{ from = "make:made.npy", as = "one.npy" }]\n', "")
    inputs = read(folder, text).steps[1].inputs
    assert inputs == (spec.Input(0, 0, "made.npy"), spec.Input(0, 1, "log"))


def test_what_is_rendered_is_read_back_equal(folder: Path) -> None:
    dataset = read(folder, GOOD)
    rendered = json.dumps(document.render(dataset))
    assert document.parse_text(rendered, None, "stdin") == dataset
    assert spec.decode(spec.encode(dataset)) == dataset


def test_an_image_is_read_carried_and_changes_the_result_of_its_step_alone(folder: Path) -> None:
    plain = read(folder, GOOD)
    text = GOOD.replace('name = "make"', 'name = "make"\ncontainer = "docker://tiny:1"')
    contained = read(folder, text)
    assert [step.container for step in contained.steps] == ["docker://tiny:1", ""]
    rendered = json.dumps(document.render(contained))
    assert document.parse_text(rendered, None, "stdin") == contained
    assert spec.decode(spec.encode(contained)) == contained
    assert spec_hash(contained, 0) != spec_hash(plain, 0)
    assert spec_hash(contained, 1) == spec_hash(plain, 1)
    for place, word in (("make", "-writable"), ("sum", "docker://tiny:1")):
        wrong = GOOD.replace(f'name = "{place}"', f'name = "{place}"\ncontainer = "{word}"')
        with pytest.raises(DatasetRefused, match=r"option|built-in"):
            read(folder, wrong)


ABLE = 'checkpoint = "state"\nelastic = { cpus_max = 4, memory_max = "2GiB", shrinks = true }\n'


def test_what_a_step_is_able_to_do_is_read_carried_and_changes_no_result(folder: Path) -> None:
    plain, text = read(folder, GOOD), GOOD.replace('needs = ["make"]', 'needs = ["make"]\n' + ABLE)
    able = read(folder, text)
    assert able.steps[1].checkpoint == Checkpoint(("state",), "USR1", 0)
    assert able.steps[1].elastic == Elastic(4000, 2048, shrinks=True)
    rendered = json.dumps(document.render(able))
    assert document.parse_text(rendered, None, "stdin") == able
    assert spec.decode(spec.encode(able)) == able != plain
    assert spec_hash(able, 1) == spec_hash(plain, 1)
    assert b"checkpoint" not in spec.encode(plain) and b"elastic" not in spec.encode(plain)


def test_a_default_ability_is_refused_on_the_wire(folder: Path) -> None:
    wire = spec.to_wire(read(folder, GOOD))
    wire["steps"][0]["elastic"] = {
        "cpu_milli_max": 0,
        "memory_mib_max": 0,
        "shrinks": False,
        "signal": "",
    }
    with pytest.raises(shape.WrongShape):
        spec.from_wire(wire)


REFUSALS = [
    (
        'needs = ["make"]',
        'needs = ["make"]\ncheckpoint = "sum"',
        DuplicateName,
        "checkpoint",
        "an output",
    ),
    (
        'needs = ["make"]',
        'needs = ["make"]\ncheckpoint = "../s"',
        UnsafeName,
        "steps[1].checkpoint",
        "../s",
    ),
    (
        'needs = ["make"]',
        'needs = ["make"]\ncheckpoint = { files = ["s"], signal = "KILL" }',
        document.DocumentRefused,
        "signal",
        "USR1",
    ),
    ('needs = ["make"]', 'needs = ["mkae"]', UnknownStep, "steps[1].needs[0]", "make"),
    ("jobs = 3", "jobs = -3", BeyondLimit, "jobs", "-3"),
    ("jobs = 3", "jobs = 0", BeyondLimit, "jobs", "0"),
    ("jobs = 3", "jobs = 4294967297", BeyondLimit, "jobs", "4294967297"),
    ("jobs = 3", 'jobs = "3"', document.DocumentRefused, "jobs", "integer"),
    ("jobs = 3", "jbos = 3", document.DocumentRefused, "jbos", "did you mean jobs?"),
    ("schema = 1", "schema = 2", document.DocumentRefused, "schema", "1"),
    ("$(energy)", "$(enregy)", UnresolvedMacro, "steps[0].command[3]", "did you mean energy?"),
    ("$(energy)", "$(energy", UnresolvedMacro, "steps[0].command[3]", "close it"),
    ("energy = 1e5", 'job = "1"', DuplicateName, "parameters.job", "built-in"),
    ("energy = 1e5", 'energy = "$(energy)"', ParameterCycle, "parameters.energy", "$(energy)"),
    ('name = "sum"\n', 'name = "make"\n', DuplicateName, "steps[1].name", "steps[0]"),
    ('name = "sum"\n', 'name = "a:b"\n', UnsafeName, "steps[1].name", "a:b"),
    ('["sum"]', '["../sum"]', UnsafeName, "steps[1].outputs[0]", "../sum"),
    ('["sum"]', '["/etc/sum"]', UnsafeName, "steps[1].outputs[0]", "absolute"),
    ('["sum"]', '["sum-$(job)"]', UnsafeName, "steps[1].outputs[0]", "macros"),
    ('["sum"]', '["one.npy"]', DuplicateName, "steps[1].outputs[0]", "an input"),
    ('["sum"]', '["0/sum"]', DuplicateName, "steps[1].outputs[0]", "folders of the jobs"),
    ('"make:made.npy"', '"make:mad.npy"', UnknownOutput, "steps[1].inputs[0]", "made.npy?"),
    ('"make:made.npy"', '"sum:sum"', NotNeeded, "steps[1].inputs[0]", "add sum to needs"),
    ('files = ["run.py"]', 'files = ["rnu.py"]', DatasetRefused, "steps[0].files[0]", "run.py?"),
    ('from = "run.py"', 'from = "../run.py"', DatasetRefused, 'files."run.py".from', "outside"),
    ('from = "run.py"', 'from = "gone.py"', DatasetRefused, 'files."run.py".from', "no file"),
    ('cpu = "0.2s"', 'cpu = "-0.2s"', document.DocumentRefused, "synthetic.cpu", "negative"),
    ('["1kB"]', '["1kB", 2]', DatasetRefused, "steps[1].synthetic.outputs", "2 sizes for 1"),
    ('"5min"', "300", document.DocumentRefused, "steps[0].request.walltime", "unit"),
    ("memory = 0.25", "memry = 0.25", document.DocumentRefused, "request.memry", "memory?"),
    ('["python3", "run.py"', '["", "run.py"', DatasetRefused, "steps[0].command", "no program"),
    (
        'name = "make"',
        'name = "make"\nneeds = ["sum"]',
        CycleFound,
        "steps[0].needs",
        "make -> sum",
    ),
    (
        'name = "make"',
        'name = "make"\nneeds = ["make"]',
        CycleFound,
        "steps[0].needs",
        "make -> make",
    ),
    ("schema = 1", "schema = ", document.DocumentRefused, "", "not TOML"),
]


@pytest.mark.parametrize(("old", "new", "error", "path", "words"), REFUSALS)
def test_a_mistake_is_refused_where_it_stands(
    folder: Path, old: str, new: str, error: type[DatasetRefused], path: str, words: str
) -> None:
    assert old in GOOD
    with pytest.raises(error) as caught:
        read(folder, GOOD.replace(old, new))
    assert caught.value.where.startswith(str(folder / "dataset.toml"))
    assert path in caught.value.where
    assert words in caught.value.text()
    assert caught.value.diagnostics()["remedy"]


def test_both_payloads_or_none_are_refused(folder: Path) -> None:
    with pytest.raises(
        document.DocumentRefused, match="exactly one of command, script and synthetic"
    ):
        read(folder, GOOD.replace("synthetic =", 'command = ["true"]\nsynthetic ='))


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 1, "name": "x", "jobs": 1, "jobs": 2, "steps": []}',
        '{"schema": 1, "name": "x", "jobs": NaN, "steps": []}',
        '{"schema": 1, "name": "x", "jobs": 1',
        '{"a": ' * 100_000,
        "{}",
        "",
        '{"schema": 1, "name": "x", "jobs": 1, "steps": []}',
        '{"schema": 1, "name": "\\ud800", "jobs": 1, "steps": [{"name": "a", "command": ["a"]}]}',
        '{"schema": 1, "name": "x", "jobs": 1, "steps": [{"name": "a", "command": ["a\\u0000"]}]}',
        '{"schema": 1, "name": "x", "jobs": 1, "steps": [{"name": "a", "command": []}]}',
        '{"schema": 1, "name": "x", "jobs": 1, "steps": {"name": "a"}}',
    ],
)
def test_hostile_json_is_refused_with_a_declared_error(text: str) -> None:
    with pytest.raises(DatasetRefused):
        document.parse_text(text, None, "stdin")


@pytest.mark.parametrize("kind", ["missing", "folder", "latin"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "document"
    if kind == "folder":
        path.mkdir()
    elif kind == "latin":
        path.write_bytes(b'name = "\xe9"')
    with pytest.raises(document.DocumentRefused, match="document"):
        document.load(path)


def test_a_document_without_a_folder_reads_no_file(folder: Path) -> None:
    with pytest.raises(DatasetRefused, match="cannot name files"):
        document.parse_text(GOOD, None, "stdin")


def test_ten_thousand_steps_with_a_fan_in_of_six_thousand_load_in_seconds() -> None:
    steps = [
        {"name": f"s{n}", "synthetic": {"cpu": "1ms"}, "outputs": ["out"]} for n in range(9_999)
    ]
    inputs = [{"from": f"s{n}:out", "as": f"in{n}"} for n in range(6_000)]
    needs = [f"s{n}" for n in range(6_000)]
    steps.append({"name": "all", "synthetic": {}, "needs": needs, "inputs": inputs})
    text = json.dumps({"schema": 1, "name": "wide", "jobs": 1, "steps": steps})
    begun = time.process_time()
    dataset = document.parse_text(text, None, "stdin")
    assert time.process_time() - begun < 30  # a quadratic reader takes minutes
    assert len(dataset.steps[-1].inputs) == 6_000
