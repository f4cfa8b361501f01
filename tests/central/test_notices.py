"""Who is told what, and when: once as something begins, by allowed addresses and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.core.notices import Event, Standing, Told, Wish, due, holds, wait_s
from central.core.webhooks import is_private, refusal

HOUR_US = 3_600_000_000
RUNS = Standing("d", "name", 100, 10, 0, 90, 10, is_stopped=False, changed_us=0)
ALL = Wish("anna", frozenset({Event.COMPLETION, Event.FAILURES, Event.SILENCE}), 0.2, 2.0)


def test_a_dataset_is_complete_when_nothing_of_it_can_run_and_nobody_stopped_it() -> None:
    def complete(**about: object) -> bool:
        return holds(Event.COMPLETION, replace(RUNS, **about), ALL, 0)  # type: ignore[arg-type]

    assert not complete()
    assert complete(open=0, done=100)
    assert complete(open=0, done=90, failed=5)  # the rest waits for those that failed
    assert not complete(open=0, is_stopped=True)
    assert not complete(open=0, attempts=0)


def test_failures_are_told_from_the_share_that_was_asked_for_and_not_of_the_first_task() -> None:
    def fails(done: int, failed: int, tasks: int = 100) -> bool:
        standing = replace(RUNS, done=done, failed=failed, tasks=tasks)
        return holds(Event.FAILURES, standing, ALL, 0)

    assert [fails(4, 1), fails(8, 2), fails(9, 2), fails(0, 4), fails(0, 0)] == [
        *(True, True, False, False, False)
    ]
    assert fails(0, 1, tasks=1)


def test_silence_is_told_while_there_is_something_that_should_happen() -> None:
    assert not holds(Event.SILENCE, RUNS, ALL, 2 * HOUR_US - 1)
    assert holds(Event.SILENCE, RUNS, ALL, 2 * HOUR_US)
    assert not holds(Event.SILENCE, replace(RUNS, open=0), ALL, 9 * HOUR_US)


@given(st.lists(st.booleans(), max_size=30))
def test_each_time_a_condition_begins_it_is_told_once_under_a_key_of_its_own(
    course: list[bool],
) -> None:
    told: dict[Event, Told] = {}
    keys, begins, before = [], 0, False
    for is_so in course:
        standing = replace(RUNS, open=0 if is_so else 5)
        notices, told = due(standing, replace(ALL, on=frozenset({Event.COMPLETION})), told, 0)
        keys += [one.key for one in notices]
        begins += is_so and not before
        before = is_so
        again, same = due(standing, replace(ALL, on=frozenset({Event.COMPLETION})), told, 0)
        assert not again
        assert same == told
    assert len(keys) == len(set(keys)) == begins


@given(st.integers(0, 10_000))
def test_waits_grow_and_stay_bounded(tries: int) -> None:
    assert 0 < wait_s(tries, 5.0) <= 3600
    assert wait_s(tries, 5.0) <= wait_s(tries + 1, 5.0)


ALLOWED = ("hooks.example.org", "*.chat.example", "http://10.0.0.5:8080", "other.example:8443")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a/b?c=d",
        "https://HOOKS.example.org:443/",
        "https://team.chat.example/x",
        "http://10.0.0.5:8080/x",
        "https://other.example:8443/x",
    ],
)
def test_what_an_administrator_named_is_posted_to(url: str) -> None:
    assert refusal(url, ALLOWED) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://hooks.example.org:8443/",
        "https://hooks.example.org.evil.example/",
        "https://evil.example/hooks.example.org",
        "https://hooks.example.org@evil.example/",
        "https://evil.example\\@hooks.example.org/",
        "https://evil.example#@hooks.example.org/",
        "https://hooks.example.org/#x",
        "https://chat.example/",
        "https://evilchat.example/",
        "https://.chat.example/",
        "https://10.0.0.5:8080/",
        "http://10.0.0.5/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
        "https://hooks.example.org/\r\nHost: x",
        "https://h\u00f6oks.example.org/",
        "https://hooks.example.org:99999/",
        "//hooks.example.org/",
        "https://" + "a" * 3000,
        "",
    ],
)
def test_nothing_else_is_posted_to(url: str) -> None:
    assert refusal(url, ALLOWED) != ""
    assert refusal(url, ()) != ""


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104
        *("224.0.0.1", "::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::"),
        *("64:ff9b:1::1", "64:ff9b::7f00:1", "nonsense", ""),
    ],
)
def test_what_is_behind_the_firewall_is_seen_in_every_form(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_is_taken(address: str) -> None:
    assert not is_private(address)
