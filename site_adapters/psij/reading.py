"""Makes of what a scheduler printed what PSI/J's parsers can read, one batch job at a time. Pure.

A parser of PSI/J refuses everything where one row is unknown to it. Each row is handed to it
alone, so that one that is not understood hides no other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# PBS: some of the ids are not known, or known only to its history. The rest is told all the same.
_PBS_PARTLY = frozenset({35, 153})


def rows(scheduler: str, status: int, output: str) -> Iterator[str]:
    """Yield documents of one batch job each, as PSI/J's parser takes them with status 0.

    Raises ValueError where the scheduler gave no answer.
    """
    if scheduler == "slurm" and not status:
        head, *lines = output.splitlines() or [""]
        yield from (f"{head}\n{line}" for line in lines if line.strip())
    elif scheduler in ("pbs", "pbs_classic") and status in {0, *_PBS_PARTLY}:
        if not output.strip():
            return
        jobs = _object(json.loads(output)).get("Jobs", {})
        yield from (json.dumps({"Jobs": {name: job}}) for name, job in _object(jobs).items())
    elif scheduler == "lsf":
        yield from (json.dumps({"RECORDS": [one]}) for one in _records(status, output))
    elif status:
        raise ValueError(f"exit status {status}")
    else:
        yield output


def _records(status: int, output: str) -> Iterator[dict[str, Any]]:
    """Yield what bjobs tells of batch jobs; status 255: some of the ids are not known."""
    if status not in (0, 255):
        raise ValueError(f"exit status {status}")
    for one in _object(json.loads(output)).get("RECORDS", []):
        if "ERROR" not in _object(one):
            reasons = [one.get(f"{kind}_REASON") for kind in ("EXIT", "KILL", "SUSPEND")]
            # PSI/J 0.9.11 looks for the reason that it found below a name that bjobs never prints
            yield {**one, "reason": next((each for each in reasons if each), "")}


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no object stands where one should")
    return value
