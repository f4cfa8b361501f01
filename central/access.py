"""Whose datasets are, who sees them, and what their owners have in use.

Each word on that is part of a commit; the newest counts. A dataset of which nobody said anything is
its submitter's if a user signed its submission, else nobody's, and seen by production and admin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bundle.dataset.spec import Dataset
from bundle.ids import DatasetId, Epoch
from central import persons
from central.core.allowance import Used, exceeded
from central.core.authorise import Principal, Resource, Role, Visibility
from central.core.commit import Access, Commit, told
from central.core.facts import Verdict
from central.errors import AccessRefused, QuotaExceeded
from central.joining import publish_commit
from central.store.protocol import Store
from central.store.rows import AccessRow, DatasetRow, PersonRow
from central.workings import Workings

STAFF = frozenset({Role.ADMIN, Role.PRODUCTION})
ENDED = frozenset({Verdict.DONE, Verdict.FAILED, Verdict.CANCELLED})


class Accesses:
    """Whose every dataset is: read once, for a list of many."""

    def __init__(self, store: Store) -> None:
        """Read them."""
        self._said = store.people.accesses()
        self._submitters = store.datasets.submitters()
        self._names = {one.key: one.name for one in store.people.users()}

    def of(self, row: DatasetRow) -> AccessRow:
        """Return whose a dataset is and who sees it."""
        key = self._submitters.get(row.no)
        owner = self._names.get(key, "") if key else ""
        return self._said.get(row.id) or AccessRow(row.id, owner, "", Visibility.PRIVATE.value)


def of(store: Store, row: DatasetRow) -> AccessRow:
    """Return whose one dataset is and who sees it."""
    said = store.people.access(row.id)
    if said is not None:
        return said
    key = store.datasets.submitter(row.no)
    owner = next((one.name for one in store.people.users() if one.key == key), "") if key else ""
    return AccessRow(row.id, owner, "", Visibility.PRIVATE.value)


def resource(row: AccessRow) -> Resource:
    """Return what authorisation looks at."""
    return Resource(owner=row.owner, group=row.group, visibility=Visibility(row.visibility))


def shown(row: AccessRow) -> dict[str, Any]:
    """Return it as plain values."""
    return {"owner": row.owner or None, "group": row.group or None, "visibility": row.visibility}


def first(by: Principal, asked: AccessRow | None) -> AccessRow | None:
    """Return whose a new dataset is: None, nobody's, where central's folder's own user makes it."""
    if not by.no and asked is None:
        return None
    row = asked or AccessRow(DatasetId(""), "", "", Visibility.PRIVATE.value)
    return row._replace(owner=by.name if by.no else "")


def claim(workings: Workings, dataset: DatasetId, row: AccessRow | None) -> None:
    """Note whose a dataset is that came home without that: who repeats its submission claims it."""
    if row is not None and workings.store.people.access(dataset) is None:
        _say(workings, row._replace(dataset=dataset))


def fact(row: AccessRow, epoch: Epoch, number: int) -> Access:
    """Return what a commit says of whose a dataset is."""
    at = told(epoch, number)
    return Access(row.dataset, row.owner, row.group, Visibility(row.visibility), at)


def join(workings: Workings, said: Access) -> None:
    """Note what a commit said; nothing where a newer one said something else."""
    row = AccessRow(said.dataset, said.owner, said.group, said.visibility.value, said.told)
    workings.store.people.save_access(row)


def _say(workings: Workings, row: AccessRow) -> None:
    """Make the commit that says whose a dataset is; inside a transaction."""
    number = workings.store.bundles.head(workings.epoch) + 1
    said = fact(row, workings.epoch, number)
    publish_commit(
        workings, Commit(access=(said,)), number, join=lambda _bundle, _no: join(workings, said)
    )


