"""Tasks in containers: the command line, what is said where an image or a runtime is missing.

The last tests need apptainer (or singularity) on this machine and run a real image of one static
program in it, as root and as an ordinary user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bundle.dataset import containers as named
from bundle.dataset.abilities import Checkpoint
from bundle.dataset.asks import Requires
from bundle.dataset.containers import problem, required
from bundle.dataset.spec import Command, Output, Step, decode, encode
from bundle.dataset.spec_hash import spec_hash
from bundle.fates import Fate
from bundle.records.attempt import Attempt
from pilot import containers
from pilot.core.container import (
    Containers,
    Runtime,
    command,
    not_entered,
    passed,
    signal_told,
    version_told,
)
from pilot.discovery.containers import look
from pilot.stage import NotStaged
from tests.conftest import NOT_TO_BE_HAD
from tests.pilot.site_folder import PROGRAM, ROOT, SiteFolder, dataset, shell, small

REFERENCE = "docker://tiny:1"
APPTAINER = Runtime("/usr/bin/apptainer", "apptainer", "1.4.5")
PULK_ONLY = {"PULK_SEED": "7"}


def built(*, isolated: bool = True, runtime: Runtime = APPTAINER, **env: str) -> list[str]:
    return command(runtime, "/images/a.sif", "/slot/0", ["sim", "-n", "1"], env, isolated=isolated)[
        0
    ]


def test_the_command_comes_last_after_the_image() -> None:
    assert built()[:4] == ["/usr/bin/apptainer", "--quiet", "--nocolor", "exec"]
    assert built()[-4:] == ["/images/a.sif", "sim", "-n", "1"]
    assert built()[-8:-4] == ["--home", "/slot/0", "--pwd", "/slot/0"]


def test_nothing_of_the_node_is_bound_but_the_memory_disk_and_what_the_site_names() -> None:
    words, _ = command(APPTAINER, "/a.sif", "/slot/0", ["x"], {}, ["/cvmfs"], isolated=True)
    bound = [words[at + 1] for at, word in enumerate(words) if word == "--bind"]
    assert bound == ["/tmp", "/var/tmp", "/cvmfs:/cvmfs:ro"]
    assert {"--contain", "--cleanenv", "--no-privs"} <= set(words)
    assert "--userns" in words and "--pid" not in words


def test_a_plain_slot_leaves_namespaces_to_the_runtime() -> None:
    assert "--pid" in built(isolated=False) and "--userns" not in built(isolated=False)
    assert "--bind" not in built(isolated=False)


@pytest.mark.parametrize(
    ("name", "version", "knows"),
    [
        ("apptainer", "1.4.5", True),
        ("apptainer", "1.0.3", False),
        ("singularity", "4.1.5-ce", True),
        ("singularity", "3.8.7", False),
        ("singularity", "", False),
    ],
)
def test_a_runtime_is_told_only_what_its_version_knows(
    name: str, version: str, *, knows: bool
) -> None:
    assert ("--no-eval" in built(runtime=Runtime("/bin/x", name, version))) is knows


def test_devices_are_let_in_where_the_task_has_some() -> None:
    assert "--nv" in built(CUDA_VISIBLE_DEVICES="GPU-1")
    assert "--rocm" in built(ROCR_VISIBLE_DEVICES="GPU-1")
    assert not {"--nv", "--rocm"} & set(built(CUDA_VISIBLE_DEVICES=""))


def test_the_runtimes_environment_holds_the_tasks_only_behind_its_prefix() -> None:
    _, made = command(APPTAINER, "/a", "/s", ["x"], PULK_ONLY | {"HOME": "/s"}, isolated=True)
    assert made["APPTAINERENV_PULK_SEED"] == "7" and "PULK_SEED" not in made
    assert "APPTAINERENV_HOME" not in made and made["HOME"] == "/s"


def test_what_the_node_says_of_its_own_programs_stays_outside_unless_the_step_says_it() -> None:
    node = {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "PYTHONPATH": "/x", "http_proxy": "p"}
    assert passed(node | PULK_ONLY, {}) == PULK_ONLY | {"http_proxy": "p"}
    assert passed(node, {"PATH": "/opt/bin"}) == {"http_proxy": "p", "PATH": "/opt/bin"}


@pytest.mark.parametrize(
    ("exit_code", "line", "said"),
    [
        (255, "\x1b[31mFATAL:  \x1b[0m could not open image /a.sif", "could not open image /a.sif"),
        (255, "FATAL:   no user namespace", "no user namespace"),
        (255, 'FATAL:   "sim": executable file not found in $PATH', ""),
        (255, "the payload's own words", ""),
        (1, "FATAL:   of a program in the container", ""),
    ],
)  # fmt: skip
def test_a_runtime_that_fails_is_told_from_a_payload_that_does(
    exit_code: int, line: str, said: str
) -> None:
    assert not_entered(exit_code, line) == said


def test_a_status_above_128_is_a_signal_where_the_runtime_has_a_process_of_its_own_inside() -> None:
    assert signal_told(137, isolated=False) == 9
    assert signal_told(137, isolated=True) == 0
    assert {signal_told(code, isolated=False) for code in (0, 1, 128, 255)} == {0}


def test_versions_are_read_of_what_runtimes_print() -> None:
    assert version_told("apptainer version 1.4.5") == "1.4.5"
    assert version_told("singularity-ce version 4.1.5-jammy") == "4.1.5-jammy"
    assert version_told("") == ""


def test_the_first_runtime_on_the_path_is_taken(tmp_path: Path) -> None:
    assert look(str(tmp_path)) == Runtime()
    for name, words in (("singularity", "singularity version 3.8.7"), ("apptainer", "broken")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{words}'\n")
        program.chmod(0o755)
        version = "3.8.7" if name == "singularity" else ""
        assert look(str(tmp_path)) == Runtime(str(program), name, version)


def test_a_reference_is_what_the_site_maps_and_a_path_is_itself() -> None:
    site = Containers(images=((REFERENCE, "/images/tiny.sif"),))
    assert site.image(REFERENCE) == "/images/tiny.sif"
    assert site.image("/cvmfs/a.sif") == "/cvmfs/a.sif"
    assert site.image("docker://other") == ""


def contained(container: str, **fields: object) -> Step:
    return Step("one", Command(("/bin/true",)), container=container, **fields)  # type: ignore[arg-type]


def test_a_document_without_a_container_keeps_its_bytes_and_hashes_another_one_has_others() -> None:
    without, with_one = dataset(contained("")), dataset(contained(REFERENCE))
    assert b"container" not in encode(without)
    assert decode(encode(with_one)) == with_one
    hashes = {spec_hash(one, 0) for one in (without, with_one, dataset(contained("/a.sif")))}
    assert len(hashes) == 3


@pytest.mark.parametrize("text", ["--writable", "a b", "/a/../b", "a,b", "a\nb", "x" * 513])
def test_what_could_be_taken_for_something_else_names_no_image(text: str) -> None:
    assert problem(text)
    assert not problem(REFERENCE) and not problem("/cvmfs/images/a.sif")


def test_a_reference_asks_for_a_site_that_maps_it_a_path_for_none_in_particular() -> None:
    step = contained(REFERENCE, requires=Requires(software=("geant4",)))
    assert required(step).software == ("geant4", f"image:{REFERENCE}")
    assert required(replace(step, container="/a.sif")) == step.requires
    assert named.words({REFERENCE: "/a.sif"}) == (f"image:{REFERENCE}",)


def settled(tmp_path: Path, image: Path | str, runtime: str = "/bin/true") -> str:
    data = os.open(tmp_path, os.O_RDONLY)
    try:
        reply: dict[str, str] = {}
        asked = ["docker://x", str(image), [runtime, "apptainer", "1"], []]
        containers.Images(data, isolated=False).settle({"container": asked}, reply)
        return reply["container"]
    finally:
        os.close(data)


def test_an_image_is_hashed_once_until_it_changes(tmp_path: Path) -> None:
    image = tmp_path / "a.sif"
    image.write_bytes(b"one")
    first = settled(tmp_path, image)
    (kept,) = (tmp_path / "images").iterdir()
    kept.write_text("0" * 64 + "\n")
    assert settled(tmp_path, image) == "sha256:" + "0" * 64  # it was read, not made anew
    image.write_bytes(b"three")
    assert settled(tmp_path, image) not in (first, "sha256:" + "0" * 64)
    kept.write_text("cut")
    image.write_bytes(b"one")
    assert settled(tmp_path, image) == first


def test_a_folders_digest_is_of_names_modes_links_and_contents(tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "bin").mkdir(parents=True)
    (image / "bin" / "sh").write_bytes(b"program")
    (image / "sh").symlink_to("bin/sh")
    found = {containers.digest(str(image))}
    (image / "bin" / "sh").chmod(0o755)
    found.add(containers.digest(str(image)))
    (image / "bin" / "sh").write_bytes(b"another")
    found.add(containers.digest(str(image)))
    (image / "sh").unlink()
    (image / "sh").symlink_to("/bin/sh")
    found.add(containers.digest(str(image)))
    assert len(found) == 4
    shutil.copytree(image, tmp_path / "copy", symlinks=True)
    assert containers.digest(str(tmp_path / "copy")) in found


@pytest.mark.parametrize(
    ("image", "runtime", "words"),
    [
        ("", "/bin/true", "maps no image"),
        ("/none.sif", "", "neither apptainer nor singularity"),
        ("/none.sif", "/bin/true", "No such file"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, image: str, runtime: str, words: str) -> None:
    with pytest.raises(NotStaged, match=words):
        settled(tmp_path, image, runtime)


@pytest.mark.programs
@pytest.mark.parametrize("container", ["docker://nowhere", "/none/image.sif"])
def test_a_task_whose_image_is_not_here_never_starts_and_says_so(
    site: SiteFolder, container: str
) -> None:
    step = Step("one", shell("echo started"), container=container, request=small(), failures_max=1)
    lease = site.offered(dataset(step))
    site.run(slots=1)
    attempt = site.only(lease)
    assert attempt.fate is Fate.STAGE_IN and attempt.usage.wall_ms == 0
    assert f"container {container}:" in attempt.evidence


# Real containers.

RUNTIME = look(os.environ.get("PATH", "") + ":/usr/local/bin:/usr/bin:/bin")
BUSYBOX = shutil.which("busybox")
needs_runtime = pytest.mark.skipif(
    not RUNTIME.path or BUSYBOX is None,
    reason=f"{'busybox-static' if RUNTIME.path else NOT_TO_BE_HAD} is not on this machine",
)


class Inside(SiteFolder):
    """A site with one image, whose pilots run as root or as an ordinary user."""

    as_root = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.image = root / "tiny"
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "var/tmp", "root", "home"):
            (self.image / name).mkdir(parents=True)
        shutil.copy(BUSYBOX or "", self.image / "bin" / "busybox")
        for name in ("sh", "cat", "sleep", "touch", "dd"):
            (self.image / "bin" / name).symlink_to("busybox")
        (self.image / "etc" / "tiny").write_text("in the image\n")

    def result(self, code: str, isolation: str = "auto", **fields: object) -> Attempt:
        """Run a shell's words in the image; its log is left in `said`."""
        config = self.root / "pilot" / "pilot.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            f'[tasks]\nisolation = "{isolation}"\n[tasks.images]\n"{REFERENCE}" = "{self.image}"\n'
        )
        run = Command(("/bin/sh", "-c", code.replace("$", "$$")))
        told = {"request": small(memory_mib=200), "failures_max": 1} | fields
        step = Step("one", run, container=REFERENCE, **told)  # type: ignore[arg-type]
        lease = self.offered(dataset(step))
        self.run(slots=1, config=config, before=self._before())
        attempt = self.only(lease)
        self.said = self.log(lease, attempt).decode(errors="replace")
        return attempt

    def _before(self) -> list[str]:
        if self.as_root:
            return []
        return [sys.executable, str(ROOT / "tests" / "pilot" / "as_nobody.py"), str(self.root)]


