"""Each way to run N times `/bin/true` two at a time: how it is called, and what it came to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import install
from benchmarks.peers.said import SLOTS, TRUE

LIMIT_S = 120
UNWAITED = {"Ray"}
_LOOP = f"""
import os
alive, left = 0, int(__import__("sys").argv[1])
while left or alive:
    while left and alive < {SLOTS}:
        os.posix_spawn("{TRUE}", ["{TRUE}"], os.environ)
        left, alive = left - 1, alive + 1
    os.wait()
    alive -= 1
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to. `took_s`: for the tasks alone; `first_s`: until the first one ended.

    `cpu_s` is that of every process of the run, `peak_mib` only known where it was asked for.
    """

    took_s: float
    cpu_s: float
    peak_mib: float = 0.0
    first_s: float | None = None


@dataclass(frozen=True, slots=True)
class System:
    """A way to run tasks; `run(tasks, memory)`. `tasks`: how many a round has."""

    name: str
    tasks: int
    run: Callable[[int, bool], Ran]


class RunFailed(Exception):
    """A run ended with an error or took too long; the text is the end of what it said."""


def watched(
    command: list[str],
    *,
    memory: bool = False,
    peer: bool = False,
    unwaited: bool = False,
    home: Path | None = None,
) -> dict[str, Any]:
    """Run a command with all its processes accounted for. Raises RunFailed.

    `peer`: it sees no network but loopback, and `home` is its home. `unwaited`: it waits for none
    of its processes.
    """
    options = ["--limit-s", str(LIMIT_S), *["--memory"] * memory, *["--offline"] * peer]
    options += ["--unwaited"] * unwaited
    environment = dict(os.environ)
    if home is not None:
        path = f"{install.PYTHON.parent}:{environment.get('PATH', '')}"
        environment |= {"HOME": str(home), "PATH": path, "PYTHONPATH": str(install.ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.family", *options, *command],
        cwd=install.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S + 60,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise RunFailed(done.stderr.strip()[-500:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def plain(name: str, tasks: int, command: Callable[[int], list[str]], **how: bool) -> System:
    """Return a system that is one command and has no start worth to tell."""

    def run(count: int, memory: bool) -> Ran:
        with tempfile.TemporaryDirectory(prefix="pulk-peer-") as folder:
            found = watched(command(count), memory=memory, home=Path(folder), **how)
        return Ran(found["wall_s"], found["cpu_s"], found["peak_mib"])

    return System(name, tasks, run)


def from_pypi(name: str, module: str, tasks: int) -> System:
    """Return a peer that one of `with_*.py` drives. Raises install.NotHere."""
    version = install.peer(name)

    def run(count: int, memory: bool) -> Ran:
        with tempfile.TemporaryDirectory(prefix="pulk-peer-") as folder:
            command = [str(install.PYTHON), "-m", f"benchmarks.peers.{module}", str(count), folder]
            found = watched(
                command, memory=memory, peer=True, unwaited=name in UNWAITED, home=Path(folder)
            )
        said = json.loads(found["said"])
        return Ran(said["took_s"], found["cpu_s"], found["peak_mib"], said["first_s"])

    return System(f"{name} {version}", tasks, run)


def floor(binary: Path, tasks: int) -> System:
    """Return the C loop, built now. Raises install.NotHere."""
    source = Path(__file__).parents[1] / "floor.c"
    try:
        subprocess.run(["cc", "-O2", "-o", binary, source], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        raise install.NotHere(f"no C compiler: {error}") from error
    return plain("C posix_spawn", tasks, lambda count: [str(binary), str(count)])


def loop(tasks: int) -> System:
    """Return the same loop in Python."""
    command = [sys.executable, "-I", "-c", _LOOP]
    return plain("python posix_spawn", tasks, lambda count: [*command, str(count)])


def xargs(tasks: int) -> System:
    """Return xargs."""
    return plain("xargs -P2", tasks, lambda count: _piped(count, f"xargs -P {SLOTS} -n 1 {TRUE}"))


def parallel(tasks: int) -> System:
    """Return GNU parallel. Raises install.NotHere."""
    words = f"{install.parallel()} --will-cite -j {SLOTS} -n 1 {TRUE}"
    return plain("GNU parallel", tasks, lambda count: _piped(count, words), peer=True)


def _piped(count: int, words: str) -> list[str]:
    return ["/bin/sh", "-c", f"seq {count} | {words}"]


@contextlib.contextmanager
def tried(name: str, missing: dict[str, str]) -> Iterator[None]:
    """Note by name what cannot be measured, and why."""
    try:
        yield
    except (install.NotHere, RunFailed) as error:
        missing[name] = " ".join(str(error).split())
        print(f"  not measured: {name}: {missing[name]}", file=sys.stderr)
