"""Sizes, selections and controls in bulk from the command line, with a server at work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.central.site import Site, enrolled
from tests.central.test_http import Served, start
from tests.central.test_user_commands import pulk

pytestmark = pytest.mark.programs

DOCUMENT = {
    "schema": 1,
    "jobs": 3,
    "steps": [
        {"name": "make", "command": ["true"], "outputs": ["x"]},
        {"name": "sum", "per": "dataset", "needs": ["make"], "command": ["true"]},
    ],
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A central that certified a site."""
    return enrolled(tmp_path)


@pytest.fixture
def served(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server of that central, named by the environment."""
    running = start(site)
    monkeypatch.setenv("PULK_CENTRAL", running.url)
    monkeypatch.setenv("PULK_TOKEN_FILE", str(site.home.token))
    monkeypatch.setenv("XDG_STATE_HOME", str(site.root / "state"))
    yield running
    assert running.stop() == 0, running.log.read_text()


def test_a_dataset_is_fed_truncated_closed_and_controlled_with_others(
    served: Served, tmp_path: Path
) -> None:
    ids = {}
    for name in ("nugen-1", "nugen-2", "corsika"):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(DOCUMENT | {"name": name}))
        how = ("--suspended", "--open") if name == "corsika" else ()
        ids[name] = pulk("dataset", "submit", file, *how)["id"]
    one = ids["corsika"]
    assert pulk("dataset", "extend", one[:9], 7)["jobs"] == 10
    about = pulk("dataset", "show", one)
    assert (about["jobs"], about["open"], about["control"]) == (10, True, "suspended")
    assert pulk("dataset", "truncate", one, 4, "--dry-run")["jobs"] == 4
    assert pulk("dataset", "truncate", one, 4)["jobs"] == 4
    assert pulk("dataset", "close", one)["jobs"] == 4
    assert pulk("dataset", "show", one)["open"] is False

    would = pulk("dataset", "suspend", "--name", "nu*", "--dry-run")
    assert (would["tasks"], len(would["datasets"]), would["dry_run"]) == (8, 2, True)
    assert pulk("dataset", "show", ids["nugen-1"])["control"] == ""
    done = pulk("dataset", "suspend", "--name", "nu*")
    assert {row["name"] for row in done["datasets"]} == {"nugen-1", "nugen-2"}
    assert pulk("dataset", "show", ids["nugen-1"])["control"] == "suspended"

    task = f"{one}/1/make"
    assert pulk("dataset", "cancel", task)["tasks"] == 1
    chosen = ("--verdict", "cancelled", "--dry-run")
    assert pulk("dataset", "uncancel", one, *chosen)["verdicts"] == {"cancelled": 1}
    assert pulk("dataset", "reset", one, "--failed", "--soft")["tasks"] == 0
    assert "--name" in pulk("dataset", "suspend", code=2)
    assert "no task" in pulk("dataset", "suspend", f"{one}/1", code=2)