@pytest.fixture(params=["root", "nobody"])
def inside(request: pytest.FixtureRequest, tmp_path: Path) -> Inside:
    site = Inside(tmp_path)
    if request.param == "nobody" and os.getuid() != 0:
        pytest.skip("only root can become another user")
    site.as_root = request.param == "root"
    return site


@pytest.fixture(params=["auto", "plain"])
def isolation(request: pytest.FixtureRequest, inside: Inside) -> str:
    """How tasks are held; pilots of user 0 enter no container in an isolated slot."""
    if inside.as_root and request.param == "auto":
        attempt = inside.result("true")
        assert attempt.fate is Fate.STAGE_IN and "user 0" in attempt.evidence
        return "plain"
    return str(request.param)


@needs_runtime
@pytest.mark.programs
def test_a_task_runs_in_its_image_and_its_output_and_the_digest_are_recorded(
    inside: Inside, isolation: str
) -> None:
    code = 'cat /etc/tiny > out; echo "$PULK_SEED $HOME $PWD $TMPDIR" >> out; [ -z "$LEAK" ]'
    attempt = inside.result(code, isolation, outputs=(Output("out"),))
    assert attempt.fate is Fate.SUCCESS, attempt.evidence
    assert f"container==sha256:{containers.digest(str(inside.image))}" in attempt.software.split()
    ((digest, _),) = attempt.outputs
    lines = inside.spool.data(digest).read_text().splitlines()
    _, *folders = lines[1].split()
    assert lines[0] == "in the image" and len(set(folders)) == 1


