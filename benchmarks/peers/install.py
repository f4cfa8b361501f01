"""The peers' own virtual environment in `.bench/`: the project's environment never gets them.

Everything is pinned and comes from PyPI by pip, GNU parallel from Debian by apt; what cannot be had
is left out, with the reason.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".bench"
PYTHON = PLACE / "venv" / "bin" / "python"
PARALLEL = PLACE / "parallel" / "usr" / "bin" / "parallel"
LIMIT_S = 600
PINNED = {
    "HyperQueue": ("hyperqueue", "0.27.0"),
    "Parsl HTEX": ("parsl", "2026.10.26"),
    "Ray": ("ray", "2.60.0"),
    "Dask": ("distributed", "2026.8.0"),
}
ALONGSIDE = {"distributed": ("dask==2026.8.0",)}


class NotHere(Exception):
    """A peer cannot be had on this machine; the text says why."""


def peer(name: str) -> str:
    """Return the version of a peer from PyPI, installed now if it was not. Raises NotHere."""
    package, version = PINNED[name]
    _make_environment()
    if _version(package) != version:
        print(f"  installing {package} {version} into .bench/venv ...", file=sys.stderr)
        wanted = (f"{package}=={version}", *ALONGSIDE.get(package, ()))
        _run(
            *(str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-input", "--retries", "1", *wanted),
        )
    return version


@cache
def parallel() -> Path:
    """Return GNU parallel: this machine's, or Debian's package unpacked. Raises NotHere."""
    for path in (Path("/usr/bin/parallel"), PARALLEL):
        if path.exists():
            return path
    folder = PLACE / "parallel"
    folder.mkdir(parents=True, exist_ok=True)
    _run("apt-get", "download", "--quiet", "parallel", cwd=folder)
    for package in folder.glob("parallel_*.deb"):
        _run("dpkg", "-x", str(package), str(folder))
    if not PARALLEL.exists():
        raise NotHere("Debian's package has no parallel")
    return PARALLEL


@cache
def _make_environment() -> None:
    if not PYTHON.exists():
        _run(sys.executable, "-m", "venv", str(PYTHON.parents[1]))


def _version(package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run(
        [PYTHON, "-I", "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return found.stdout.strip()


def _run(*command: str, cwd: Path = ROOT) -> None:
    """Run one step of an installation. Raises NotHere."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise NotHere(f"{Path(command[0]).name}: {last[:200]}")
