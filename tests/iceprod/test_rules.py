"""Rules of IceProd that other configs rely on: each small config with its commands, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bundle.dataset import macros
from bundle.dataset.spec import Command
from central.iceprod.model import Weight
from central.iceprod.read import read
from central.iceprod.refusals import EndlessMacro, IceprodRefused
from central.iceprod.stand_in import stand_in
from central.iceprod.translate import Imported, Wanted, commands
from tests.iceprod.configs import Values, made, one_module

JOBS = (0, 1, 999)
SHELL = {"env_clear": False}


def lines(imported: Imported, job: int, step: int = 0) -> list[str]:
    """Return the lines of a step's script without its head and comments."""
    command = imported.dataset.steps[step].run
    assert isinstance(command, Command)
    text = macros.expand(command.argv[-1], imported.dataset, step, job)
    return [one for one in text.splitlines()[2:] if not one.startswith("# ")]


def args(value: Any, job: int = 0, parameters: Values | None = None, **module: Any) -> str:
    """Return what a program is given; the document and IceProd's rules say the same."""
    config = one_module(parameters, args=value, **SHELL, **module)
    imported = made(config, jobs=1000)
    assert not imported.lost(), imported.remarks
    alone = commands(read(config), Wanted(1000), job)["only"][-1]
    assert lines(imported, job)[-1] == alone
    return alone.removeprefix("python run.py").lstrip()


def temporary(local: str, movement: str = "output", **more: Any) -> Values:
    return {"type": "job_temp", "movement": movement, "local": local} | more


@pytest.mark.parametrize("job", JOBS)
def test_input_and_output_name_the_files_of_the_scope_that_was_entered_last(job: int) -> None:
    """Inner scopes first; a module's parameters still see what the module before had."""
    config = one_module(args="$(input) : $options(output)", **SHELL)
    task = config["tasks"][0]
    task["data"] = [
        temporary("a.$(job)"),
        {"type": "permanent", "movement": "input", "remote": "http://x/in.gz"},
        {"type": "permanent", "remote": "http://x/no.gz", "transfer": "no"},
    ]
    tray = task["trays"][0] | {"iterations": 2, "data": [temporary("t.$(iter)", "both")]}
    second = {"src": "b.sh", "args": "$(seen)", "parameters": {"seen": "$(output)"}, **SHELL}
    tray["modules"] = [tray["modules"][0] | {"data": [temporary("m")]}, second]
    task["trays"] = [tray]
    assert [one for one in lines(made(config), job) if one.startswith(("python", "/bin"))] == [
        f"python run.py t.0 in.gz : m t.0 a.{job}",
        f"/bin/sh b.sh m t.0 a.{job}",
        f"python run.py t.1 in.gz : m t.1 a.{job}",
        f"/bin/sh b.sh m t.1 a.{job}",
    ]


def test_four_variables_of_the_environment_are_left_to_the_shell_of_the_node() -> None:
    config = one_module(
        {"models": "$environ(SROOT)/models"},
        src="$environ(I3_BUILD)/run.py",
        args="$(models) $environ(I3_SRC) $environ(OS_ARCH)",
        env_shell="/sw/env.sh v1",
        **SHELL,
    )
    config["tasks"][0]["trays"][0]["modules"].append({"src": "$environ(SROOT)/x", **SHELL})
    found = lines(made(config), 7)
    assert found[-4] == "/sw/env.sh v1 python $I3_BUILD/run.py $SROOT/models $I3_SRC $OS_ARCH"
    assert found[1].startswith("/sw/env.sh v1 sh -c 'export -p'")
    assert found[-3] == found[1]  # what the last env_shell made holds for modules without one too
    assert found[-1] == "./$SROOT/x"


def test_another_variable_stays_as_text_and_is_listed() -> None:
    imported = made(one_module(args="$environ(EDITOR)", **SHELL))
    assert lines(imported, 0) == ["python run.py $environ(EDITOR)"]
    assert [one.path for one in imported.remarks if one.weight is Weight.LOST] == [
        "tasks[0].trays[0].modules[0].args"
    ]


def test_ids_that_only_iceprod_gives_are_listed_with_what_the_node_has_instead() -> None:
    imported = made(one_module(args="$(task_id) $(dataset_id)", **SHELL))
    words = [one.words for one in imported.remarks if one.weight is Weight.LOST]
    assert ["$PULK_TASK" in words[0], "$PULK_DATASET" in words[1]] == [True, True]


def test_what_the_first_turn_of_a_tray_made_of_a_shell_or_an_address_stays() -> None:
    """IceProd writes both back into the config, so `$(iter)` in them is 0 in every turn."""
    config = one_module(
        args="$(iter)", src="http://x/run.$(iter).py", env_shell="/e/$(iter).sh $(job)", **SHELL
    )
    config["tasks"][0]["trays"][0]["iterations"] = 2
    assert lines(made(config), 5) == [
        "/e/0.sh 5 python run.0.py 0",
        "/e/0.sh 5 python run.0.py 1",
    ]


@pytest.mark.parametrize("job", JOBS)
def test_a_list_in_a_parameter_waits_until_a_text_names_it(job: int) -> None:
    """Alone it is a list, whose texts become numbers; inside of a text it is a text."""
    parameters = {"list": [1, "$(job)"]}
    assert args({"l": "$(list)"}, job, parameters) == f"-l=[1, {job}]"
    assert args({"l": "x$(list)"}, job, parameters) == f'-l=x[1, "{job}"]'


@pytest.mark.parametrize(("job", "word"), [(0, "v0"), (1, "two"), (999, "two")])
def test_an_entry_of_an_object_is_named_by_what_the_job_chooses(job: int, word: str) -> None:
    parameters = {"table": {"a": "v$(job)", "b": "two"}, "name0": "a", "name1": "b"}
    assert args(["$(table)[$(name$eval($(job)%2))]"], job, parameters) == word


