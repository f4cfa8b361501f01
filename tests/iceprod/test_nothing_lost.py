"""Whatever changes in a config changes the document, or what is told about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import PulkError
from central import document
from central.iceprod.model import Remark
from tests.iceprod.configs import Values, filters, made, showers, variations

Path = tuple[Any, ...]


def everything() -> Values:
    """A config with every key of every schema, each with something in it."""
    file = {"type": "permanent", "movement": "input", "remote": "http://x/in", "local": "in"}
    return {
        "$schema": "https://iceprod.example/3.1",
        "version": 3.1,
        "description": "everything",
        "dataset": 41,
        "dataset_id": "d1e2",
        "parent_id": 40,
        "categories": ["a"],
        "difplus": {"dif": {"sensor": "x"}, "plus": {"category": "y", "project": {"n": [1]}}},
        "jobs_submitted": 500,
        "priority": 0.5,
        "username": "anna",
        "group": "simulation",
        "status": "suspended",
        "options": {"own": "o", "spare": {"n": 1}, "job": 7, "data_url": "https://d/"},
        "steering": {
            "parameters": {"a": "$(b)", "b": "$(job)", "spare": ["$(deep)"], "deep": 3},
            "batchsys": {"condor": {"rank": "1"}, "slurm": {"partition": "long"}},
            "system": {"s": "t", "spare": 1},
            "resources": [{"remote": "r", "local": "l", "compression": True}],
            "data": [file | {"remote": "http://x/all", "local": "all"}],
        },
        "tasks": [
            {
                "name": "make",
                "depends": [],
                "task_files": True,
                "container": "/c/image.sif",
                "token_scopes": {"osdf:///": "storage.read:/"},
                "batchsys": {"condor": {"requirements": "x"}},
                "parameters": {"a": "of the task", "spare": 1},
                "classes": [{"name": "c", "src": "http://x/c.tgz", "libs": "l"}],
                "projects": ["p"],
                "requirements": {
                    "cpu": 2, "gpu": 1, "memory": "$eval($(deep)+1)", "disk": 3.5, "time": 2,
                    "os": ["RHEL_8_x86_64"], "site": "north", "tape": {"n": 1},
                },
                "data": [
                    {"type": "job_temp", "movement": "output", "local": "made"},
                    {"type": "dataset_temp", "movement": "output", "local": "kept"},
                    file | {"transfer": "maybe", "compression": True},
                    file | {"transfer": "no", "local": "not"},
                ],
                "trays": [
                    {
                        "name": "first",
                        "iterations": 2,
                        "parameters": {"c": "$(iter)"},
                        "resources": [{"remote": "r", "local": "l"}],
                        "modules": [
                            {
                                "name": "run",
                                "src": "run.py",
                                "running_class": "a.B",
                                "args": {"x": "$(a) $(c)", "y": [1, {"z": "$system(s)"}]},
                                "env_shell": "/e.sh $(own)",
                                "env_clear": False,
                                "configs": {"c.json": {"k": ["$steering(a)", None]}},
                                "parameters": {"spare": "$(steer)"},
                                "colour": "blue",
                            }
                        ],
                    },
                    {"iterations": 0, "modules": [{"src": "never.py", "args": "x"}]},
                ],
            },
            {
                "name": "use",
                "depends": ["make", "ffff:other"],
                "data": [{"type": "job_temp", "movement": "both", "local": "made"}],
                "trays": [{"modules": [{"running_class": "p.Q", "args": {"n": "$(job)"}}]}],
            },
        ],
    }  # fmt: skip


def outcome(config: Values) -> tuple[str, frozenset[Remark]]:
    try:
        imported = made(config, jobs=3)
    except PulkError as error:
        return f"refused: {error}", frozenset()
    return json.dumps(document.render(imported.dataset)), frozenset(imported.remarks)


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    inside = value.items() if isinstance(value, dict) else ()
    inside = enumerate(value) if isinstance(value, list) else inside
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(config: Values, path: Path, other: Any) -> Values:
    config = deepcopy(config)
    place: Any = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = other
    return config


def another(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}9"
        case list():
            return [*value, "more"]
        case dict():
            return value | {"more": "more"}
        case _:
            return "more"


def at(config: Values, path: Path) -> Any:
    for key in path:
        config = config[key]
    return config


@pytest.mark.parametrize("make", [everything, showers, variations, filters])
def test_no_place_of_a_config_changes_unseen(make: Any) -> None:
    config = make()
    before = outcome(config)
    assert not before[0].startswith("refused")
    unseen = [
        path
        for path in places(config)
        if outcome(changed(config, path, another(at(config, path)))) == before
    ]
    assert unseen == []


VALUES = st.sampled_from(["blue", 7, 2.5, True, ["x"], {"k": "v"}, "$(job)", "$(nope)"])


@settings(max_examples=40)
@given(st.data())
def test_a_key_that_nobody_knows_is_told_wherever_it_stands(data: st.DataObject) -> None:
    """Among parameters and arguments it is one more of them, else it is unknown."""
    config = everything()
    objects = [path for path in ((), *places(config)) if isinstance(at(config, path), dict)]
    path = data.draw(st.sampled_from(objects))
    more = changed(config, (*path, "colours"), data.draw(VALUES))
    assert outcome(more) != outcome(config)
