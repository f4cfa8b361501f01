"""central.toml: defaults, variables over the file, and refusals that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from central import config as configs
from central.config import Config, ConfigRefused


def _file(folder: Path, text: str) -> Path:
    path = folder / configs.NAME
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert configs.load(tmp_path / "none.toml", {}) == Config()


def test_the_first_file_says_what_the_defaults_say(tmp_path: Path) -> None:
    assert configs.load(_file(tmp_path, configs.text_of(1)), {}) == Config()


def test_every_commented_line_of_the_first_file_is_a_key_with_its_default(tmp_path: Path) -> None:
    lines = configs.text_of(1).splitlines()
    text = "\n".join(line.removeprefix("# ") for line in lines[1:])
    assert configs.load(_file(tmp_path, text), {}) == Config()
    keys = {line.split(" = ")[0].removeprefix("# ") for line in lines if " = " in line}
    named = {key for section in Config.model_fields for key in vars(getattr(Config(), section))}
    assert keys == named


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "[http]\nport = 1\n")
    found = configs.load(path, {"PULK_HTTP_PORT": "2", "PULK_PLANNER_LEASE_HOURS": "0.5"})
    assert (found.http.port, found.planner.lease_hours) == (2, 0.5)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[http]\nprot = 1\n", "http.prot"),
        ("[htpp]\nport = 1\n", "htpp"),
        ("[http]\nport = 65536\n", "http.port"),
        ("[archive]\ncopies = 0\n", "archive.copies"),
        ("http = 3\n", "http"),
        ("[http\n", "TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        configs.load(_file(tmp_path, text), {})
    assert refused.value.fields["key"] == key
    assert refused.value.where.endswith(configs.NAME)


def test_a_variable_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused):
        configs.load(tmp_path / "none.toml", {"PULK_HTTP_PORT": "http"})