def share(
    workings: Workings,
    dataset: DatasetId,
    by: Principal,
    *,
    owner: str | None,
    group: str | None,
    visibility: Visibility | None,
) -> AccessRow:
    """Change whose a dataset is or who sees it; None leaves what there is.

    Raises UnknownDataset, AccessRefused, UserRefused.
    """
    with workings.transaction():
        row = of(workings.store, workings.dataset(dataset))
        if group is not None:
            row = row._replace(group=group)
        if visibility is not None:
            row = row._replace(visibility=visibility.value)
        elif row.visibility == Visibility.GROUP and group is None:
            by = replace(by, groups=by.groups | {row.group})  # that it is seen there stays
        check(by, row, is_named=group is not None)
        if owner is not None and owner != row.owner:
            check_gift(workings, by, row, persons.require(workings.store, owner))
            row = row._replace(owner=owner)
        _say(workings, row)
        workings.stir(workings.dataset(dataset).no)  # its owner may be charged for it
        return row


def check_gift(workings: Workings, by: Principal, row: AccessRow, to: PersonRow) -> None:
    """Raise AccessRefused where a dataset's open tasks are more than its new owner may have.

    Else whoever has used up a quota would go on at the cost of somebody who was not asked.
    """
    limits = persons.limits_of(to)
    if by.role in STAFF or not (limits.tasks_open or limits.hours or limits.written_bytes):
        return
    of_it = used_of(workings, [workings.dataset(row.dataset)])
    if exceeded(limits, used_by(workings, to.name), of_it.tasks_open):
        raise AccessRefused(where=row.dataset, reason=f"{to.name} has no room for its tasks")


def check(by: Principal, row: AccessRow, *, is_named: bool = True) -> None:
    """Raise AccessRefused where a dataset would be seen by a group that is not the principal's.

    `is_named`: the group was asked for; one that stands there from before may stay, unseen.
    """
    if row.visibility == Visibility.GROUP and not row.group:
        raise AccessRefused(where=row.dataset, reason="visibility group needs a group")
    is_used = is_named or row.visibility == Visibility.GROUP
    if is_used and row.group and by.role not in STAFF and row.group not in by.groups:
        raise AccessRefused(where=row.dataset, reason=f"you are not in group {row.group}")


def check_account(by: Principal, dataset: Dataset) -> None:
    """Raise AccessRefused where a document charges somebody else than who submits it."""
    account = dataset.account
    if by.role in STAFF:
        return
    if account.user not in ("", by.name):
        reason = f"its document charges user {account.user}, and you are {by.name}"
        raise AccessRefused(where=dataset.name, reason=reason)
    if account.group and account.group not in by.groups:
        reason = f"its document charges group {account.group}, which you are not in"
        raise AccessRefused(where=dataset.name, reason=reason)


def check_room(workings: Workings, by: Principal, tasks: int) -> None:
    """Raise QuotaExceeded where a person may not submit so many tasks more."""
    person = persons.find(workings.store, by.name) if by.no else None
    if person is None:
        return
    limits = persons.limits_of(person)
    if limits.tasks_open or limits.hours or limits.written_bytes:
        reason = exceeded(limits, used_by(workings, by.name), tasks)
        if reason:
            raise QuotaExceeded(where=by.name, reason=reason)


def used_by(workings: Workings, name: str) -> Used:
    """Return what all datasets of an owner have in use; costs a few queries for all of them."""
    accesses = Accesses(workings.store)
    every = workings.store.datasets.datasets()
    return used_of(workings, [row for row in every if accesses.of(row).owner == name])


def used_of(workings: Workings, rows: list[DatasetRow]) -> Used:
    """Return what some datasets have in use."""
    stored = workings.store.tasks.steps_of([row.no for row in rows])
    tasks = wall_ms = written = 0
    for row in rows:
        steps = stored.get(row.no, [])
        wall_ms += sum(one.usage.wall_ms for one in steps)
        written += sum(one.usage.written_bytes for one in steps)
        whole = workings.controls(row).whole
        if whole.cancelled or whole.removed:
            continue
        ended = sum(
            count
            for one in steps
            for word, count in zip(Verdict, one.verdicts, strict=True)
            if word in ENDED
        )
        tasks += row.tasks - ended
    return Used(tasks, wall_ms, written)
