"""A pilot reads the one file it is given, and only its own part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.config import ConfigRefused, load
from pilot.core.holding import Holding, Isolation, allows, from_wire
from pilot.core.request import Site


def test_without_a_file_tasks_get_the_systems_path() -> None:
    assert load(None) == Site()
    assert Site().variables()["PATH"] == "/usr/local/bin:/usr/bin:/bin"


def test_the_relays_part_of_the_file_is_left_to_the_relay(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text('[site]\nname = "x"\n[tasks]\npath = "/opt/bin"\n[task_environment]\nA = "b"\n')
    held = Holding(hidden=(str(tmp_path.resolve()),))
    assert load(path) == Site("/opt/bin", (("A", "b"),), holding=held)


def test_the_file_says_how_tasks_are_held(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(
        '[site]\nname = "x"\nnetwork = "site"\n[tasks]\nisolation = "required"\n'
        'writable = ["/scratch"]\nvisible = ["/tmp/sw"]\nprocesses_max = 7\n'
    )
    held = load(path).holding
    assert held.isolation is Isolation.REQUIRED and held.network == "site"
    assert held.writable == ("/scratch",) and held.visible == ("/tmp/sw",)
    assert held.processes_max == 7 and from_wire(held.to_wire()) == held
    assert allows(held, "site") and allows(held, "") and not allows(held, "any")


@pytest.mark.parametrize(
    "text",
    [
        "[tasks",
        "tasks = 3",
        "[tasks]\npath = 3",
        "[task_environment]\nA = 3",
        '[tasks]\nisolation = "perhaps"',
        '[tasks]\nwritable = ["here"]',
        "[tasks]\nprocesses_max = 0",
        "[tasks]\nfiles_max = true",
        "[staging]\nat_once = true",
        "[staging]\nbytes_per_s = -1",
        '[site]\nnetwork = "some"',
    ],
)
def test_an_unusable_file_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    with pytest.raises(ConfigRefused) as refused:
        load(path)
    assert str(path) in refused.value.where and refused.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused):
        load(tmp_path / "none.toml")
