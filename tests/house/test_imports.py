"""What a node needs: `bundle` and `pilot` import the standard library and five packages."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY

ALLOWED = frozenset({"msgpack", "zstandard", "cryptography", "psutil", "zmq"})
LAZY = ("sqlite_utils", "bundle/look/query.py")
DYNAMIC = frozenset({"import_module", "__import__"})


class Imported(NamedTuple):
    """One import statement."""

    file: str
    line: int
    name: str  # top level
    is_lazy: bool  # inside a function


def imports(package: str) -> Iterator[Imported]:
    """Yield every import of a package, wherever it stands."""
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        yield from _imports(tree, path.relative_to(REPOSITORY), is_lazy=False)


def _imports(node: ast.AST, file: Path, *, is_lazy: bool) -> Iterator[Imported]:
    for inner in ast.iter_child_nodes(node):
        names = []
        if isinstance(inner, ast.Import):
            names = [one.name for one in inner.names]
        elif isinstance(inner, ast.ImportFrom):
            names = [file.parts[0] if inner.level else inner.module or ""]
        for name in names:
            yield Imported(str(file), inner.lineno, name.partition(".")[0], is_lazy)
        is_function = isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _imports(inner, file, is_lazy=is_lazy or is_function)


@pytest.mark.parametrize("package", ["bundle", "pilot"])
def test_only_the_standard_library_and_five_packages_are_imported(package: str) -> None:
    own = {"bundle"} | {package}
    guilty = [
        one
        for one in imports(package)
        if one.name not in sys.stdlib_module_names | own | ALLOWED and one.name != LAZY[0]
    ]
    assert not guilty


def test_sqlite_utils_is_imported_by_the_query_alone_and_only_when_it_runs() -> None:
    found = [one for one in (*imports("bundle"), *imports("pilot")) if one.name == LAZY[0]]
    assert [(one.file, one.is_lazy) for one in found] == [(LAZY[1], True)]


def test_the_walk_sees_imports_wherever_they_stand() -> None:
    code = "if 1:\n import a.b\ndef f():\n from c import d\nclass E:\n from . import x\n"
    found = list(_imports(ast.parse(code), Path("bundle/e.py"), is_lazy=False))
    assert [(one.name, one.is_lazy) for one in found] == [
        ("a", False),
        ("c", True),
        ("bundle", False),
    ]


def test_programs_never_open_a_bundle_for_which_nobody_vouches() -> None:
    """`bundle.look` reads without trust too, so it is for the command line alone."""
    guilty = [
        str(path.relative_to(REPOSITORY))
        for package in ("bundle", "pilot", "relay", "central", "site_adapters")
        for path in (REPOSITORY / package).rglob("*.py")
        if not str(path.relative_to(REPOSITORY)).startswith(("bundle/look/", "bundle/cli/"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bundle.look")
    ]
    assert not guilty


def test_names_that_are_computed_are_imported_only_by_the_dispatcher() -> None:
    dispatcher = "bundle/cli/main.py"
    guilty = [
        (str(path.relative_to(REPOSITORY)), node.lineno)
        for package in ("bundle", "pilot")
        for path in (REPOSITORY / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in DYNAMIC
        and str(path.relative_to(REPOSITORY)) != dispatcher
    ]
    assert not guilty
