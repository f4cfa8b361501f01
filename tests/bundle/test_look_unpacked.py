"""`pulk bundle` works from an unpacked tree on a bare machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundle.looking import Carried, carried
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.programs

BARE = """
import runpy, sys
tree = sys.argv[1]
ALLOWED = {"msgpack", "zstandard", "cryptography", "cffi", "_cffi_backend", "bundle", "__main__"}
class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r} on a bare machine", name=name)
sys.meta_path.insert(0, Bare())
sys.path.insert(0, tree)
import bundle
assert bundle.__file__.startswith(tree), bundle.__file__
sys.argv = sys.argv[1:]
runpy.run_path(tree, run_name="__main__")
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    return carried(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a courier unpacks: `__main__.py` and the package `bundle`, nothing installed."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(REPOSITORY / "__main__.py", folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "bundle", folder / "bundle", ignore=ignored)
    return folder


def pulk(tree: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-B", "-c", BARE, str(tree), "bundle", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_look_needs_three_packages_only(tree: Path, world: Carried, tmp_path: Path) -> None:
    file = hashlib.sha256()
    for command, expected in (
        (("inspect", world.result, "--trust", world.trust), 0),
        (("verify", world.work, world.result, "--trust", world.trust), 0),
        (("ls", world.result), 0),
        (("ls", world.site.folder, "--read"), 0),
        (("cat", world.result, "segment", "--json"), 0),
        (("cat", world.result, "data", "--out", tmp_path / "out"), 0),
        (("diff", world.work, world.answer), 1),
        (("query", "--schema"), 0),
    ):
        done = pulk(tree, *command)
        assert (done.returncode, "Traceback" in done.stderr) == (expected, False), done.stderr
    file.update((tmp_path / "out").read_bytes())
    assert file.hexdigest() in pulk(tree, "ls", world.result, "--json").stdout


def test_a_query_says_what_is_missing(tree: Path, world: Carried) -> None:
    done = pulk(tree, "query", world.result, "select 1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "no-sqlite-utils"
    assert "pip install sqlite-utils" in done.stderr


def test_a_refusal_is_one_line_that_cannot_steer_the_terminal(tree: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b[2J\nname"
    path.write_bytes(b"no bundle")
    done = pulk(tree, "inspect", path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
    assert "bad-magic" in done.stderr


def test_a_reader_that_has_enough_is_no_error_of_ours(tree: Path, world: Carried) -> None:
    line = "cat {} segment | head -c 10"
    command = " ".join([sys.executable, "-I", str(tree), "bundle", line.format(world.result)])
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
