"""What a crate is made of: the dataset, and its attempts as central's API tells them in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bundle.dataset.spec import Dataset

Entity = dict[str, Any]  # of JSON-LD, with its @id and @type
Row = Mapping[str, Any]  # one attempt of `GET /v1/datasets/ID/attempts?detail=true`

DOCUMENT, CANONICAL = "dataset.toml", "dataset.msgpack"
ATTEMPTS, SUMMARY = "attempts.ndjson.gz", "summary.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a dataset when it is exported.

    Attributes:
        about: the answer of `GET /v1/datasets/ID`.
        counted: the rows of its `/counts`, a step each.
        rows: attempts that become actions of their own, by number.
        listed: how many attempts stand in the file of attempts.
        exported: when, ISO 8601.
        licence: a URL or words; empty where nobody said.
    """

    dataset: Dataset
    about: Mapping[str, Any]
    counted: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]
    listed: int
    exported: str
    version: str
    licence: str = ""

    def rows_of(self, step: int) -> list[Row]:
        """Return the attempts at a step that become actions."""
        return [row for row in self.rows if row["step"] == step]

    def attempts_at(self, step: int) -> int:
        """Return how many attempts there were at a step."""
        return int(self.counted[step]["attempts"])

    @property
    def began(self) -> tuple[int, ...]:
        """The steps at which there were attempts."""
        return tuple(one for one in range(len(self.dataset.steps)) if self.attempts_at(one))

    @property
    def is_summed(self) -> bool:
        """Whether attempts are left out of the actions."""
        return any(self.attempts_at(one) > len(self.rows_of(one)) for one in self.began)


def ref(*ids: str) -> Any:
    """Return references to entities: one as it is, several as a list."""
    return {"@id": ids[0]} if len(ids) == 1 else [{"@id": one} for one in ids]


def file_id(sha256: str) -> str:
    """Return the name of a file by its content, wherever it lies (RFC 6920)."""
    return f"nih:sha-256;{sha256}"
