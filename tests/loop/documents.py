"""Small dataset documents for the loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, document: dict[str, Any]) -> Path:
    """Write a document as JSON and return its path."""
    path.write_text(json.dumps(document))
    return path


def diamond(jobs: int) -> dict[str, Any]:
    """Return a diamond per job and a fan-in over all jobs, of programs and synthetic payloads."""
    return {
        "schema": 1,
        "name": "diamond",
        "jobs": jobs,
        "seed": 7,
        "steps": [
            {
                "name": "make",
                "command": ["sh", "-c", "echo $(seed) > made; sleep 0.05"],
                "outputs": ["made"],
            },
            {
                "name": "left",
                "needs": ["make"],
                "command": ["sh", "-c", "cat made made > left"],
                "outputs": ["left"],
            },
            {
                "name": "right",
                "needs": ["make"],
                "synthetic": {"cpu": 0.02, "wall": 0.05, "outputs": [2000]},
                "outputs": ["right"],
            },
            {
                "name": "join",
                "needs": ["left", "right"],
                "command": ["sh", "-c", "cat left right > joined"],
                "outputs": ["joined"],
            },
            {
                "name": "all",
                "per": "dataset",
                "needs": ["join"],
                "command": ["sh", "-c", "cat */joined | sha256sum > total"],
                "outputs": ["total"],
            },
        ],
    }
