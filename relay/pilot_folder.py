"""Makes a pilot folder: a pilot and all that it needs, in a handful of files (see `pilot.start`).

For nodes that share a filesystem and have nothing but a Python of the same minor version, machine
and C library as this one.
"""

from __future__ import annotations

import marshal
import os
import py_compile
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from bundle.version import VERSION
from relay.errors import FolderTaken

# What `pilot.start` calls by the same names; a test runs one against the other.
MAGIC = b"pulk pilot folder 1\n"
LENGTH_BYTES = 4
MODULES, LIBRARIES = "modules", "lib"
MODULE, PACKAGE, EXTENSION = 0, 1, 2

NEEDED = ("bundle", "pilot", "msgpack", "zstandard", "cryptography", "_cffi_backend")
WHERE_INSTALLED = ("zmq",)  # without it a pilot hears no relay, and works
LEFT_OUT = ("zmq.tests", "zstandard._cffi", "zstandard.backend_cffi")
MARSHAL_OF_ANY = 2  # a version of the format that every Python 3 reads


@dataclass(frozen=True, slots=True)
class Made:
    """What lies in the new folder."""

    folder: Path
    files: int
    size_bytes: int
    modules: int
    suffix: str


@dataclass(frozen=True, slots=True)
class _Source:
    """A module's file. `place` is its path from the folder that its package is installed in."""

    name: str
    path: Path
    place: str
    kind: int


def make(folder: Path) -> Made:
    """Make the folder, whole or not at all.

    Raises FolderTaken where something is there, ModuleNotFoundError where a package is missing.
    """
    if folder.exists():
        raise FolderTaken(folder=str(folder))
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        sources = list(_all_sources())
        _write_modules(part / MODULES, sources)
        for one in sources:
            if one.kind == EXTENSION:
                _copy(one.path, part / LIBRARIES / one.place)
        for path, place in _shared_libraries():
            _copy(path, part / LIBRARIES / place)
        _write_start(part / "__main__.py")
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return Made(folder, len(files), size, len(sources), EXTENSION_SUFFIXES[0])


def _write_modules(path: Path, sources: list[_Source]) -> None:
    index: dict[str, tuple[int, str, int, int]] = {}
    body = bytearray()
    for one in sources:
        code = b""
        if one.kind != EXTENSION:
            source = one.path.read_bytes()
            code = marshal.dumps(compile(source, one.place, "exec", dont_inherit=True, optimize=0))
        index[one.name] = (one.kind, one.place, len(body), len(code))
        body += code
    about: dict[str, object] = {"suffix": EXTENSION_SUFFIXES[0], "version": VERSION}
    about |= {"size": len(body), "index": index}
    head = marshal.dumps(about, MARSHAL_OF_ANY)
    path.write_bytes(MAGIC + len(head).to_bytes(LENGTH_BYTES, "big") + head + body)


def _write_start(path: Path) -> None:
    """Write what Python runs, compiled beside it, so that no node tries to write that there."""
    _copy(_package("pilot") / "start.py", path)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(path), dfile=path.name, doraise=True, invalidation_mode=mode)


def _all_sources() -> Iterator[_Source]:
    for package in NEEDED:
        yield from _sources(package)
    for package in WHERE_INSTALLED:
        if find_spec(package) is not None:
            yield from _sources(package)


def _sources(package: str) -> Iterator[_Source]:
    top = _package(package)
    if not top.is_dir():
        yield _Source(package, top, top.name, EXTENSION)
        return
    for path in sorted(top.rglob("*")):
        place = path.relative_to(top.parent)
        suffix = next((one for one in (".py", *EXTENSION_SUFFIXES) if path.name.endswith(one)), "")
        if not suffix or not path.is_file():
            continue
        parts = (*place.parts[:-1], path.name.removesuffix(suffix))
        kind = MODULE if suffix == ".py" else EXTENSION
        if parts[-1] == "__init__" and kind == MODULE:
            parts, kind = parts[:-1], PACKAGE
        name = ".".join(parts)
        if not any(f"{name}.".startswith(f"{one}.") for one in LEFT_OUT):
            yield _Source(name, path, str(place), kind)


def _shared_libraries() -> Iterator[tuple[Path, str]]:
    """Yield the libraries that wheels bring along, which their modules look for beside them."""
    if find_spec("zmq") is None:
        return
    top = _package("zmq").parent
    for path in sorted((top / "pyzmq.libs").glob("*.so*")):
        yield path, str(path.relative_to(top))


def _package(name: str) -> Path:
    """Return the folder of a package, or the file of an extension module."""
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(str(spec.origin))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
