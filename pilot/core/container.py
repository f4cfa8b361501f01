"""How a task's command runs in a container: the runtime's command line and environment. Pure.

The image is read-only, and of the node's files only the slot's directory is bound, under its own
path, and what the site names. The memory disk of an isolated slot is bound too, so that what lies
there counts and goes as it does without a container.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilot.core.provenance import WORD_CHARACTERS_MAX

RUNTIMES = ("apptainer", "singularity")  # in this order
RAM_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  they are what is bound
# What a site's variables say of programs and libraries of the node, which the image has its own of.
NODES_OWN = ("PATH", "LD_", "PYTHON", "PERL5LIB", "MANPATH", "LOADEDMODULES", "MODULEPATH", "_LM")
HELPERS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FAILED = 255  # exit status of a runtime that could not start the command
_NO_EVAL_SINCE = {"apptainer": (1, 1), "singularity": (3, 10)}  # before, `$` in values is expanded
SIGNALS_MAX = 64
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NOT_FOUND = ("executable file not found", "no such file or directory", "permission denied")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A container runtime of a node; all empty where there is none."""

    path: str = ""
    name: str = ""
    version: str = ""

    def __str__(self) -> str:
        """Return name and version, as they are recorded."""
        return f"{self.name} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Containers:
    """What a site has for tasks that name an image.

    `images` are the paths that stand for references; `binds` folders that every container sees,
    read-only.
    """

    runtime: Runtime = Runtime()
    images: tuple[tuple[str, str], ...] = ()
    binds: tuple[str, ...] = ()

    def image(self, container: str) -> str:
        """Return the path of an image; empty where a reference is not mapped here."""
        return container if container.startswith("/") else dict(self.images).get(container, "")


def wanted(containers: Containers, container: str) -> list[object]:
    """Return what a slot is told of a step's container: image, path, runtime and its binds."""
    runtime = containers.runtime
    return [
        container,
        containers.image(container),
        [runtime.path, runtime.name, runtime.version],
        list(containers.binds),
    ]


def passed(variables: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a container; `own` are the step's, which always count."""
    kept = {name: text for name, text in variables.items() if not name.startswith(NODES_OWN)}
    return kept | dict(own)


def command(
    runtime: Runtime,
    image: str,
    folder: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    binds: Sequence[str] = (),
    *,
    isolated: bool,
) -> tuple[list[str], dict[str, str]]:
    """Return the command line that runs `argv` in an image, and the environment of the runtime.

    `isolated`: the slot has namespaces of its own, no rights, and memory disks that count.
    """
    words = [
        runtime.path,
        "--quiet",
        "--nocolor",
        "exec",
        "--contain",
        "--cleanenv",
        "--ipc",
        "--no-privs",
    ]
    if isolated:  # its processes are in a namespace already; the runtime must ask for no rights
        words += ["--userns", "--no-mount", "tmp"]
        for place in RAM_FOLDERS[:2]:  # /dev/shm is always the runtime's own
            words += ["--bind", place]
    else:
        words += ["--pid"]
    if _version(runtime) >= _NO_EVAL_SINCE.get(runtime.name, (0,)):
        words += ["--no-eval"]
    if environment.get("CUDA_VISIBLE_DEVICES"):
        words += ["--nv"]
    if environment.get("ROCR_VISIBLE_DEVICES"):
        words += ["--rocm"]
    for place in binds:
        words += ["--bind", f"{place}:{place}:ro"]
    words += ["--home", folder, "--pwd", folder, image, *argv]
    prefix = f"{runtime.name.upper()}ENV_"
    inside = {prefix + name: text for name, text in environment.items() if name != "HOME"}
    outside = {"PATH": HELPERS_PATH, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}
    settings = {"DISABLE_CACHE": "1", "TMPDIR": folder, "CONFIGDIR": f"{folder}/.{runtime.name}"}
    said = {f"{runtime.name.upper()}_{name}": text for name, text in settings.items()}
    return words, outside | said | inside


def not_entered(exit_code: int, last_line: str) -> str:
    """Return what the runtime said where the container could not be entered; else nothing.

    A program that is not in the image is the payload's own fault.
    """
    line = _COLOURS.sub("", last_line).strip()
    if exit_code != FAILED or not line.startswith("FATAL:"):
        return ""
    said = line.removeprefix("FATAL:").strip()
    by_the_payload = any(words in said.casefold() for words in _NOT_FOUND) and said.startswith('"')
    return "" if by_the_payload else said[:WORD_CHARACTERS_MAX]


def signal_told(exit_code: int, *, isolated: bool) -> int:
    """Return the signal that an exit status stands for; 0: none.

    The first process of a runtime's own process namespace tells a signal as 128 and its number.
    """
    number = exit_code - 128
    return number if not isolated and 0 < number <= SIGNALS_MAX else 0


def version_told(output: str) -> str:
    """Return the version in what `RUNTIME --version` printed; empty where there is none."""
    found = re.search(r"\b(\d+\.\d+[\w.+-]*)", output)
    return found[1] if found else ""


def _version(runtime: Runtime) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", runtime.version)[:2])
