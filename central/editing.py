"""Another document in a dataset's place, by a commit that carries it: an edit, or another size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bundle import canonical
from bundle.dataset import spec
from bundle.digest import digest
from bundle.ids import BundleId, DatasetId
from bundle.intervals import IntervalSet
from bundle.trust.cosignature import Cosignature
from bundle.wire.write import ChunkSource
from central import cosignatures
from central.arriving import join_controls
from central.core import edit as edits
from central.core import state_byte
from central.core.commit import Commit, Remembered
from central.core.dag import Dag
from central.core.edit import Size
from central.core.facts import Control, ControlWord
from central.errors import EditRefused
from central.joining import Joining, publish_commit
from central.requests import Key, answered, tasks_of
from central.state.blocks import Blocks
from central.store.rows import DatasetRow
from central.submission import Given
from central.workings import Workings


@dataclass(frozen=True, slots=True)
class Edited:
    """A dataset whose document was replaced. `steps` compute something else now.

    `tasks`: how many tasks that something happened to must run again for it. `begun_beyond`: how
    many jobs were begun that the dataset has no more.
    """

    digest: bytes
    steps: tuple[int, ...]
    tasks: int
    jobs: int = 0
    begun_beyond: int = 0


@dataclass(frozen=True, slots=True)
class _Replacement:
    """What is to take the place of a dataset's document: the row and document of before, too."""

    row: DatasetRow
    before: Dag
    now: Dag
    raw: bytes
    cosigned: Sequence[Cosignature] = ()


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
        known = _known(workings, key, request, document)
        if known is not None:
            return known
        row = workings.dataset(dataset)
        before = workings.dag(row.digest)
        refused = edits.difference(before.dataset, now.dataset)
        if refused:
            raise EditRefused(where=dataset, reason=refused)
        of = _Replacement(row, before, now, given.raw, cosigned)
        return _replace(workings, of, (key, request))


def resize(
    workings: Workings, dataset: DatasetId, size: Size, key: Key, *, dry_run: bool = False
) -> Edited:
    """Give a dataset more jobs or fewer, open or close it; the same key does so once.

    `dry_run`: only say what it would do. Raises UnknownDataset, DatasetRefused, EditRefused,
    IdempotencyConflict.
    """
    request = digest("size", canonical.encode([dataset, asdict(size)]))
    with workings.transaction():
        known = None if dry_run else _known(workings, key, request)
        if known is not None:
            return known
        row = workings.dataset(dataset)
        before = workings.dag(row.digest)
        made = edits.resized(before.dataset, size)
        raw = spec.encode(made)
        now = workings.dag(spec.dataset_digest(raw), raw)
        of = _Replacement(row, before, now, raw)
        if dry_run:
            return _effect(of, _controls(workings, of))
        return _replace(workings, of, (key, request))


def _known(workings: Workings, key: Key, request: bytes, document: bytes = b"") -> Edited | None:
    """Return what was answered to this key. Raises IdempotencyConflict."""
    known = answered(workings, key, request)
    if known is None:
        return None
    steps, tasks = tuple(known.counts("steps")), known.count("tasks")
    if not known.has("jobs"):  # an answer of before a size could be asked for
        return Edited(document, steps, tasks)
    sizes = known.count("jobs"), known.count("begun_beyond")
    return Edited(known.bytes("digest"), steps, tasks, *sizes)


def _controls(workings: Workings, of: _Replacement) -> tuple[Control, ...]:
    """Return the controls of the commit that comes next. Raises EditRefused."""
    if workings.controls(of.row).whole.removed:
        raise EditRefused(where=of.row.id, reason="the dataset was deleted")
    number = workings.store.bundles.head(workings.epoch) + 1
    made = Control(ControlWord.EDIT, None, workings.epoch, number, of.now.digest)
    blocks = Blocks(workings.store.tasks, of.row.no)

    def begun(step: int, tasks: IntervalSet) -> IntervalSet:
        every = state_byte.jobs_of(tasks.spans)
        return IntervalSet(tuple(state_byte.spans_of(every[blocks.read(step, every) != 0])))

    return edits.controls_of((of.before, of.now), of.row.touched, made, begun)


def _effect(of: _Replacement, controls: Sequence[Control]) -> Edited:
    """Return what putting a document in place does."""
    jobs = of.now.dataset.jobs
    return Edited(
        of.now.digest,
        tuple(sorted(edits.changed_steps(of.before, of.now))),
        sum(tasks_of(of.row, one) for one in controls[1:]),
        jobs,
        len(of.row.touched.within(jobs, of.row.past)),
    )


def _replace(workings: Workings, of: _Replacement, asked: tuple[Key, bytes]) -> Edited:
    """Make the commit, join it, remember the answer; inside a transaction."""
    controls = _controls(workings, of)
    found = _effect(of, controls)
    answer = canonical.encode(asdict(found) | {"steps": list(found.steps)})
    kept = Remembered(*asked[0], asked[1], answer)
    dataset = of.row.id
    commit = Commit(controls=tuple((dataset, one) for one in controls), remembered=(kept,))

    def join(bundle: BundleId, no: int) -> None:
        del bundle
        Joining(workings, live=True).learn_document(of.now.digest, of.raw)
        join_controls(workings, commit.controls, {}, no, live=True)
        cosignatures.keep(workings, of.cosigned)
        workings.store.people.remember(kept.token, kept.key, kept.request, kept.answer)

    attached = [ChunkSource("dataset", dataset, 1, of.raw)]
    attached += [cosignatures.chunk(one) for one in of.cosigned]
    publish_commit(workings, commit, controls[0].commit, attached, join)
    return found
