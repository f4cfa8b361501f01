"""What central keeps of people: users, tokens, whose datasets are, and who changed what.

The lower half of the authority: the lock, and everything about people.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bundle.ids import DatasetId
from central import absorb, access, auditing, etags, identity, persons, requests, tokens, users
from central.core.allowance import Limits
from central.core.authorise import (
    TOKEN_SCOPES,
    Action,
    Decision,
    Principal,
    Resource,
    Role,
    Scope,
    Visibility,
    decide,
)
from central.core.claims import Vouched
from central.errors import ChangedMeanwhile, Forbidden, UnknownDataset
from central.marks import Marks, Word
from central.oidc import Issuer
from central.persons import OPERATOR
from central.questions import Questions
from central.views import Views
from central.workings import Workings

LOGIN = "login"  # the name of tokens that an identity provider's were exchanged for


class Act:
    """What somebody did in the transaction that is open: to which thing, and how."""

    def __init__(self, workings: Workings, by: Principal) -> None:
        self._w = workings
        self.by = by
        self._head = workings.store.bundles.head(workings.epoch)
        self.resource = ""
        self.detail: dict[str, Any] = {}

    def on(self, resource: str, **detail: Any) -> None:
        """Say what it was done to."""
        self.resource, self.detail = resource, detail

    def is_new(self) -> bool:
        """Return whether a commit was made: a repeated request makes none."""
        return self._w.store.bundles.head(self._w.epoch) != self._head


class People(Questions):
    """See the module. Every public method may be called from any thread."""

    def __init__(self, workings: Workings) -> None:
        """Take over workings that nobody else uses."""
        self._lock = threading.RLock()
        self._marks = Marks()
        self.issuer = Issuer(workings.config.oidc)
        super().__init__(workings)

    def mark_changes(self, marks: Marks) -> None:
        """Raise these marks from now on, after every change and before anybody hears of it."""
        with self._lock:
            self._marks = marks

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock, and know what other processes committed."""
        with self._lock:
            self._notice()
            yield

    def _notice(self) -> None:
        if self._w.notice():
            self._marks.raise_one(Word.VERSION)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock for what may give any site something to fetch."""
        with self._held():
            try:
                yield
            finally:
                self._marks.changed()

    def share(
        self,
        dataset: DatasetId,
        by: Principal,
        *,
        owner: str | None = None,
        group: str | None = None,
        visibility: Visibility | None = None,
        if_match: str = "",
    ) -> dict[str, Any]:
        """Change whose a dataset is and who sees it; None leaves what there is.

        Raises UnknownDataset, AccessRefused, UserRefused, ChangedMeanwhile.
        """
        with self._changing(), self._w.transaction():
            by = self._still_may(by, Action.DATASET_SHARE, dataset=dataset)
            self._require(dataset, if_match)
            row = access.share(
                self._w, dataset, by, owner=owner, group=group, visibility=visibility
            )
            auditing.note(self._w, by, Action.DATASET_SHARE, dataset, **access.shown(row))
            self._w.version += 1
            return access.shown(row)

    def _require(self, dataset: DatasetId, if_match: str, key: requests.Key | None = None) -> None:
        """Raise ChangedMeanwhile unless a dataset has an ETag; a repeated call is not held to it.

        Inside the transaction that changes it.
        """
        if not if_match or (key and self._w.store.people.remembered(*key)):
            return
        if not etags.fits(if_match, etags.of_value(Views(self._w).dataset(dataset))):
            raise ChangedMeanwhile(where=dataset)

    def _still_may(
        self,
        by: Principal,
        action: Action,
        of: Resource | None = None,
        *,
        dataset: DatasetId | None = None,
    ) -> Principal:
        """Return who asks as they are now, if they still may; inside the transaction of the change.

        A body may come minutes after its request was let in: token, person and whose the dataset is
        are looked at once more. Raises Unauthorised, Forbidden, UnknownDataset.
        """
        now = identity.still(self._w.store, by, self._w.clock_us())
        if dataset is not None:
            of = access.resource(access.of(self._w.store, self._w.dataset(dataset)))
        match decide(now, action, of):
            case Decision.HIDDEN:
                raise UnknownDataset(dataset=dataset)
            case Decision.FORBIDDEN:
                reason = f"{now.name} (role {now.role.value}) may not do {action.value} any more"
                raise Forbidden(where=dataset or action.value, reason=reason)
        return now

    @contextmanager
    def _acting(
        self, by: Principal, action: Action, dataset: DatasetId | None = None
    ) -> Iterator[Act]:
        """Hold the lock and a transaction for a principal's commit; audit it if it is made.

        Raises as `_still_may`.
        """
        with self._changing(), self._w.transaction():
            act = Act(self._w, self._still_may(by, action, dataset=dataset))
            yield act
            if act.resource and act.is_new():
                auditing.note(self._w, by, action, act.resource, **act.detail)

    def add_user(self, name: str, key: bytes, by: Principal = OPERATOR) -> int:
        """Let a key sign submissions; return how many parked bundles it brought in.

        Raises UserRefused, WeakKey.
        """
        return int(self.save_user(name, by, key=key)["merged"])

    def save_user(
        self,
        name: str,
        by: Principal = OPERATOR,
        *,
        role: str | None = None,
        groups: list[str] | None = None,
        site: str | None = None,
        limits: dict[str, Any] | None = None,
        key: bytes | None = None,
    ) -> dict[str, Any]:
        """Make a user or change one; None leaves what there is; `key` may sign submissions.

        Says how many parked bundles the key brought in. Raises UserRefused, WeakKey.
        """
        with self._changing():
            with self._w.transaction():
                by = self._still_may(by, Action.USER_CHANGE)
                row = persons.save(
                    self._w,
                    name,
                    role=None if role is None else Role(role),
                    groups=groups,
                    site=site,
                    limits=None if limits is None else Limits(**limits),
                )
                if key is not None:
                    users.add(self._w, name, key)
                said = {"role": role, "groups": groups, "site": site, "limits": limits}
                shown = None if key is None else key.hex()
                auditing.note(self._w, by, Action.USER_CHANGE, name, **said, key=shown)
            merged = 0 if key is None else absorb.retry_strangers(self._w)
        return persons.shown(row) | {"merged": merged}

    def save_user_as(self, name: str, about: dict[str, Any]) -> dict[str, Any]:
        """Make a user or change one as whoever works in the folder. Raises UserRefused."""
        return self.save_user(name, **about)

    def remove_user(self, name: str, by: Principal = OPERATOR) -> None:
        """Take nothing more that a user signs, and no token of theirs. Raises UserRefused."""
        with self._changing(), self._w.transaction():
            by = self._still_may(by, Action.USER_CHANGE)
            users.remove(self._w, name)
            auditing.note(self._w, by, Action.USER_CHANGE, name, removed=True)

    def users(self) -> list[dict[str, Any]]:
        """Return the users as plain values."""
        with self._held():
            return users.listed(self._w.store)

    def make_token(
        self,
        person: str,
        name: str,
        scopes: Iterable[str],
        lifetime_s: int | None,
        by: Principal = OPERATOR,
    ) -> dict[str, Any]:
        """Make a token; the answer alone has its text. Raises TokenRefused, UserRefused."""
        with self._held(), self._w.transaction():
            by = self._still_may(by, Action.TOKEN_MAKE, Resource(owner=person))
            row = persons.require(self._w.store, person)
            expires_us = self._w.clock_us() + lifetime_s * 1_000_000 if lifetime_s else 0
            given = frozenset(Scope(one) for one in scopes)
            made, text = tokens.make(self._w, by, row, name, given, expires_us)
            said = tokens.shown(made, person, self._w.clock_us())
            detail = {"name": name, "scopes": said["scopes"], "expires": said["expires"]}
            auditing.note(self._w, by, Action.TOKEN_MAKE, f"{person}/{made.no}", **detail)
            return said | {"token": text}

    def login(self, vouched: Vouched) -> dict[str, Any]:
        """Take somebody for whom an issuer vouches; return a token that ends by itself.

        Role and groups are what the issuer says now. Raises LoginRefused, UserRefused.
        """
        with self._changing(), self._w.transaction():
            row = persons.vouched(self._w, vouched)
            lifetime_s = int(self._w.config.oidc.token_hours * 3600)
            expires_us = self._w.clock_us() + lifetime_s * 1_000_000
            made, text = tokens.make(self._w, OPERATOR, row, LOGIN, TOKEN_SCOPES, expires_us)
            said = tokens.shown(made, row.name, self._w.clock_us())
            by = tokens.principal_of(row, made)
            detail = {"issuer": vouched.issuer, "role": row.role, "expires": said["expires"]}
            auditing.note(self._w, by, Action.TOKEN_MAKE, f"{row.name}/{made.no}", **detail)
            return said | {"token": text}

    def revoke_token(self, no: int, by: Principal = OPERATOR) -> dict[str, Any]:
        """Make a token worth nothing. Raises UnknownToken."""
        with self._held(), self._w.transaction():
            row = tokens.require(self._w, no)
            of = next(one.name for one in self._w.store.people.persons() if one.no == row.person)
            self._still_may(by, Action.TOKEN_REVOKE, tokens.resource(row, of))
            row = tokens.revoke(self._w, no)
            auditing.note(self._w, by, Action.TOKEN_REVOKE, f"{of}/{no}")
            return tokens.shown(row, of, self._w.clock_us())
