"""Runs roc-validator on a folder, cut off from the network; run by an interpreter that has it.

JSON-LD contexts are fetched by their address, which a test must not: the terms that Pulk's crates
use are given here as the two contexts define them.
"""

from __future__ import annotations

import io
import json
import sys
import urllib.request
from typing import Any

SCHEMA, BIO = "http://schema.org/", "https://bioschemas.org/"
WFRUN = "https://w3id.org/ro/terms/workflow-run#"
RO_CRATE = {
    "@vocab": SCHEMA,
    "schema": SCHEMA,
    "File": f"{SCHEMA}MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
    "ComputationalWorkflow": f"{BIO}ComputationalWorkflow",
    "FormalParameter": f"{BIO}FormalParameter",
    "input": f"{BIO}properties/input",
    "output": f"{BIO}properties/output",
}
WORKFLOW_RUN = {
    "ParameterConnection": f"{WFRUN}ParameterConnection",
    "connection": f"{WFRUN}connection",
    "sourceParameter": f"{WFRUN}sourceParameter",
    "targetParameter": f"{WFRUN}targetParameter",
    "ContainerImage": f"{WFRUN}ContainerImage",
    "containerImage": f"{WFRUN}containerImage",
    "resourceUsage": f"{WFRUN}resourceUsage",
    "environment": f"{WFRUN}environment",
    "sha256": f"{WFRUN}sha256",
}
FETCHED = ("ro-crate-1.1_3.1", "ro-crate-1.1_3.2")  # whether the contexts are there to be fetched
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": RO_CRATE,
    "https://w3id.org/ro/terms/workflow-run/context": WORKFLOW_RUN,
}


class Answer(io.BytesIO):
    """What urlopen would give."""

    def __init__(self, url: str, content: bytes) -> None:
        super().__init__(content)
        self.url, self.status, self.code = url, 200, 200
        self.headers = {"Content-Type": "application/ld+json"}

    def geturl(self) -> str:
        return self.url

    def info(self) -> Any:
        return self.headers

    def getcode(self) -> int:
        return 200


def opened(request: Any, *_args: Any, **_more: Any) -> Answer:
    """Answer the two contexts; there is nothing else."""
    url = request if isinstance(request, str) else request.full_url
    if url not in CONTEXTS:
        raise OSError(f"cut off: {url}")
    return Answer(url, json.dumps({"@context": CONTEXTS[url]}).encode())


def main(folder: str, profile: str) -> None:
    """Print what is wrong, a JSON list; exit with 1 where something is."""
    import rdflib.parser
    import rdflib.plugins.shared.jsonld.util
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings

    urllib.request.urlopen = opened  # type: ignore[assignment]
    for module in (rdflib.parser, rdflib.plugins.shared.jsonld.util):
        for name in ("urlopen", "_urlopen"):
            if hasattr(module, name):
                setattr(module, name, opened)
    settings = ValidationSettings(
        rocrate_uri=folder,
        profile_identifier=profile,
        requirement_severity=Severity.REQUIRED,
        skip_checks=list(FETCHED),
    )
    found = services.validate(settings)
    issues = [f"{one.check.identifier}: {one.message}" for one in found.get_issues()]
    print(json.dumps(issues))
    sys.exit(1 if issues else 0)


main(*sys.argv[1:])
