"""A recorded workflow becomes a dataset with exactly its DAG; what is unclear is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.dataset import graph
from bundle.dataset.refusals import CycleFound
from bundle.dataset.spec import Dataset, Synthetic
from bundle.errors import PulkError
from central import document
from central.cli.imports import group
from central.workflows import wfformat
from central.workflows.refusals import (
    DuplicateTask,
    NamesForIds,
    UnknownSchema,
    UnknownTask,
    WorkflowRefused,
)
from central.workflows.wfcommons import Scale, load
from tests.workflows.wfformat_files import modern, old, write


def edges_of(dataset: Dataset) -> set[tuple[str, str]]:
    steps = dataset.steps
    return {(steps[parent].name, step.name) for step in steps for parent in step.needs}


def run_of(dataset: Dataset, step: int) -> Synthetic:
    run = dataset.steps[step].run
    assert isinstance(run, Synthetic)
    return run


def test_edges_of_parents_and_children_unite_and_a_read_ancestor_adds_one(tmp_path: Path) -> None:
    made = load(write(tmp_path, modern()))
    assert edges_of(made.dataset) == {
        ("split_1", "work_2"),
        ("split_1", "work_3"),
        ("work_2", "join_4"),
        ("work_3", "join_4"),
        ("split_1", "join_4"),  # join reads what split wrote
    }
    assert any("join_4 reads /out/split.1 of split_1" in note for note in made.notes)


def test_a_file_that_nobody_wrote_is_generated_the_same_for_every_reader(tmp_path: Path) -> None:
    steps = load(write(tmp_path, modern())).dataset.steps
    assert steps[0].generated == steps[2].generated
    assert [(one.name, one.size_bytes) for one in steps[0].generated] == [("raw_data.txt", 1000)]


def test_times_memory_and_sizes_follow_the_record_and_the_scales(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, modern()), Scale(0.1, 0.5), "mine").dataset
    assert dataset.name == "mine"
    assert run_of(dataset, 0) == Synthetic(1000, 1000, 2, (1000,))  # 250 % of one thread is 100 %
    assert run_of(dataset, 1) == Synthetic(1000, 1000, 2, (15,))  # no avgCPU: 100 %
    assert run_of(dataset, 2) == Synthetic(500, 1000, 2, (1,))  # never an empty file
    assert all(
        s.request.memory_mib > run_of(dataset, n).memory_mib for n, s in enumerate(dataset.steps)
    )


def test_up_to_schema_1_4_parents_are_names_and_memory_is_in_kilobytes(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, old())).dataset
    assert edges_of(dataset) == {("first", "second")}
    assert dataset.steps[1].inputs[0].name == "a"
    assert run_of(dataset, 0) == Synthetic(4000, 4000, 2, (7,))


def test_an_old_file_that_uses_ids_throughout_is_read_by_ids(tmp_path: Path) -> None:
    value = old()
    value["workflow"]["jobs"][1]["parents"] = ["ID1"]
    value["workflow"]["jobs"][1]["name"] = "first"
    dataset = load(write(tmp_path, value)).dataset
    assert edges_of(dataset) == {("first", "first-2")}


def test_a_task_that_rewrites_its_input_reads_it_under_another_name(tmp_path: Path) -> None:
    value = old()
    value["workflow"]["jobs"][1]["files"].append({"link": "output", "name": "a", "size": 9})
    second = load(write(tmp_path, value)).dataset.steps[1]
    assert second.outputs[0].name == "a"
    assert second.inputs[0].name == "a-2"


def test_what_a_stranger_wrote_is_generated_and_said_so(tmp_path: Path) -> None:
    value = modern()
    value["workflow"]["specification"]["tasks"][1]["inputFiles"].append("/out/work.3")
    made = load(write(tmp_path, value))
    assert [one.name for one in made.dataset.steps[1].generated] == ["out_work.3"]
    assert any("need not run before" in note and "work_2" in note for note in made.notes)


def spoil(value: dict[str, Any], path: list[Any], new: Any) -> dict[str, Any]:
    """Put something else at a path of the file."""
    place: Any = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


TASKS = ["workflow", "specification", "tasks"]
RAN = ["workflow", "execution", "tasks"]
REFUSALS: list[tuple[list[Any], Any, type[PulkError], str, str]] = [
    ([*TASKS, 1, "parents"], ["split"], NamesForIds, "tasks[1].parents[0]", "split_1"),
    ([*TASKS, 0, "children"], ["work"], NamesForIds, "tasks[0].children[0]", "work_2 or work_3"),
    (
        [*TASKS, 1, "parents"],
        ["splat_1"],
        UnknownTask,
        "tasks[1].parents[0]",
        "did you mean split_1",
    ),
    ([*TASKS, 1, "parents"], [7], WorkflowRefused, "tasks[1].parents[0]", "expected text"),
    ([*TASKS, 1, "parents"], "split_1", WorkflowRefused, "tasks[1].parents", "expected an array"),
    ([*TASKS, 1, "id"], "split_1", DuplicateTask, "tasks[1].id", "tasks[0] has this id"),
    ([*TASKS, 1, "id"], None, WorkflowRefused, "tasks[1].id", "missing"),
    ([*TASKS, 1], 5, WorkflowRefused, "tasks[1]", "expected an object"),
    ([*TASKS, 0, "parents"], ["join_4"], CycleFound, "workflow.specification.tasks[", "circle"),
    (TASKS, [], WorkflowRefused, "workflow.specification.tasks", "no tasks"),
    (TASKS, None, WorkflowRefused, "workflow.specification.tasks", "missing"),
    ([*RAN, 0, "runtimeInSeconds"], -1, WorkflowRefused, "tasks[0].runtimeInSeconds", "negative"),
    ([*RAN, 0, "runtimeInSeconds"], "9", WorkflowRefused, "tasks[0].runtimeInSeconds", "number"),
    ([*RAN, 0, "runtimeInSeconds"], True, WorkflowRefused, "tasks[0].runtimeInSeconds", "number"),
    ([*RAN, 0, "runtimeInSeconds"], 1e300, WorkflowRefused, "tasks[0].runtime", "too large"),
    ([*RAN, 0, "runtimeInSeconds"], 1e12, PulkError, "tasks[0]", "milliseconds"),
    ([*RAN, 0, "id"], "gone", UnknownTask, "execution.tasks[0].id", "gone"),
    ([*RAN, 1, "id"], "split_1", DuplicateTask, "execution.tasks[1].id", "split_1"),
    ([*RAN, 0, "memoryInBytes"], -5, WorkflowRefused, "tasks[0].memoryInBytes", "negative"),
    (
        ["workflow", "specification", "files", 0, "sizeInBytes"],
        -1,
        WorkflowRefused,
        "files[0].sizeInBytes",
        "negative",
    ),
    (["schemaVersion"], "2.0", UnknownSchema, "schemaVersion", "1.0 to 1.5"),
    (["schemaVersion"], 1.5, WorkflowRefused, "schemaVersion", "expected text"),
    (["workflow"], None, WorkflowRefused, "workflow", "missing"),
    (["workflow"], {"tasks": []}, WorkflowRefused, "workflow.specification", "missing"),
]


@pytest.mark.parametrize(("path", "new", "error", "where", "words"), REFUSALS)
def test_a_mistake_is_refused_with_file_path_and_remedy(
    tmp_path: Path, path: list[Any], new: Any, error: type[PulkError], where: str, words: str
) -> None:
    file = write(tmp_path, spoil(modern(), path, new))
    with pytest.raises(error) as caught:
        load(file)
    assert caught.value.where.startswith(str(file))
    assert where in caught.value.where
    assert words in caught.value.text()
    assert caught.value.diagnostics()["remedy"]


def test_an_old_name_that_fits_two_tasks_is_refused(tmp_path: Path) -> None:
    value = old()
    value["workflow"]["jobs"].append(dict(value["workflow"]["jobs"][0], id="ID3"))
    with pytest.raises(DuplicateTask, match=r"workflow\.jobs\[1\]\.parents\[0\]"):
        load(write(tmp_path, value))


@pytest.mark.parametrize("at", [0, 1, 100, -2])
def test_a_truncated_file_is_refused(tmp_path: Path, at: int) -> None:
    with pytest.raises(WorkflowRefused, match="JSON"):
        load(write(tmp_path, json.dumps(modern())[:at]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([row[0] for row in REFUSALS]), JSON)
def test_any_value_anywhere_is_read_or_refused_but_never_a_crash(
    tmp_path: Path, path: list[Any], new: Any
) -> None:
    try:
        load(write(tmp_path, spoil(modern(), path, new)))
    except PulkError as error:
        assert error.where.startswith(str(tmp_path))


def test_the_command_prints_a_document_that_loads_again(tmp_path: Path) -> None:
    file = write(tmp_path, modern())
    ran = CliRunner().invoke(group, ["wfcommons", str(file), "--time-scale", "0.5"])
    assert ran.exit_code == 0
    assert "note:" in ran.stderr
    assert document.parse_text(ran.stdout, None, "stdin") == load(file, Scale(0.5)).dataset
    assert "rm -rf" not in ran.stdout  # the recorded commands are nobody's business


def test_ten_thousand_tasks_with_a_fan_in_of_six_thousand_load_in_seconds(tmp_path: Path) -> None:
    leaves = [f"leaf{n}" for n in range(9_999)]
    tasks = [
        {"id": leaf, "name": "leaf", "parents": [], "outputFiles": [f"{leaf}.out"]}
        for leaf in leaves
    ]
    outputs = [f"{leaf}.out" for leaf in leaves]
    tasks.append({"id": "all", "parents": leaves[:6000], "inputFiles": outputs[:7000]})
    value = {"schemaVersion": "1.5", "workflow": {"specification": {"tasks": tasks}}}
    begun = time.monotonic()
    made = load(write(tmp_path, value))
    assert time.monotonic() - begun < 20  # a quadratic reader takes minutes
    last = made.dataset.steps[-1]
    assert (len(last.needs), len(last.inputs), len(last.generated)) == (6000, 6000, 1000)


def counted(path: Path) -> tuple[int, set[tuple[int, int]]]:
    """Count tasks and edges of a real file without the program: places of parent and child."""
    value = json.loads(path.read_text())
    workflow = value["workflow"]
    is_old = value["schemaVersion"] < "1.5"
    rows = workflow.get("tasks") or workflow.get("jobs") or workflow["specification"]["tasks"]
    place = {row["name" if is_old else "id"]: n for n, row in enumerate(rows)}
    edges = {(place[p], n) for n, row in enumerate(rows) for p in row["parents"]}
    edges |= {(n, place[c]) for n, row in enumerate(rows) for c in row["children"]}
    return len(rows), edges


def test_every_real_instance_keeps_its_tasks_and_its_edges(workflows: Path) -> None:
    files = sorted(workflows.rglob("*.json"))
    assert files
    for file in files:
        tasks, edges = counted(file)
        recorded = wfformat.read(file)
        found = {(p, n) for n, task in enumerate(recorded.tasks) for p in task.parents}
        assert (len(recorded.tasks), found) == (tasks, edges), file.name
        made = load(file, Scale(0.01, 0.001))
        needs = {(p, n) for n, step in enumerate(made.dataset.steps) for p in step.needs}
        assert len(made.dataset.steps) == tasks
        assert edges, file.name
        assert needs == edges, file.name  # no real instance reads past its parents
        printed = json.dumps(document.render(made.dataset))
        assert document.parse_text(printed, None, "stdin") == made.dataset
        assert len(graph.order(made.dataset)) == tasks


def test_the_same_workflow_in_every_old_schema_is_the_same_dataset(workflows: Path) -> None:
    files = sorted((workflows / "old_schema").glob("*.json"))
    made = [load(file, Scale(), "same").dataset for file in files]
    assert len(made) == 5
    assert all(one.steps == made[0].steps for one in made)


def test_a_file_that_is_no_json_is_refused(workflows: Path) -> None:
    with pytest.raises(WorkflowRefused, match="not JSON"):
        load(workflows / "sipht.dax")
