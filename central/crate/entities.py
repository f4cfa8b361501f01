"""All entities of a crate, from facts alone: the workflow, its parameters, files, and actions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from bundle.dataset.spec import Command, Dataset
from central.crate import actions, names
from central.crate.facts import DOCUMENT, Entity, Facts, file_id, ref

BIOSCHEMAS = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
UNSTATED = "No licence was stated; ask the owner before you use or pass on what is in here."


def entities(facts: Facts) -> list[Entity]:
    """Return all entities but the root, its metadata file and the files that lie in the crate."""
    made = [*_fixed(facts), *_parameters(facts), *_tools(facts)]
    made += [*actions.attempts(facts), *actions.around(facts), *_files(facts)]
    return made


def workflow(facts: Facts) -> Entity:
    """Return what the document is beside a file: the workflow with its steps and parameters."""
    dataset, about = facts.dataset, facts.about
    shown = _outputs(facts)
    made: Entity = {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": about["name"],
        "description": dataset.description or f"{dataset.jobs} jobs of {len(dataset.steps)} steps",
        "identifier": about["digest"],
        "programmingLanguage": ref(names.LANGUAGE),
        "encodingFormat": "application/toml",
        "hasPart": ref(*(names.tool(one) for one in facts.began)),
        "step": ref(*(names.step(one) for one in facts.began)),
        "input": ref(*(one["@id"] for one in _parameters(facts) if "workExample" in one)),
        "creator": ref(names.owner(about)),
    }
    results = set(actions.results(facts))
    ends = [one for one, files in shown.items() if results & files.keys()]
    if ends:
        made["output"] = ref(*(names.output(*one) for one in ends))
    return made


def root(facts: Facts) -> dict[str, Any]:
    """Return the properties of the crate itself."""
    about = facts.about
    acts = [one["@id"] for one in _acts(facts)]
    return {
        "name": f"{about['name']} ({about['id']})",
        "description": facts.dataset.description or f"The dataset {about['name']} of Pulk.",
        "identifier": about["id"],
        "datePublished": facts.exported,
        "creator": ref(names.owner(about)),
        "license": ref(facts.licence if _is_url(facts.licence) else names.LICENCE),
        "conformsTo": ref(*(one for one, _, _ in PROFILES)),
        "mentions": ref(*acts),
    }


def _acts(facts: Facts) -> Iterator[Entity]:
    for one in (*actions.attempts(facts), *actions.around(facts)):
        if one["@type"] in ("CreateAction", "OrganizeAction"):
            yield one


def _fixed(facts: Facts) -> Iterator[Entity]:
    for at, name, version in PROFILES:
        yield {"@id": at, "@type": "CreativeWork", "name": name, "version": version}
    yield names.owner_entity(facts.about)
    yield {
        "@id": facts.licence if _is_url(facts.licence) else names.LICENCE,
        "@type": "CreativeWork",
        "name": facts.licence or "not stated",
        "description": facts.licence or UNSTATED,
    }
    yield {
        "@id": names.ENGINE,
        "@type": "SoftwareApplication",
        "name": "Pulk",
        "softwareVersion": facts.version,
        "description": "Carries production across a firewall in signed bundles.",
    }
    yield {
        "@id": names.LANGUAGE,
        "@type": "ComputerLanguage",
        "name": "Pulk dataset document",
        "alternateName": "Pulk",
        "version": "1",
    }


def _parameters(facts: Facts) -> Iterator[Entity]:
    """Yield each parameter of the dataset, and its value."""
    dataset = facts.dataset
    given = [(name, "Integer", str(getattr(dataset, name)), name) for name in names.FIXED]
    given += [(name, "Text", value, f"p.{name}") for name, value in dataset.parameters]
    for name, kind, value, key in given:
        yield {
            "@id": names.parameter(key),
            "@type": "FormalParameter",
            "additionalType": kind,
            "name": name,
            "valueRequired": True,
            "conformsTo": ref(BIOSCHEMAS),
            "workExample": ref(names.value(key)),
        }
        yield {
            "@id": names.value(key),
            "@type": "PropertyValue",
            "name": name,
            "value": value,
            "exampleOfWork": ref(names.parameter(key)),
        }


def _tools(facts: Facts) -> Iterator[Entity]:
    """Yield each step that began, what it runs, and what it runs with."""
    dataset, shown, taken = facts.dataset, _outputs(facts), _inputs(facts)
    for number in facts.began:
        step = dataset.steps[number]
        outputs = [names.output(*one) for one in shown if one[0] == number]
        inputs = [names.taken(*one) for one in taken if one[0] == number]
        ask = step.request
        tool: Entity = {
            "@id": names.tool(number),
            "@type": "SoftwareApplication",
            "name": step.name,
            "description": _runs(dataset, number),
            "memoryRequirements": f"{ask.memory_mib} MiB",
            "processorRequirements": f"{ask.cpu_milli / 1000:g} cores",
            "storageRequirements": f"{ask.disk_bytes} B",
        }
        links = [
            f"#connection/{number}/{place}"
            for place, one in enumerate(step.inputs)
            if (number, place) in taken and (one.step, one.output) in shown
        ]
        yield tool | _listed("input", inputs) | _listed("output", outputs)
        yield {
            "@id": names.step(number),
            "@type": "HowToStep",
            "name": step.name,
            "position": str(number),
            "workExample": ref(names.tool(number)),
        } | _listed("connection", links)
        for link in links:
            place = int(link.rpartition("/")[2])
            one = step.inputs[place]
            yield {
                "@id": link,
                "@type": "ParameterConnection",
                "sourceParameter": ref(names.output(one.step, one.output)),
                "targetParameter": ref(names.taken(number, place)),
            }
        if step.container:
            yield {
                "@id": names.container(step.container),
                "@type": "ContainerImage",
                "additionalType": ref(f"https://w3id.org/ro/terms/workflow-run#{_kind(step)}"),
                "name": step.container,
            }
        for name, value in step.environment:
            about = {"@id": names.variable(number, name), "@type": "PropertyValue"}
            yield about | {"name": name, "value": value}


def _files(facts: Facts) -> Iterator[Entity]:
    """Yield every file by its content, and the parameters that it is an example of."""
    steps = facts.dataset.steps
    files: dict[str, Entity] = {}
    groups = [(names.output, _outputs(facts)), (names.taken, _inputs(facts))]
    for name_of, shown in groups:
        for (number, place), held in shown.items():
            is_output = name_of is names.output
            name = (steps[number].outputs if is_output else steps[number].inputs)[place].name
            for at, one in held.items():
                about = {"@id": at, "@type": "File", "name": one["name"]}
                about |= {"contentSize": str(one["bytes"]), "sha256": one["sha256"]}
                file = files.setdefault(at, about | {"exampleOfWork": []})
                file["exampleOfWork"].append(ref(name_of(number, place)))
            yield {
                "@id": name_of(number, place),
                "@type": "FormalParameter",
                "additionalType": "File",
                "name": name,
                "conformsTo": ref(BIOSCHEMAS),
                "workExample": ref(*held),
            }
    yield from files.values()
    yield from _of_others(facts, set(files))


def _of_others(facts: Facts, known: set[str]) -> Iterator[Entity]:
    """Yield the files that came from other datasets, and say which task there made each."""
    for row in facts.rows:
        for one in row.get("foreign", ()):
            at = file_id(one["sha256"])
            if at not in known:
                known.add(at)
                yield {
                    "@id": at,
                    "@type": "File",
                    "name": one["name"],
                    "contentSize": str(one["bytes"]),
                    "sha256": one["sha256"],
                    "description": f"Made in another dataset, by task {one['task']} (step "
                    f"{one['step']}), attempt {one['attempt']}.",
                }


def _outputs(facts: Facts) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the files that came out of each output of a step, by their names here."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row in facts.rows:
        for place, one in enumerate(row["outputs"]):
            found.setdefault((row["step"], place), {})[file_id(one["sha256"])] = one
    return dict(sorted(found.items()))


def _inputs(facts: Facts) -> dict[tuple[int, int], dict[str, Any]]:
    made_by = {row["outcome"]: row["outputs"] for row in facts.rows if row["outcome"]}
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row in facts.rows:
        for one in actions.consumed(facts.dataset, row, made_by):
            found.setdefault((row["step"], one["input"]), {})[file_id(one["sha256"])] = one
    return dict(sorted(found.items()))


def _runs(dataset: Dataset, number: int) -> str:
    run = dataset.steps[number].run
    return shlex.join(run.argv) if isinstance(run, Command) else "a synthetic payload"


def _kind(step: Any) -> str:
    return "SIFImage" if step.container.endswith((".sif", ".img")) else "DockerImage"


def _listed(name: str, ids: list[str]) -> Entity:
    return {name: ref(*ids)} if ids else {}


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


__all__ = ["DOCUMENT", "entities", "root", "workflow"]
