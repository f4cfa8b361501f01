"""One document says for every job what IceProd would run in it, and what is not so is listed."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.dataset import macros, seeds
from bundle.dataset.spec import Dataset, Input, Output
from bundle.errors import PulkError
from central import document
from central.iceprod.model import Weight
from central.iceprod.read import read
from central.iceprod.refusals import IceprodRefused, UnknownVersion
from central.iceprod.translate import Wanted, commands
from tests.iceprod.configs import ENV, Values, filters, made, one_module, showers, variations

JOBS = (0, 1, 999)


def script_of(dataset: Dataset, step: int, job: int) -> list[str]:
    shell, option, text = dataset.steps[step].run.argv  # type: ignore[union-attr]
    assert (shell, option) == ("sh", "-c")
    return macros.expand(text, dataset, step, job).splitlines()


def lost(config: Values, **wanted: Any) -> dict[str, str]:
    remarks = made(config, **wanted).remarks
    return {one.path: one.words for one in remarks if one.weight is Weight.LOST}


def line(config: Values, job: int = 0, **wanted: Any) -> str:
    """Return the command of a config with one module, without its cleared environment."""
    imported = made(config, **wanted)
    assert not imported.lost(), imported.remarks
    return script_of(imported.dataset, 0, job)[-1].removeprefix(ENV)


# Worked out by hand: 412 * 1000 = 412000, + job, % 10000.
SEEDS = {0: 2000, 1: 2001, 999: 2999}


@pytest.mark.parametrize("job", JOBS)
def test_classes_get_the_parameters_that_iceprod_would_give_them(job: int) -> None:
    found = script_of(made(showers(), jobs=2000).dataset, 0, job)
    assert found == [
        "set -e",
        "HOME=${HOME:-$PWD}",
        "# tray 0, iteration 0",
        f"{ENV}/cvmfs/env meta/1 python - <<____HERE",
        "import json",
        "from shower.modules import Generator",
        f'args = json.loads(\'\'\'{{"seed":{SEEDS[job]},"nproc":2000,"number":{job},"events":75,'
        '"hall":"/cvmfs/hall_57531.gz","emax":100000.0,"fast":true,"weights":[2,2.5]}\'\'\')',
        "obj = Generator()",
        "for k,v in args.items():",
        "    obj.SetParameter(k, v)",
        "obj.Execute({})",
        "____HERE",
    ]


STEMS = {0: "numu_000007.000000", 1: "numu_000007.000001", 999: "numu_000007.000999"}


@pytest.mark.parametrize("job", JOBS)
def test_trays_that_run_again_take_the_parameters_of_their_turn(job: int) -> None:
    assert script_of(made(variations()).dataset, 0, job)[2:] == [
        "# tray ices, iteration 0",
        f"/bin/sh vary.sh --ice models/base --out {STEMS[job]}.0.gz",
        "# tray ices, iteration 1",
        f"/bin/sh vary.sh --ice models/scatter.1 --out {STEMS[job]}.1.gz",
        f"mv -- '{STEMS[job]}.0.gz' 'numu_000007.N.0.gz'",
        f"mv -- '{STEMS[job]}.1.gz' 'numu_000007.N.1.gz'",
    ]


@pytest.mark.parametrize("job", JOBS)
def test_programs_get_their_arguments_and_files_their_names(job: int) -> None:
    dataset = made(filters(), number=9).dataset
    name = {0: "det.0000.gz", 1: "det.0001.gz", 999: "det.0999.gz"}[job]
    assert script_of(dataset, 0, job)[2:] == [
        "# tray 0, iteration 0",
        f"{ENV}/sw/env.sh v1 python /sw/detect.py --type=$steering(mctype) --out={name} -q",
        f"mv -- '{name}' 'det.N.gz'",
        "[ -e 'h.pkl' ] || : > 'h.pkl'",
    ]
    assert script_of(dataset, 1, job)[2:] == [
        f"mv -- 'det.N.gz' '{name}'",
        "# tray 0, iteration 0",
        f"{ENV}./bin/filter -i {name} --keep={job}",
    ]


def test_files_go_from_task_to_task_by_address_and_permanent_ones_go_home() -> None:
    steps = made(filters()).dataset.steps
    assert steps[0].outputs == (Output("det.N.gz", keep=True), Output("h.pkl"))
    assert steps[1].inputs == (Input(0, 0, "det.N.gz"),)
    light = made(showers()).dataset.steps[1]
    assert (light.needs, light.inputs) == ((0,), (Input(0, 0, "showers.gz"),))


def test_what_is_missing_is_listed_with_its_path_and_a_hint() -> None:
    found = lost(filters())
    assert sorted(found) == [
        "steering.batchsys",
        "tasks[0].trays[0].modules[0].args.type",
        "tasks[1].batchsys",
    ]
    assert "did you mean MCType?" in found["tasks[0].trays[0].modules[0].args.type"]
    changed = [one for one in made(filters()).remarks if one.weight is Weight.CHANGED]
    assert any("gsiftp://far.example/sim/0/N-N/det.N.gz" in one.words for one in changed)
    assert not lost(showers())


def test_requirements_keep_their_size_a_gb_is_two_to_the_thirtieth() -> None:
    first, second = (step.request for step in made(showers()).dataset.steps)
    assert (first.memory_mib, first.disk_bytes, first.cpu_milli) == (2560, 20 << 30, 1000)
    assert (second.gpu_milli, second.walltime_ms) == (1000, 7_200_000)


@pytest.mark.parametrize("config", [showers(), variations(), filters()])
def test_a_document_is_accepted_and_read_back_as_it_was(config: Values) -> None:
    dataset = made(config, jobs=5).dataset
    assert document.parse(document.render(dataset), None, "again") == dataset


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ("--a $(job) b", "run.py --a 4 b"),
        ({"args": ["x", "$(job)"], "kwargs": {"k": True, "long": [1, "$(job)"]}},
         "run.py x 4 -k=True --long=[1, 4]"),
        ('["x", "$(job)"]', "run.py x 4"),
        (None, "run.py"),
        ("$eval($(job)*0.5)", "run.py 2.0"),
        ("$sprintf('%.3f|%04d|%x',$eval($(job)/8),$(job),$eval($(job)+10))", "run.py 0.500|0004|e"),
        ("a$steering(model$eval($(job)%3))", "run.py a4th"),
        ("$(list)[$eval($(job)%2)]", "run.py one-4"),
        ("$sum($sprintf('[%d,2]',$(job)))", "run.py 6"),
        ("$$(job) $HOME", "run.py $4 $HOME"),
    ],
)  # fmt: skip
def test_every_shape_of_arguments_is_the_same_in_the_document(args: Any, meant: str) -> None:
    parameters = {
        "model0": "zero",
        "model1": "$(job)th",
        "model2": "two",
        "list": ["one-$(job)", "two"],
    }
    assert line(one_module(parameters, args=args), job=4).removeprefix("python ") == meant


def test_config_files_are_written_with_their_values() -> None:
    table = {"seed": "$(job)", "inner": {"url": "$steering(url)", "n": 1}}
    config = one_module({"t": table, "url": "https://x"}, configs={"a/b.json": "$steering(t)"})
    found = script_of(made(config).dataset, 0, 8)
    at = found.index("cat > 'b.json' <<'____CONFIG'")
    assert found[at + 1] == '{"seed":8,"inner":{"url":"https://x","n":1}}'


def test_a_choice_follows_the_seed_of_the_task_and_is_not_the_same_for_all() -> None:
    config = one_module(args={"a": "$choice(p,q,r)", "b": "$choice(p,q,$(job))"})
    found = {line(config, job) for job in range(40)}
    assert len(found) > 12  # both choices, each by itself
    assert line(config, 3) == line(config, 3)


def test_what_a_document_cannot_say_is_listed_and_never_passed_over() -> None:
    for macro in ("$eval(100/($(job)+1))", "$(n$(job))", "$sprintf('%s',$eval(1^$(job)))"):
        config = one_module({"n0": "a", "n1": "b"}, args={"x": f"v{macro}"})
        assert "tasks[0]" in lost(config), macro


def test_the_dataset_number_of_the_config_holds_unless_another_is_given() -> None:
    config = one_module(args="$(dataset)") | {"dataset": 5}
    assert line(config) == "python run.py 5"
    assert line(config, number=6) == "python run.py 6"
    remarks = made(one_module(args="$(dataset)")).remarks
    assert [one.path for one in remarks] == ["dataset"]


def test_unknown_keys_and_foreign_tasks_are_listed() -> None:
    config = one_module(args="x", sorce="y")
    config["tasks"][0] |= {
        "container": "two words",
        "depends": ["abc:generate"],
        "task_files": True,
        "requirements": {"os": ["RHEL_7_x86_64", "RHEL_9"], "ram": 1, "memory": "lots"},
        "resources": [{"remote": "x"}],
        "data": [{"type": "permanent", "remote": "http://x/y.tgz", "compression": True}],
    }
    found = lost(config)
    here = "tasks[0]"
    assert set(found) == {
        f"{here}.container",
        f"{here}.depends[0]",
        f"{here}.task_files",
        f"{here}.requirements.os",
        f"{here}.requirements.ram",
        f"{here}.requirements.memory",
        f"{here}.resources",
        f"{here}.data[0].compression",
        f"{here}.data[0]",
        f"{here}.trays[0].modules[0].sorce",
    }
    assert "did you mean src" in found[f"{here}.trays[0].modules[0].sorce"]


def test_one_system_and_one_site_are_required() -> None:
    config = one_module()
    config["tasks"][0]["requirements"] = {"os": ["RHEL_9_x86_64"], "site": "north"}
    dataset = made(config).dataset
    assert dataset.steps[0].requires.os == "linux/rhel/9"
    assert dataset.account.allow == ("north",)


def test_a_file_that_another_task_writes_is_waited_for() -> None:
    config = filters()
    config["tasks"][1]["depends"] = []
    imported = made(config)
    assert imported.dataset.steps[1].needs == (0,)
    assert any("added to needs" in one.words for one in imported.remarks)


def test_a_file_that_is_changed_in_its_place_comes_in_and_goes_out() -> None:
    config = showers()
    config["tasks"][1]["trays"][0]["modules"][0]["data"] = [
        {"type": "job_temp", "movement": "both", "local": "showers.gz"}
    ]
    step = made(config).dataset.steps[1]
    assert step.outputs == (Output("showers.gz"),)
    assert step.inputs == (Input(0, 0, "2-showers.gz"),)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 4}, "version"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"name": "a"}]}, "tasks[0].trays"),
        ({"tasks": {}}, "tasks"),
        ({"steering": []}, "steering"),
        ({"tasks": [{"name": "a", "trays": [{"modules": [{}]}]}]}, "tasks[0].trays[0].modules[0]"),
        (
            {"tasks": [{"name": "a", "depends": ["b"], "trays": [{"modules": [{"src": "x"}]}]}]},
            "tasks[0].depends[0]",
        ),
        (
            {"tasks": [{"name": "a", "trays": [{"iterations": "2", "modules": [{"src": "x"}]}]}]},
            "tasks[0].trays[0].iterations",
        ),
        (
            {"tasks": [{"name": "a", "data": [{"type": "tape"}], "trays": []}]},
            "tasks[0].data[0].type",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(change: Values, path: str) -> None:
    with pytest.raises(IceprodRefused) as caught:
        read(one_module() | change)
    assert caught.value.where == path
    assert isinstance(caught.value, UnknownVersion) == ("version" in change)


PIECES = st.sampled_from(
    [
        *("$(job)", "$(jobs_submitted)", "$(pad)", "$(turn)", "$steering(v$(turn))", "$(seed)"),
        *(
            "x",
            "-",
            "[",
            "]",
            "'",
            "$(nope)",
            "$HOME",
            ".5",
            "7",
            "$sprintf('%s.%d',$(v1),$(turn))",
        ),
        *("$eval($(job)*3+1)", "$eval($(job)%7)", "$eval($(job)//10)", "$sprintf('%04d',$(job))"),
        "$choice(a,b)",
    ]
)


@settings(max_examples=60)
@given(st.lists(PIECES, min_size=1, max_size=5).map("".join), st.integers(0, 5000))
def test_a_document_says_what_iceprod_runs_or_lists_the_task(text: str, job: int) -> None:
    parameters = {
        "pad": "$sprintf('%06d',$(job))",
        "turn": "$eval($(job)%3)",
        "v0": "zero",
        "v1": "o$(pad)",
        "v2": "$(job)",
        "seed": "$eval($(dataset)*100+$(job))",
    }
    config = one_module(parameters, args={"text": text})
    imported = made(config, number=3, jobs=50)
    if "tasks[0]" in {one.path for one in imported.remarks}:
        return
    meant = commands(read(config), Wanted(50, "", 3), job)["only"]
    assert script_of(imported.dataset, 0, job)[2:] == "\n".join(meant).splitlines()
    assert seeds.seed(3, job, 0) == seeds.seed(imported.dataset.seed, job, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PIECES | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "local", "k", "0"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of JSON values."""
    inside = list(value.items()) if isinstance(value, dict) else []
    inside = list(enumerate(value)) if isinstance(value, list) else inside
    return [one for key, inner in inside for one in ((value, key), *places(inner))]


@settings(max_examples=60)
@given(st.data())
def test_a_config_with_anything_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    config = deepcopy(data.draw(st.sampled_from([showers(), variations(), filters()])))
    container, key = data.draw(st.sampled_from(places(config)))
    container[key] = data.draw(JSON)
    try:
        dataset = made(config).dataset
    except PulkError:
        return
    assert document.parse(document.render(dataset), None, "again") == dataset
