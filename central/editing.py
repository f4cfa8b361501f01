"""Editing a dataset: another document in its place, by a commit that carries it."""

from __future__ import annotations

from dataclasses import dataclass

from bundle import canonical
from bundle.dataset import spec
from bundle.digest import digest
from bundle.ids import BundleId, DatasetId
from bundle.wire.write import ChunkSource
from central import cosignatures
from central.arriving import join_controls
from central.core import edit as edits
from central.core.commit import Commit, Remembered
from central.core.facts import Control, ControlWord
from central.errors import EditRefused
from central.joining import Joining, publish_commit
from central.requests import Key, answered, tasks_of
from central.submission import Given
from central.workings import Workings


@dataclass(frozen=True, slots=True)
class Edited:
    """A dataset whose document was edited. `steps` compute something else now.

    `tasks`: how many tasks that something happened to must run again for it.
    """

    digest: bytes
    steps: tuple[int, ...]
    tasks: int


def edit(workings: Workings, dataset: DatasetId, given: Given, key: Key) -> Edited:
    """Put a canonical document in place of a dataset's; the same key edits once.

    Raises NotCanonical, WrongShape, DatasetRefused, UnknownDataset, EditRefused,
    CosignatureRefused, IdempotencyConflict.
    """
    document = spec.dataset_digest(given.raw)
    now = workings.dag(document, given.raw)  # decodes and checks
    cosigned = cosignatures.check(document, given.cosignature)
    request = digest("edit", canonical.encode([dataset, document, given.cosignature]))
    with workings.transaction():
        known = answered(workings, key, request)
        if known is not None:
            steps = tuple(known.counts("steps"))
            return Edited(document, steps, known.count("tasks"))
        row = workings.dataset(dataset)
        before = workings.dag(row.digest)
        refused = edits.difference(before.dataset, now.dataset)
        if not refused and workings.controls(row).whole.removed:
            refused = "the dataset was deleted"
        if refused:
            raise EditRefused(where=dataset, reason=refused)
        number = workings.store.bundles.head(workings.epoch) + 1
        made = Control(ControlWord.EDIT, None, workings.epoch, number, document)
        controls = edits.controls_of((before, now), row.touched, made)
        steps = tuple(sorted(edits.changed_steps(before, now)))
        found = Edited(document, steps, sum(tasks_of(row, one) for one in controls[1:]))
        answer = canonical.encode({"steps": list(steps), "tasks": found.tasks})
        kept = Remembered(*key, request, answer)
        commit = Commit(controls=tuple((dataset, one) for one in controls), remembered=(kept,))

        def join(bundle: BundleId, no: int) -> None:
            del bundle
            Joining(workings, live=True).learn_document(document, given.raw)
            join_controls(workings, commit.controls, {}, no, live=True)
            cosignatures.keep(workings, cosigned)
            workings.store.people.remember(kept.token, kept.key, kept.request, kept.answer)

        attached = [ChunkSource("dataset", dataset, 1, given.raw)]
        attached += [cosignatures.chunk(one) for one in cosigned]
        publish_commit(workings, commit, number, attached, join)
    return found
