"""Writing a crate: a folder or a zip file that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from central.crate import entities
from central.crate.facts import ATTEMPTS, CANONICAL, DOCUMENT, SUMMARY, Entity, Facts, ref
from central.errors import ExportRefused

TERMS = "https://w3id.org/ro/terms/workflow-run/context"
VERSION = "1.1"  # of RO-Crate, on which the profiles rest
ABOUT = {
    CANONICAL: ("application/msgpack", "the document's canonical bytes, which its digest is of"),
    ATTEMPTS: ("application/gzip", "attempts with all that is known of each, a JSON object a line"),
    SUMMARY: ("application/json", "tasks and attempts of all steps, summed up"),
}


def write(facts: Facts, files: Path, to: Path) -> int:
    """Write a crate of facts and of the files in a folder; return how many entities it has.

    Raises ExportRefused, OSError.
    """
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise ExportRefused(where=str(to), reason="there is something already")
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_contexts.append(TERMS)
    about_it = entities.workflow(facts)
    document = crate.add(File(crate, files / DOCUMENT, DOCUMENT, properties=about_it))
    assert document is not None  # noqa: S101  one was given, one comes back
    crate.mainEntity = document
    for name, (kind, words) in ABOUT.items():
        about = {"name": name, "encodingFormat": kind, "description": words}
        crate.add(File(crate, files / name, name, properties=about))
    made = entities.entities(facts)
    parts = [one["@id"] for one in made if one["@type"] == "File"]
    for one in made:
        _add(crate, one)
    for name, value in entities.root(facts).items():
        crate.root_dataset._jsonld[name] = value
    crate.root_dataset._jsonld["hasPart"] += [ref(one) for one in parts]
    partial = to.with_name(f".{to.name}.partial{os.getpid()}")
    try:
        _save(crate, partial, is_zip=to.suffix == ".zip")
        partial.replace(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
    return len(made)


def _add(crate: ROCrate, one: Entity) -> None:
    about = {name: value for name, value in one.items() if name != "@id"}
    crate.add(ContextEntity(crate, one["@id"], properties=about))


def _save(crate: ROCrate, to: Path, *, is_zip: bool) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if is_zip:
        crate.write_zip(to)
    else:
        crate.write(to)


def summary(about: dict[str, Any], counted: Any, groups: Any, limits: dict[str, Any]) -> str:
    """Return the text of the file that sums up."""
    return json.dumps({"dataset": about, "counts": counted, "groups": groups, "limits": limits})
