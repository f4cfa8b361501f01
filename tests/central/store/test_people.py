"""Tokens, users, remembered answers and named values, in both engines."""

from __future__ import annotations

import pytest

from bundle.ids import DatasetId
from central.errors import ConstraintBroken
from central.store.protocol import Store
from central.store.rows import AccessRow, AuditRow, PersonRow, TokenRow, UserRow


def test_a_token_is_kept_once(store: Store) -> None:
    one = TokenRow(0, b"one", "name", 1, "read submit", 5, 6)
    with store.transaction():
        first = store.people.add_token(one)
        second = store.people.add_token(one._replace(digest=b"two"))
    with pytest.raises(ConstraintBroken), store.transaction():
        store.people.add_token(one)
    assert first < second
    assert store.people.tokens() == [
        one._replace(no=first),
        one._replace(no=second, digest=b"two"),
    ]
    with store.transaction():
        store.people.revoke_token(first, 7)
    assert store.people.token_by_digest(b"one") == one._replace(no=first, revoked_us=7)
    assert store.people.token_by_digest(b"three") is None


def test_a_person_is_changed_and_a_name_is_given_once(store: Store) -> None:
    anna = PersonRow(0, "anna", "user", '["nu"]', "", "{}", "", "", 5)
    with store.transaction():
        no = store.people.add_person(anna)
        store.people.add_person(PersonRow(0, "aaron", "site", site="north"))
    with pytest.raises(ConstraintBroken), store.transaction():
        store.people.add_person(anna)
    changed = anna._replace(no=no, role="production", limits='{"hours": 1}', closed_us=9)
    with store.transaction():
        store.people.change_person(changed)
    assert [one.name for one in store.people.persons()] == ["aaron", "anna"]
    assert store.people.persons()[1] == changed


def test_one_subject_of_an_issuer_is_one_person(store: Store) -> None:
    vouched = PersonRow(0, "anna", "user", issuer="https://id", subject="1")
    with store.transaction():
        store.people.add_person(vouched)
        store.people.add_person(PersonRow(0, "bela", "user"))
        store.people.add_person(PersonRow(0, "carla", "user"))
    with pytest.raises(ConstraintBroken), store.transaction():
        store.people.add_person(vouched._replace(name="other"))


def test_who_sees_a_dataset_is_replaced(store: Store) -> None:
    row = AccessRow(DatasetId("a" * 26), "anna", "", "private")
    assert store.people.access(row.dataset) is None
    with store.transaction():
        store.people.save_access(row)
        store.people.save_access(row._replace(group="nu", visibility="group"))
    assert store.people.access(row.dataset) == row._replace(group="nu", visibility="group")
    assert list(store.people.accesses()) == [row.dataset]


def test_an_older_word_on_who_sees_a_dataset_changes_nothing(store: Store) -> None:
    said = [
        AccessRow(DatasetId("a" * 26), name, "", "private", told)
        for name, told in (("bela", b"\0\2"), ("anna", b"\0\1"), ("carla", b"\1"))
    ]
    kept = []
    for row in said:
        with store.transaction():
            store.people.save_access(row)
        kept.append(store.people.access(row.dataset))
    assert kept == [said[0], said[0], said[2]]


def test_changes_are_read_back_the_newest_first(store: Store) -> None:
    with store.transaction():
        for at in range(1, 5):
            who, what = ("anna", "bela")[at % 2], f"d{at // 3}"
            store.people.add_audit(AuditRow(0, at, who, 1, "dataset.control", what, "{}\0"))
    every = store.people.audit(2**62, 3)
    assert [one.at_us for one in every] == [4, 3, 2]
    assert [one.at_us for one in store.people.audit(every[-1].no, 3)] == [1]
    assert [one.at_us for one in store.people.audit(2**62, 9, person="bela")] == [3, 1]
    assert [one.at_us for one in store.people.audit(2**62, 9, resource="d1")] == [4, 3]


def test_users_come_by_name_and_a_name_belongs_to_one_who_is_not_removed(store: Store) -> None:
    old, new = UserRow(b"k1", "anna", 1, 5), UserRow(b"k2", "anna", 6)
    with store.transaction():
        store.people.save_user(UserRow(b"k1", "anna", 1))
        store.people.save_user(UserRow(b"k0", "bela", 1))
    with pytest.raises(ConstraintBroken), store.transaction():
        store.people.save_user(new)
    with store.transaction():
        store.people.save_user(old)
        store.people.save_user(new)
    assert store.people.users() == [old, new, UserRow(b"k0", "bela", 1)]


def test_the_first_answer_to_a_request_is_remembered(store: Store) -> None:
    with store.transaction():
        store.people.remember(1, "key", b"request", b"answer")
        store.people.remember(1, "key", b"request", b"another")
    assert store.people.remembered(1, "key") == (b"request", b"answer")
    assert store.people.remembered(2, "key") is None


def test_a_named_value_is_replaced(store: Store) -> None:
    assert store.people.meta("name") is None
    with store.transaction():
        store.people.set_meta("name", b"old")
        store.people.set_meta("name", b"\0new")
    assert store.people.meta("name") == b"\0new"