@pytest.mark.parametrize("job", JOBS)
def test_macros_stand_three_deep(job: int) -> None:
    parameters = {
        "kind": "numu",
        "numu::model": "$(model$eval($(job)%2))",
        "model0": "spice-$sprintf('%04d',$eval($(job)//2))",
        "model1": "ftp.$steering(model0)",
    }
    number = {0: "0000", 1: "0000", 999: "0499"}[job]
    meant = {0: f"spice-{number}", 1: f"ftp.spice-{number}", 999: f"ftp.spice-{number}"}[job]
    assert args("--m $steering($(kind)::model)", job, parameters) == f"--m {meant}"


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (5, "5"),
        (0, "0"),
        (False, "False"),
        (["a b", "$(job)", 1.5, True, None, ["x", 1]], "a b 4 1.5 True None ['x', 1]"),
        ({"a": None, "bb": None, "c": "1e3", "d": "007"}, "-a --bb -c=1000.0 -d=7"),
        ({"args": ["$(job)"]}, "--args=[4]"),
        ({"x": '{"0":1}', "y": '"quoted"'}, "-x={0: 1} -y=\"quoted\""),
        ("$(named)", "-0=v --zz=4"),
        ('{"a":"$(job)"}', "-a=4"),
        ("  --a \t 1\n--b", "--a 1 --b"),
        ("$eval(-$(job))", "-4"),
        ("$eval((0-$(job))%7)", "3"),
        ("$eval($(job)/8)", "0.5"),
    ],
)  # fmt: skip
def test_arguments_of_every_kind(value: Any, meant: str) -> None:
    parameters = {"named": {"0": "v", "zz": "$(job)"}}
    assert args(value, 4, parameters) == meant


def test_a_division_by_zero_stays_as_text_and_is_listed() -> None:
    imported = made(one_module(args="$eval($(job)//0)", **SHELL))
    assert lines(imported, 3) == ["python run.py $eval(3//0)"]
    assert imported.lost()


def test_a_class_may_be_named_by_a_macro() -> None:
    config = one_module({"k": "a.b.C"}, src="", running_class="$(k)", args={"n": "$(job)"})
    assert "from a.b import C" in lines(made(config), 3)
    with pytest.raises(IceprodRefused, match=r"'\$\(job\)' is not module.Class"):
        made(one_module(src="", running_class="$(job)", args={}))


def test_requests_that_depend_on_the_job_ask_for_the_most() -> None:
    config = one_module({"base": 2}, args="x")
    config["tasks"][0]["requirements"] = {
        "memory": "$eval($(base)+$(job)%3)",
        "time": "$(base)",
        "cpu": 0,
        "gpu": ["a", "b"],
    }
    imported = made(config, jobs=1000)
    request = imported.dataset.steps[0].request
    assert (request.memory_mib, request.walltime_ms) == (4096, 7_200_000)
    assert (request.cpu_milli, request.gpu_milli) == (1000, 2000)
    words = {one.path: one.words for one in imported.remarks}
    assert "depends on the job" in words["tasks[0].requirements.memory"]
    assert "0 asks for nothing" in words["tasks[0].requirements.cpu"]
    assert not imported.lost()


def test_a_container_is_carried_over_as_it_is_written() -> None:
    config = one_module(args="x")
    image = "/cvmfs/singularity.opensciencegrid.org/opensciencegrid/osgvo-el8:latest"
    config["tasks"][0]["container"] = image
    imported = made(config)
    assert (imported.dataset.steps[0].container, imported.lost()) == (image, False)
    assert stand_in(imported.dataset).steps[0].container == ""
    config["tasks"][0]["container"] = "/c/$(job).sif"
    imported = made(config)
    assert (imported.dataset.steps[0].container, imported.lost()) == ("", True)


def test_a_task_without_a_name_is_called_by_its_place() -> None:
    config = one_module(args="$(task)", **SHELL)
    config["tasks"].append(config["tasks"][0] | {"name": "next", "depends": ["0"]})
    config["tasks"][0] = config["tasks"][0] | {"name": ""}
    imported = made(config)
    assert imported.dataset.steps[1].needs == (0,)
    assert lines(imported, 0) == ["python run.py 0"]


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"args": "{a}"}, "tasks[0].trays[0].modules[0].args", "none: {a}; IceProd stops there"),
        ({"args": "[$(job)]"}, "tasks[0].trays[0].modules[0].args", "begins like JSON"),
        (
            {"data": [temporary("x", transfer="$eval($(job)%2)")]},
            "tasks[0].trays[0].modules[0].data[0].transfer",
            "depends on the job, and all jobs",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words_of_the_config(
    change: Values, path: str, words: str
) -> None:
    with pytest.raises(IceprodRefused) as caught:
        made(one_module(**change))
    assert caught.value.where == path
    assert words in str(caught.value)


def test_circles_are_named_with_their_place_and_as_they_are_written() -> None:
    for parameters in (
        {"a": "$(b)x", "b": "$(a)y"},
        {"a": "$steering(b)", "b": "$steering(a)"},
        {"a": "$(v$eval($(job)%2))", "v0": "1", "v1": "$steering(a)"},
    ):
        with pytest.raises(EndlessMacro, match=r"^(?!.*97077)") as caught:
            made(one_module(parameters, args="$(a)"))
        assert caught.value.where.startswith("steering.parameters.")


def test_tasks_in_a_circle_are_named_where_the_config_has_them() -> None:
    config = one_module(args="x")
    config["tasks"][0]["depends"] = ["only"]
    with pytest.raises(Exception, match=r"tasks\[0\]\.depends: the steps need each other"):
        made(config)
