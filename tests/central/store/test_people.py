"""Tokens, users, remembered answers and named values, in both engines."""

from __future__ import annotations

import pytest

from central.errors import ConstraintBroken
from central.store.protocol import Store
from central.store.rows import UserRow


def test_a_token_is_kept_once(store: Store) -> None:
    with store.transaction():
        for digest in (b"one", b"two", b"one"):
            store.people.add_token(digest, "name")
    assert [digest for _, digest in store.people.tokens()] == [b"one", b"two"]
    numbers = [no for no, _ in store.people.tokens()]
    assert numbers == sorted(set(numbers))


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
