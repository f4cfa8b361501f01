"""What is simulated: sites with their nodes and ways, tasks and their lengths. Pure values.

Durations are seconds, counts are of a day or of a site as their names say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundle.errors import PulkError
from bundle.limits import ATTEMPTS_PER_BUNDLE_MAX

DAY_S = 86_400.0
SITES_MAX = 10_000


class ScenarioRefused(PulkError):
    """A scenario is unreadable, has an unknown key, or a value that nothing can be made of."""

    code = "scenario-refused"
    what = "{key}: {reason}"
    remedy = "correct that key; docs/simulate.md has a whole example"


@dataclass(frozen=True, slots=True)
class SiteKind:
    """`count` sites that are alike. `away_s`: once, how long nothing passes; 0 is never.

    `trip_s`: how long a bundle is under way, one way. `every_s`: how often the relay ticks, or
    somebody comes. `holds`: tasks that the site wants to hold; 0 lets them be computed.
    """

    name: str
    count: int = 1
    nodes: int = 1
    slots: int = 1  # of one node
    trip_s: float = 60.0
    every_s: float = 300.0
    away_s: float = 0.0
    holds: int = 0

    @property
    def all_slots(self) -> int:
        """Slots of one site."""
        return self.nodes * self.slots


@dataclass(frozen=True, slots=True)
class Scenario:
    """A production. `tasks_per_day` that people submit; 0: as many as the nodes can run."""

    sites: tuple[SiteKind, ...]
    days: float = 30.0
    task_s: float = 3600.0
    tasks_per_day: float = 0.0
    datasets: int = 1
    attempts_per_bundle: int = ATTEMPTS_PER_BUNDLE_MAX
    tasks_per_bundle: int = ATTEMPTS_PER_BUNDLE_MAX

    @property
    def nodes(self) -> int:
        """Nodes of all sites."""
        return sum(one.count * one.nodes for one in self.sites)

    def capacity_per_day(self) -> float:
        """Return how many tasks all nodes can run in a day."""
        return sum(one.count * one.all_slots for one in self.sites) * DAY_S / self.task_s

    def sized(self) -> Scenario:
        """Return it with every site holding what keeps it busy until the next answer comes."""
        return replace(self, sites=tuple(replace(one, holds=self.holds(one)) for one in self.sites))

    def holds(self, site: SiteKind) -> int:
        """Return how many tasks a site must want to hold, where it does not say so itself.

        An answer is there two trips and two ticks after it is asked for, or after an absence; and
        central packs only once a quarter of what is wanted is missing.
        """
        if site.holds:
            return site.holds
        horizon_s = 2 * site.trip_s + 2 * site.every_s + site.away_s
        return int(4 / 3 * site.all_slots * (horizon_s / self.task_s + 1)) + 1


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Site(_Table):
    name: Annotated[str, Field(min_length=1, max_length=63)]
    count: Annotated[int, Field(ge=1, le=SITES_MAX)] = 1
    nodes: Annotated[int, Field(ge=1, le=10_000_000)] = 1
    slots: Annotated[int, Field(ge=1, le=1024)] = 1
    trip_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 1 / 60
    every_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 1 / 12
    away_days: Annotated[float, Field(ge=0, le=365)] = 0.0
    holds: Annotated[int, Field(ge=0, le=10**9)] = 0


class _File(_Table):
    days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    task_minutes: Annotated[float, Field(gt=0, le=60 * 24 * 365)] = 60.0
    tasks_per_day: Annotated[float, Field(ge=0, le=1e10)] = 0.0
    datasets: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    site: Annotated[tuple[_Site, ...], Field(min_length=1, max_length=1000)]


def load(path: Path, instead: Mapping[str, Any] | None = None) -> Scenario:
    """Read a scenario's TOML; `instead` has values that win. Raises ScenarioRefused."""
    try:
        with path.open("rb") as file:
            value = tomllib.load(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScenarioRefused(where=str(path), key="file", reason=reason) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioRefused(where=str(path), key="TOML", reason=str(error)) from error
    return _parsed({**value, **(instead or {})}, str(path))


def alike(sites: int, nodes: int, way: Mapping[str, Any], about: Mapping[str, Any]) -> Scenario:
    """Return the scenario of sites that share all nodes, some with one more than the others.

    Args:
        sites: how many.
        nodes: of all of them together, at least one each.
        way: further keys of a site, as in the file.
        about: further keys of the scenario, as in the file.

    Raises ScenarioRefused, which names the key.
    """
    each, more = divmod(nodes, sites)
    if not each:
        raise ScenarioRefused(key="nodes", reason=f"{nodes} are too few for {sites} sites")
    kinds = [{"name": "site", "count": sites - more, "nodes": each, **way}]
    if more:
        kinds.append({"name": "site +1", "count": more, "nodes": each + 1, **way})
    return _parsed({"site": kinds, **about}, "")


def _parsed(value: Mapping[str, Any], where: str) -> Scenario:
    try:
        read = _File.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ScenarioRefused(where=where, key=key, reason=first["msg"]) from error
    names = [one.name for one in read.site]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise ScenarioRefused(where=where, key="site.name", reason=f"{twice!r} is there twice")
    sites = tuple(
        SiteKind(
            name=one.name,
            count=one.count,
            nodes=one.nodes,
            slots=one.slots,
            trip_s=one.trip_hours * 3600,
            every_s=one.every_hours * 3600,
            away_s=one.away_days * DAY_S,
            holds=one.holds,
        )
        for one in read.site
    )
    return Scenario(sites, read.days, read.task_minutes * 60, read.tasks_per_day, read.datasets)