@needs_runtime
@pytest.mark.programs
def test_the_nodes_files_the_network_and_other_processes_are_not_inside(
    inside: Inside, isolation: str
) -> None:
    code = (
        "[ ! -e /usr/bin/python3 ] || exit 3; [ ! -e /etc/debian_version ] || exit 4;"
        "touch /bin/new 2>/dev/null && exit 5; echo x > /tmp/mine || exit 6;"
        'n=0; for p in /proc/[0-9]*; do n=$((n + 1)); done; [ "$n" -lt 12 ] || exit 7;'
        "[ $(cat /proc/net/dev | wc -l) -lt 5 ] || exit 8; exit 0"
    ).replace("wc -l", "busybox wc -l")
    attempt = inside.result(code, isolation)
    assert attempt.fate is Fate.SUCCESS, attempt.evidence


@needs_runtime
@pytest.mark.programs
def test_limits_hold_inside_and_all_inside_dies_with_the_task(
    inside: Inside, isolation: str
) -> None:
    attempt = inside.result("exit 3", isolation)
    assert attempt.fate is Fate.PAYLOAD_ERROR and attempt.exit_code == 3
    attempt = inside.result("sleep 60", isolation, request=small(200, walltime_ms=1500))
    assert attempt.fate is Fate.TIME_LIMIT
    fills = "dd if=/dev/zero of=/dev/shm/big bs=1M count=400; sleep 20"
    attempt = inside.result(fills, isolation, request=small(memory_mib=100, disk_bytes=1 << 30))
    assert attempt.fate is Fate.OOM and "in files of" in attempt.evidence, attempt.evidence
    grows = 'x=x; while :; do x="$x$x"; done'
    attempt = inside.result(grows, isolation, request=small(memory_mib=100))
    assert attempt.fate is Fate.OOM, attempt.evidence
    attempt = inside.result(
        "dd if=/dev/zero of=big bs=1M count=64", isolation, request=small(200, disk_bytes=4 << 20)
    )
    assert attempt.fate is Fate.DISK_LIMIT, attempt.evidence
    attempt = inside.result("kill -9 $$", isolation)
    assert (attempt.fate, attempt.signal) == (Fate.SIGNAL, 9), attempt.evidence
    attempt = inside.result("nosuch", isolation)
    assert attempt.fate is Fate.PAYLOAD_ERROR and attempt.exit_code == 127


@needs_runtime
@pytest.mark.programs
def test_a_signal_for_a_checkpoint_reaches_the_payload_inside(
    inside: Inside, isolation: str
) -> None:
    code = "trap ': > got' USR1; while [ ! -e got ]; do sleep 0.1; done"
    asked = Checkpoint(files=("state",), every_ms=4000)
    attempt = inside.result(code, isolation, checkpoint=asked, request=small(200, 30_000))
    assert attempt.fate is Fate.SUCCESS, attempt.evidence


@needs_runtime
@pytest.mark.programs
def test_an_image_that_cannot_be_entered_is_no_fault_of_the_payload(inside: Inside) -> None:
    shutil.rmtree(inside.image)
    inside.image.write_bytes(b"no image at all")
    attempt = inside.result("true", "plain")
    assert attempt.fate is Fate.STAGE_IN and f"container {REFERENCE}" in attempt.evidence


@needs_runtime
def test_a_node_tells_which_runtime_it_has() -> None:
    program = [*PROGRAM, "node"]
    said = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert str(RUNTIME) in said
