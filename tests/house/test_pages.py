"""What the pages refer to is there: links, anchors, files, decisions, codes, keys of settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from central.config import Config as CentralConfig
from central.core.obstacles import Code
from central.home import Home
from central.http.app import ROUTES
from relay.config import Config as RelayConfig
from tests.house.mentions import pages
from tests.house.reference import DOCS, REPOSITORY

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TICKED = re.compile(r"`([^`]+)`")
FIRST_CELL = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+)[^|]* \|", re.MULTILINE)
VARIABLE = re.compile(r"\{\w+(:[^{}]*(\{\d+(,\d+)?\}[^{}]*)?)?\}")
PLACES = ("central/", "relay/", "bundle/", "pilot/", "site_adapters/", "tests/", "docs/", ".ci/")


def anchors(page: Path) -> set[str]:
    """Return the anchors that headings make, by the rule of the places where pages are read."""
    made = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in made}


def section(page: str, heading: str) -> str:
    """Return the text of a page from a heading to the next of its kind."""
    after = (DOCS / page).read_text().partition(f"\n{heading}\n")[2]
    mark = heading.partition(" ")[0]
    return re.split(rf"^{mark} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """Return the words in backticks of the first column of a section's tables."""
    return [word for cell in FIRST_CELL.findall(text) for word in TICKED.findall(cell)]


@pytest.mark.parametrize("page", pages(), ids=lambda one: str(one.relative_to(REPOSITORY)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = FENCE.sub("", (REPOSITORY / "ARCHITECTURE.md").read_text())
    named = {one for one in TICKED.findall(text) if one.startswith(PLACES) and " " not in one}
    assert len(named) > 80
    assert not [one for one in sorted(named) if not (REPOSITORY / one).exists()]


def test_the_list_of_decisions_names_each_of_them() -> None:
    listed = LINK.findall((DOCS / "adr" / "README.md").read_text())
    there = sorted(one.name for one in (DOCS / "adr").glob("[0-9]*.md"))
    assert there
    assert listed == there


def test_every_decision_that_a_page_cites_exists() -> None:
    numbers = {int(one.name[:4]) for one in (DOCS / "adr").glob("[0-9]*.md")}
    cited = {int(n) for page in pages() for n in re.findall(r"\bADR (\d+)", page.read_text())}
    assert cited <= numbers


def test_the_codes_of_why_are_those_of_the_page() -> None:
    told = first_cells(section("plan.md", "## Why is my task not running?"))
    assert sorted(told) == sorted(one.value for one in Code)


def test_every_code_of_why_is_raised_somewhere() -> None:
    """That is: given to an obstacle, not only listed or put in order."""
    raised = {
        node.attr
        for path in (REPOSITORY / "central").rglob("*.py")
        for made in _raising(ast.parse(path.read_text()))
        for node in ast.walk(made)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "Code"
    }
    assert raised == {one.name for one in Code}


def test_the_table_of_central_toml_names_every_key() -> None:
    told = first_cells(section("operate-central.md", "## Configuration: central.toml"))
    assert sorted(told) == sorted(_keys(CentralConfig))


def test_the_table_of_relay_toml_names_every_key() -> None:
    told = first_cells(section("operate-site.md", "## Configuration: relay.toml"))
    assert sorted(told) == sorted(_keys(RelayConfig))


def test_the_table_of_routes_is_that_of_the_server() -> None:
    """Names of variable parts are the page's own."""
    text = section("operate-central.md", "## Routes")
    told = {re.sub(r"\?.*", "", one) for one in first_cells(text)}
    assert {re.sub(r"\b[A-Z0-9]+(?=/|$)", "X", one) for one in told} == {
        f"{one.method} {re.sub(VARIABLE, 'X', one.path)}" for one in ROUTES
    }


def test_the_table_of_centrals_folder_names_all_that_lies_there() -> None:
    text = section("operate-central.md", "## First day")
    told = {one.rstrip("/") for one in first_cells(text)}
    root = Path("central")
    places = {name for name, one in vars(Home).items() if isinstance(one, property)} - {"root_dir"}
    assert {getattr(Home(root), name).relative_to(root).name for name in places} <= told


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{name}.{key}" for key in inner.model_fields)
        else:
            yield name


def _raising(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what stands inside functions: an obstacle is made there."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
