"""What a user can say is told: query parameters, members of bodies, roles, variables, packages."""

from __future__ import annotations

import re
import tomllib
from typing import get_args

import pytest
from pydantic import BaseModel

from central.cli import settings
from central.core.authorise import TOKEN_SCOPES, Role
from central.core.notices import Event
from central.document.form import DatasetForm
from central.http.app import ROUTES
from tests.house.mentions import pages
from tests.house.reference import DOCS, PACKAGES, REPOSITORY
from tests.house.test_pages import FENCE, TICKED

VARIABLE = re.compile(r"[\"'](_?PULK_[A-Z_]+[A-Z])[\"']")
# Said to processes by processes of Pulk, never by people.
BETWEEN_PROCESSES = frozenset({"_PULK_COMPLETE", "PULK_BATCH_ID", "PULK_LEDGER"})
PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def words_of(*names: str) -> set[str]:
    """Return what stands in backticks on some pages, whole and in its parts."""
    found: set[str] = set()
    for name in names:
        text = (DOCS / name).read_text()
        for ticked in (*TICKED.findall(FENCE.sub("", text)), *FENCE.findall(text)):
            found |= {ticked, *re.findall(r"[\w-]+", ticked), *re.findall(r"\w+", ticked)}
    return found


def test_every_key_of_a_dataset_document_is_told() -> None:
    told = words_of("dataset-document.md", "retry.md", "plan.md", "pilot.md")
    assert sorted(keys(DatasetForm) - told) == []


def keys(model: type[BaseModel]) -> set[str]:
    """Return the keys that a form takes, those of the forms inside it too, however deep."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(field.alias or name)
        waiting = [field.annotation]
        while waiting:
            one = waiting.pop()
            waiting += get_args(one)
            if isinstance(one, type) and issubclass(one, BaseModel):
                found |= keys(one)
    return found


def members(model: object) -> set[str]:
    """Return the members that a model takes, those of models inside it too."""
    found: set[str] = set()
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            inner = [one for one in get_args(field.annotation) if isinstance(one, type)]
            found |= {name}.union(*(members(one) for one in inner))
    return found


@pytest.mark.parametrize(
    "route", [one for one in ROUTES if one.query], ids=lambda one: f"{one.method} {one.path}"
)
def test_every_parameter_of_a_query_is_told(route: object) -> None:
    told = words_of("api.md", "operate-central.md")
    assert sorted(members(route.query) - told) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "route",
    [one for one in ROUTES if isinstance(one.body, type)],
    ids=lambda one: f"{one.method} {one.path}",
)
def test_every_member_of_a_body_is_told(route: object) -> None:
    told = words_of("api.md", "operate-central.md")
    assert sorted(members(route.body) - told) == []  # type: ignore[attr-defined]


def test_every_role_scope_and_event_is_told() -> None:
    told = words_of("api.md")
    for word in (*Role, *TOKEN_SCOPES, *(one for one in Event if one is not Event.TEST)):
        assert word.value in told


def test_every_variable_that_the_programs_read_is_told() -> None:
    text = "\n".join(page.read_text() for page in pages())
    read = {
        found
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
        for found in VARIABLE.findall(path.read_text())
    }
    assert {"PULK_CENTRAL", "PULK_TOKEN_FILE"} <= read
    assert not sorted(one for one in read - BETWEEN_PROCESSES if one not in text)


def test_every_key_of_the_clients_settings_is_told() -> None:
    assert set(settings.KEYS) == set(settings.VARIABLES)
    assert not set(settings.KEYS) - words_of("commands.md")


def test_every_package_that_is_depended_upon_has_its_line_in_the_architecture() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *(one for each in extras.values() for one in each)]
    names = {found[0] for one in listed if (found := PLAIN.match(one)) and found[0] != "pulk"}
    table = (REPOSITORY / "ARCHITECTURE.md").read_text().partition("## Dependencies")[2].lower()
    assert not sorted(one for one in names - {"aiobotocore"} if one.lower() not in table)
