"""What users ask: submissions and controls, each a commit, each acting once per idempotency key."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from bundle import canonical, shape
from bundle.dataset import spec
from bundle.digest import digest
from bundle.ids import DATASET_ID_BYTES, BundleId, DatasetId, SiteName, dataset_id
from bundle.intervals import IntervalSet
from bundle.limits import SMALL_LIMITS
from bundle.wire.write import ChunkSource
from central import access, cosignatures, selecting
from central.arriving import end_leases_of, join_controls
from central.core.authorise import Visibility
from central.core.commit import Commit, Remembered, Submission
from central.core.controls import ControlWord, make_reset
from central.core.facts import Control, Place
from central.core.selection import ALL, Only
from central.errors import IdempotencyConflict
from central.joining import Joining, publish_commit
from central.store.rows import AccessRow, DatasetRow
from central.submission import Given
from central.workings import Workings

Key = tuple[int, str]  # token's number and idempotency key


@dataclass(frozen=True, slots=True)
class Submitted:
    """A dataset that central has taken."""

    id: DatasetId
    digest: bytes
    tasks: int
    jobs: int


def submit(
    workings: Workings,
    given: Given,
    key: str,
    token: int,
    said: AccessRow | None = None,
    *,
    suspended: bool = False,
) -> Submitted:
    """Take a dataset's canonical document; the same key gives the same dataset.

    `said`: whose a new one is and who sees it. `suspended`: in the same commit, so that nothing of
    it is leased before it is resumed.

    Raises NotCanonical, WrongShape, DatasetRefused, CosignatureRefused, IdempotencyConflict.
    """
    document_digest = spec.dataset_digest(given.raw)
    of = workings.dag(document_digest, given.raw)  # decodes and checks
    with workings.transaction():
        request = _request(given, document_digest, said, suspended=suspended)
        known = answered(workings, (token, key), request)
        if known is not None:
            dataset = DatasetId(known.text("dataset"))
        else:
            asked = (token, key), request
            dataset = _submit(workings, given, document_digest, asked, said, suspended=suspended)
    return Submitted(dataset, document_digest, of.dataset.tasks(), of.dataset.jobs)


def _submit(
    workings: Workings,
    given: Given,
    document_digest: bytes,
    asked: tuple[Key, bytes],
    said: AccessRow | None,
    *,
    suspended: bool,
) -> DatasetId:
    """Inside a transaction: make the commit, add the dataset."""
    dataset = dataset_id(os.urandom(DATASET_ID_BYTES))
    now_us = workings.clock_us()
    answer = canonical.encode({"dataset": dataset})
    submission = Submission(dataset, document_digest, now_us, given.user)
    kept = Remembered(*asked[0], asked[1], answer)
    number = workings.store.bundles.head(workings.epoch) + 1
    suspend = Control(ControlWord.SUSPEND, None, workings.epoch, number)
    controls = ((dataset, suspend),) if suspended else ()
    cosigned = cosignatures.check(document_digest, given.cosignature)
    rows = () if said is None else (said._replace(dataset=dataset),)
    of = tuple(access.fact(row, workings.epoch, number) for row in rows)

    def join(bundle: BundleId, no: int) -> None:
        del bundle
        Joining(workings, live=True).learn_submission(submission, given.raw)
        join_controls(workings, controls, {}, no, live=True)
        cosignatures.keep(workings, cosigned)
        for one in of:
            access.join(workings, one)
        workings.store.people.remember(kept.token, kept.key, kept.request, kept.answer)

    attached = [ChunkSource("dataset", dataset, 1, given.raw)]
    attached += [cosignatures.chunk(one) for one in cosigned]
    commit = Commit(submissions=(submission,), controls=controls, remembered=(kept,), access=of)
    publish_commit(workings, commit, number, attached, join)
    workings.version += 1
    return dataset


def _request(
    given: Given, document_digest: bytes, said: AccessRow | None, *, suspended: bool
) -> bytes:
    """Return what an idempotency key stands for, 32 bytes: of a private dataset its document."""
    seen = (said.visibility, said.group) if said else (Visibility.PRIVATE.value, "")
    request = document_digest
    if suspended:
        request = digest("submission.suspended", document_digest + given.cosignature)
    elif given.cosignature:
        request = digest("submission", document_digest + given.cosignature)
    if seen == (Visibility.PRIVATE.value, ""):
        return request
    return digest("submission.seen", canonical.encode([request, *seen]))


def control(
    workings: Workings,
    dataset: DatasetId,
    word: ControlWord,
    jobs: IntervalSet | None,
    steps: tuple[int, ...] | None,
    key: Key,
    only: Only = ALL,
) -> int:
    """Apply a control; return how many tasks it covers.

    Raises UnknownDataset, BadControl, SelectionTooLarge, IdempotencyConflict.
    """
    runs = None if jobs is None else jobs.to_wire()
    said = [dataset, word.value, runs, steps, *([only.to_wire()] if only != ALL else [])]
    request = digest("control", canonical.encode(said))
    with workings.transaction():
        known = answered(workings, key, request)
        if known is not None:
            return known.count("tasks")
        row = workings.dataset(dataset)
        regions = selecting.regions(workings, row, word, steps, jobs, only)
        number = workings.store.bundles.head(workings.epoch) + 1
        made = Control(word, regions, workings.epoch, number)
        if regions == ():  # nothing fits now: the same request finds nothing later either
            workings.store.people.remember(*key, request, canonical.encode({"tasks": 0}))
            return 0
        return _commit_control(workings, row, made, (key, request))


def reset(workings: Workings, dataset: DatasetRow, places: Iterable[Place]) -> int:
    """Reset single tasks with all their descendants; return how many tasks that covers."""
    with workings.transaction():
        dataset = workings.dataset(dataset.id)
        number = workings.store.bundles.head(workings.epoch) + 1
        of = workings.dag(dataset.digest)
        made = make_reset(of, places, workings.epoch, number)
        return _commit_control(workings, dataset, made, None)


def presume_lost(workings: Workings, site: SiteName) -> int:
    """End all leases of a site that is lost, and wait for it no more; return how many leases.

    A fact of its own: a rebuild knows it too. Raises UnknownSite.
    """
    workings.check_site(site)
    ended = 0

    def join(bundle: BundleId, no: int) -> None:
        nonlocal ended
        del bundle
        joining = Joining(workings, live=True)
        ended = end_leases_of(joining, site)
        joining.finish(no)

    with workings.transaction():
        number = workings.store.bundles.head(workings.epoch) + 1
        publish_commit(workings, Commit(presumed=(site,)), number, join=join)
        workings.version += 1
    return ended


def _commit_control(
    workings: Workings, dataset: DatasetRow, made: Control, asked: tuple[Key, bytes] | None
) -> int:
    """Inside a transaction: make the commit of a control, join it, remember the answer."""
    covered = tasks_of(dataset, made)
    answer = canonical.encode({"tasks": covered})
    remembered = (Remembered(*asked[0], asked[1], answer),) if asked else ()
    commit = Commit(controls=((dataset.id, made),), remembered=remembered)

    def join(bundle: BundleId, no: int) -> None:
        del bundle
        join_controls(workings, commit.controls, {}, no, live=True)
        for one in remembered:
            workings.store.people.remember(one.token, one.key, one.request, one.answer)

    publish_commit(workings, commit, made.commit, join=join)
    return covered


def tasks_of(dataset: DatasetRow, made: Control) -> int:
    """Return how many tasks a control covers."""
    if made.regions is None:
        return dataset.tasks
    return sum(len(jobs) for _, jobs in made.regions)


def answered(workings: Workings, key: Key, request: bytes) -> shape.Reader | None:
    """Return the answer that was given to this key. Raises IdempotencyConflict."""
    found = workings.store.people.remembered(*key)
    if found is None:
        return None
    if found[0] != request:
        raise IdempotencyConflict(where=key[1])
    return shape.Reader.of(canonical.decode(found[1], SMALL_LIMITS), "answer")
