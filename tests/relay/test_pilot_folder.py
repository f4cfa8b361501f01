"""A pilot folder is a whole pilot in a few files: moved, read-only, under a Python without any."""

from __future__ import annotations

import json
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.dataset.spec import Output, Step
from bundle.fates import Fate
from bundle.version import VERSION
from pilot import start
from relay import pilot_folder
from relay.errors import FolderTaken
from relay.pilot_folder import make
from relay.tick import tick
from tests.pilot.site_folder import SiteFolder, dataset, shell, small
from tests.relay.test_real_pilot import CONFIG, until_attempts
from tests.relay.world import make_world

FILES_MAX = 12
BARE = (getattr(sys, "_base_executable", sys.executable), "-I", "-S")
COUNT_OPENS = """
import sys
folder, opened = sys.argv[1], []
def hook(event, arguments):
    if event == "open" and str(arguments[0]).startswith(folder):
        opened.append(arguments[0])
sys.addaudithook(hook)
import runpy
sys.argv = [folder, "node", "--json"]
try:
    runpy.run_path(folder, run_name="__main__")
except SystemExit:
    pass
sys.stderr.write(repr(opened))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder made once, moved, and closed for writing."""
    made = make(tmp_path_factory.mktemp("made") / "folder")
    moved = tmp_path_factory.mktemp("moved") / "pilot of today"
    made.folder.rename(moved)
    for path in (moved, *moved.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return moved


def ran(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd="/")


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_is_a_handful_of_files(folder: Path) -> None:
    assert len(files_of(folder)) <= FILES_MAX


def test_maker_and_starter_mean_the_same_by_the_same_names() -> None:
    names = ("MAGIC", "LENGTH_BYTES", "MODULES", "LIBRARIES", "MODULE", "PACKAGE", "EXTENSION")
    assert [getattr(start, name) for name in names] == [
        getattr(pilot_folder, name) for name in names
    ]


def test_what_is_there_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(FolderTaken):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.programs
def test_a_python_with_nothing_installed_runs_a_whole_pilot_from_it(
    folder: Path, tmp_path: Path
) -> None:
    assert ran(*BARE, "-c", "import msgpack").returncode != 0
    before = files_of(folder)
    site = SiteFolder(tmp_path)
    code = "test $PULK_JOB -lt 18 && echo hello > out || truncate -s 2M out"  # for the stager
    step = Step("greet", shell(code), outputs=(Output("out"),), request=small())
    lease = site.offered(dataset(step, jobs=20))
    with site.start(program=(*BARE, str(folder))) as process:
        assert process.wait(60) == 0
    assert [one.fate for one in site.attempts(lease)] == [Fate.SUCCESS] * 20
    host = site.seals(lease)[0][2].header.host
    assert host.pulk == VERSION and host.numa_nodes >= 1
    assert files_of(folder) == before


@pytest.mark.programs
def test_a_start_opens_two_of_its_files_and_the_extensions(folder: Path) -> None:
    done = ran(*BARE, "-c", COUNT_OPENS, str(folder))
    assert json.loads(done.stdout)["cpu_milli"] > 0
    opened = eval(done.stderr)  # noqa: S307  a list of texts that the line above wrote
    assert len(opened) <= 3, opened  # the compiled start, `modules`, and no module by itself


@pytest.mark.programs
def test_what_else_is_installed_is_not_looked_at(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "pilot"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit(9)")
    done = subprocess.run(
        [BARE[0], str(folder), "node"],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0


@pytest.mark.programs
def test_a_folder_for_another_python_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = ".cpython-311-riscv64-linux-musl.so"
    monkeypatch.setattr(pilot_folder, "EXTENSION_SUFFIXES", [suffix, *start.EXTENSION_SUFFIXES])
    made = make(tmp_path / "folder")
    shutil.rmtree(made.folder / "lib")
    done = ran(*BARE, str(made.folder), "run")
    assert done.returncode == 1 and suffix in done.stderr and "Traceback" not in done.stderr


@pytest.mark.programs
def test_a_folder_cut_short_or_of_other_bytes_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "__main__.py", tmp_path)
    whole = (folder / "modules").read_bytes()
    cut = [whole[:size] for size in (0, 4, 20, 23, 24, 25, 1000, len(whole) - 1)]
    for raw in (*cut, b"x" * 100, start.MAGIC + bytes(30), whole + b"x"):
        (tmp_path / "modules").write_bytes(raw)
        done = ran(*BARE, str(tmp_path), "node")
        assert done.returncode == 1 and "damaged" in done.stderr, raw[:40]
        assert len(done.stderr.splitlines()) == 1


def test_the_index_is_written_so_that_any_python_3_reads_it(folder: Path) -> None:
    raw = (folder / "modules").read_bytes()[len(start.MAGIC) :]
    size = int.from_bytes(raw[: start.LENGTH_BYTES], "big")
    about = raw[start.LENGTH_BYTES :][:size]
    read = marshal.loads(about)  # noqa: S302  written by this test's fixture
    assert read["index"]["pilot.run"][0] == start.MODULE
    assert marshal.dumps(read, 2) == about


@pytest.mark.programs
def test_a_relay_starts_its_pilots_from_it(folder: Path, tmp_path: Path) -> None:
    config = CONFIG.replace("idle_s = 0.3", f'idle_s = 0.3\njitter_s = 0.2\nfolder = "{folder}"')
    world = make_world(tmp_path, config)
    world.dataset = dataset(Step("greet", shell("true"), request=small()), jobs=2)
    world.deliver(world.pack(world.lease(0, [0, 1])))
    found = until_attempts(world, 2)
    segments = [segment for one in found for segment in one.segments]
    assert {a.fate for segment in segments for a in segment.attempts} == {Fate.SUCCESS}
    log = b"".join(path.read_bytes() for path in world.spool.root.glob("pilots/*/log"))
    assert b"Traceback" not in log
    tick(world.home)
