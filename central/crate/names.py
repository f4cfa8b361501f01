"""What the entities of a crate are called, and the small ones that only have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bundle.dataset.spec import Dataset
from central.crate.facts import Entity, Row

RUN, ORGANIZE, ENGINE, LANGUAGE = "#run", "#organize", "#pulk", "#language"
LICENCE = "#licence"
NOBODY = "#operator"
FIXED = ("seed", "jobs")  # inputs that every dataset has


def attempt(row: Row) -> str:
    """Return the name of an attempt's action."""
    return f"#attempt/{row['no']}"


def rest(step: int) -> str:
    """Return the name of the action that stands for the attempts that have none."""
    return f"#rest/{step}"


def tool(step: int) -> str:
    """Return the name of what a step runs."""
    return f"#tool/{step}"


def step(number: int) -> str:
    """Return the name of a step."""
    return f"#step/{number}"


def control(number: int) -> str:
    """Return the name of the action that ran a step."""
    return f"#control/{number}"


def output(number: int, place: int) -> str:
    """Return the name of a step's output as a parameter."""
    return f"#output/{number}/{place}"


def taken(number: int, place: int) -> str:
    """Return the name of a step's input as a parameter."""
    return f"#input/{number}/{place}"


def parameter(name: str) -> str:
    """Return the name of one of the dataset's parameters."""
    return f"#parameter/{quote(name, safe='')}"


def value(name: str) -> str:
    """Return the name of the value of a parameter."""
    return f"#value/{quote(name, safe='')}"


def values(dataset: Dataset) -> list[str]:
    """Return the names of all values of parameters."""
    return [value(one) for one in (*FIXED, *(f"p.{name}" for name, _ in dataset.parameters))]


def variable(number: int, name: str) -> str:
    """Return the name of a variable of a step's environment."""
    return f"#variable/{number}/{quote(name, safe='')}"


def container(image: str) -> str:
    """Return the name of a container image."""
    return f"#container/{quote(image, safe='')}"


def site(name: str) -> str:
    """Return the name of a site."""
    return f"#site/{quote(name, safe='')}"


def host(row: Row) -> str:
    """Return the name of the node of an attempt, in one boot of it."""
    return f"#host/{quote(row['host']['name'], safe='')}/{row['host']['boot_id'][:8]}"


def owner(about: Mapping[str, Any]) -> str:
    """Return the name of a dataset's owner."""
    return f"#person/{quote(about['owner'], safe='')}" if about.get("owner") else NOBODY


def host_entity(row: Row) -> Entity:
    """Return the node of an attempt: its hardware, kernel, and whether it was cut off."""
    one = row["host"]
    gpus = "".join(f"; GPU {gpu['model']}" for gpu in one.get("gpus", ()))
    about = f"{one['cpu_model']}, {one['cores']} cores, {one['memory_mib']} MiB{gpus}; kernel "
    about += f"{one['kernel']}; network: {one['offline']}; pilot {one['pulk']}"
    return {
        "@id": host(row),
        "@type": "Place",
        "name": one["name"],
        "identifier": one["boot_id"],
        "description": about,
    }


def owner_entity(about: Mapping[str, Any]) -> Entity:
    """Return who submitted a dataset."""
    if about.get("owner"):
        return {"@id": owner(about), "@type": "Person", "name": about["owner"]}
    return {"@id": NOBODY, "@type": "Organization", "name": "the operator of central"}
