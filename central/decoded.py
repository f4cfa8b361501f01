"""A dataset's canonical document, decoded and checked: work that needs no lock and no database."""

from __future__ import annotations

from bundle.dataset import graph, spec
from central.core.dag import Dag


def decoded(raw: bytes, digest: bytes = b"") -> Dag:
    """Return what a document says, and the tables that every commit about it looks into.

    Raises NotCanonical, WrongShape, DatasetRefused.
    """
    found = Dag(spec.decode(raw), digest or spec.dataset_digest(raw))
    graph.check(found.dataset)
    return found
