"""Edited documents in a spool: `edits/`, a file for each dataset whose newest one is told there.

Each file is a copy of the signed work bundle that told of the edit, with that document alone: so
whoever reads it verifies it like any work bundle. Its name says which dataset and edit it is, so
that a list of names shows what is new.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bundle.dataset import graph, spec
from bundle.dataset.spec import Dataset
from bundle.errors import PulkError
from bundle.ids import DatasetId, Epoch
from bundle.records.edit import Edit, Place
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind
from bundle.wire.read import OpenBundle, open_bundle

SUFFIX = ".pulk"
CHUNK = "dataset"
_NAME = re.compile(r"([a-z2-7]{26})-([0-9]{20})-([0-9a-f]{32})-([0-9]{20})\.pulk")


class EditUnusable(PulkError):
    """A bundle tells of an edit without its document, or a file in `edits/` is not what it says.

    What is leased goes on by the document that it was leased from. Move the file away; where the
    bundle lies in quarantine, central must make it again.
    """

    code = "edit-unusable"
    what = "the edited document can't be used: {reason}"
    remedy = "move the file out of `edits/`; of a refused bundle tell central's operator"


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name says: a dataset, and the place of its edit."""

    dataset: DatasetId
    place: Place

    def __str__(self) -> str:
        counter, nonce, commit = self.place
        return f"{self.dataset}-{counter:020d}-{nonce.hex()}-{commit:020d}{SUFFIX}"

    @classmethod
    def of(cls, edit: Edit) -> Named:
        """Return the name of an edit's file."""
        return cls(edit.dataset, edit.place)

    @classmethod
    def parse(cls, text: str) -> Named | None:
        """Read a file's name; None for any other one."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        dataset, counter, nonce, commit = found.groups()
        return cls(DatasetId(dataset), (*Epoch(int(counter), bytes.fromhex(nonce)), int(commit)))


def every(folder: Path) -> list[Named]:
    """Return the names in `edits/`, the oldest edit of each dataset first; none where it is not."""
    try:
        found = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    parsed = (Named.parse(name) for name in found)
    return sorted(
        (one for one in parsed if one is not None), key=lambda one: (one.dataset, one.place)
    )


def newest(folder: Path) -> dict[DatasetId, Named]:
    """Return the newest edit of each dataset that has one here."""
    return {one.dataset: one for one in every(folder)}


def read(folder: Path, named: Named, trust: TrustView) -> tuple[Edit, Dataset]:
    """Return an edit and its document, verified. Raises PulkError, OSError."""
    path = folder / str(named)
    with open_bundle(path, trust, audience=None, kinds=frozenset({Kind.WORK})) as bundle:
        edit = edit_of(bundle, named.dataset)
        if edit is None or edit.place != named.place:
            raise EditUnusable(where=str(path), reason="its bundle tells of another edit")
        return edit, document(bundle.chunk(place_of(bundle, edit)))


def edit_of(bundle: OpenBundle, dataset: DatasetId) -> Edit | None:
    """Return what a verified bundle says of a dataset's document; None where nothing."""
    return next((one for one in bundle.manifest.edits if one.dataset == dataset), None)


def place_of(bundle: OpenBundle, edit: Edit) -> int:
    """Return the chunk with an edit's document. Raises EditUnusable where there is none."""
    for place in bundle.find(CHUNK):
        if bundle.manifest.chunks[place].digest == edit.document:
            return place
    raise EditUnusable(where=str(bundle.path), reason="its document is not in the bundle")


def document(raw: bytes) -> Dataset:
    """Read and check a document. Raises PulkError."""
    dataset = spec.decode(raw)
    graph.check(dataset)
    return dataset
