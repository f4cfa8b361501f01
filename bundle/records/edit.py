"""Where a dataset's document stands: which edit put it in force, by epoch and commit.

A work bundle lists, beside the documents themselves, the place of each that an edit made. What is
told of one dataset in any number of bundles, in any order, has one newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import shape
from bundle.ids import DatasetId, Epoch, parse_dataset_id

NUMBER_MAX = 2**63 - 1
FIRST = (0, b"", 0)  # the place of the document that was submitted

Place = tuple[int, bytes, int]
"""Counter and nonce of the epoch, and the commit: the greater one is the newer one."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of a dataset: the digest of the document that it put in force, and its commit."""

    dataset: DatasetId
    document: bytes
    epoch: Epoch
    commit: int

    @property
    def place(self) -> Place:
        """Where it stands among the edits of its dataset."""
        return (*self.epoch, self.commit)


def to_wire(one: Edit) -> list[Any]:
    """Return `[dataset, digest, counter, nonce, commit]`."""
    return [one.dataset, one.document, *one.epoch, one.commit]


def from_wire(row: shape.Reader) -> Edit:
    """Read an edit. Raises WrongShape and, for what is no dataset's id, MalformedId."""
    counter, commit = row.count(2), row.count(4)
    if max(counter, commit) > NUMBER_MAX:
        found = str(max(counter, commit))
        raise shape.WrongShape(where=row.where, expected=f"at most {NUMBER_MAX}", found=found)
    dataset = parse_dataset_id(row.text(0))
    return Edit(dataset, row.bytes(1, 32), Epoch(counter, row.bytes(3, 16)), commit)
