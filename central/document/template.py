"""Documents to start from: complete, explained line by line, and right as they stand."""

from __future__ import annotations

from importlib.resources import files

from bundle.dataset.refusals import meant
from central.document.text_file import DocumentRefused

ABOUT = {
    "sweep": "one step over a grid of parameters, with a script",
    "chain": "simulation, detector and filter for each job, with retries and a checkpoint",
    "gpu": "a step on GPUs of some kind, over a list of input files, at chosen sites",
    "fan-in": "many jobs, merged by blocks of jobs, then one result over all of them",
}


def template(name: str) -> str:
    """Return the text of a template. Raises DocumentRefused where there is none of that name."""
    if name not in ABOUT:
        hint = meant(name, ABOUT, f"there are {', '.join(ABOUT)}")
        raise DocumentRefused(where="template", reason=f"there is no template {name!r}", hint=hint)
    return (files("central.document") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
