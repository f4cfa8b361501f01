"""Messages of the radio: what is said is read again, and no bytes whatever do harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.ids import LeaseId, PilotRun, dataset_id
from bundle.radio import messages
from bundle.radio.messages import Hello, MessageRefused, News, Seen, State, TaskNow, Word
from bundle.spool.layout import ShardName

TICKET = b"ticket 8"
COUNT = st.integers(0, 2**32 - 1)
DATASET = st.binary(min_size=16, max_size=16).map(dataset_id)
TASK = st.builds(TaskNow, DATASET, COUNT, st.integers(0, 2**16 - 1), COUNT, COUNT, COUNT, COUNT)
SHARD = st.builds(ShardName, st.binary(min_size=16, max_size=16).map(LeaseId), st.integers(0, 9999))
TEXT = st.text(st.characters(codec="utf-8"), max_size=messages.TEXT_CHARS_MAX)
READERS: tuple[Callable[[bytes], Any], ...] = (
    messages.read_hello,
    messages.read_state,
    messages.read_took,
    messages.read_offer,
    messages.read_news,
    messages.read_welcome,
    messages.read_page,
    messages.read_look,
)


def body(frame: bytes, word: Word) -> bytes:
    found, ticket, rest = messages.unpack(frame, messages.PAGE_BYTES_MAX)
    assert found is word
    assert ticket in (TICKET, messages.NO_TICKET)
    return rest


@given(st.builds(Hello, st.tuples(COUNT, COUNT), TEXT, TEXT, COUNT))
def test_a_hello_is_read_as_it_was_said(one: Hello) -> None:
    assert messages.read_hello(body(messages.hello(one), Word.HELLO)) == one


@given(st.builds(State, COUNT, COUNT, COUNT, st.lists(TASK, max_size=8).map(tuple)))
def test_a_state_is_read_as_it_was_said(one: State) -> None:
    assert messages.read_state(body(messages.state(one, TICKET), Word.STATE)) == one


@given(SHARD, st.booleans(), st.lists(SHARD, max_size=messages.SHARDS_MAX), st.booleans())
def test_shards_are_read_as_they_were_named(
    name: ShardName, taken: bool, names: list[ShardName], drains: bool
) -> None:
    told = messages.took(str(name), TICKET, taken=taken)
    assert messages.read_took(body(told, Word.TOOK)) == (name, taken)
    frame = messages.offer(map(str, names), TICKET)
    assert messages.read_offer(body(frame, Word.OFFER)) == tuple(names)
    news = News((), drains, tuple(one.lease for one in names))
    assert messages.read_news(body(messages.news(news, TICKET), Word.NEWS)) == news


def test_the_largest_state_fits_into_a_frame() -> None:
    most = 2**32 - 1
    rows = (
        TaskNow(dataset_id(bytes([n % 256]) * 16), most, 2**16 - 1, most, most, most, most)
        for n in range(messages.TASKS_MAX)
    )
    frame = messages.state(State(1024, 0, 2048, tuple(rows)), TICKET)
    assert len(frame) <= messages.FRAME_BYTES_MAX
    assert len(messages.read_state(frame[messages.HEAD_BYTES :]).tasks) == messages.TASKS_MAX


def test_what_is_too_much_is_refused() -> None:
    many = [str(ShardName(LeaseId(bytes(16)), 1))] * (messages.SHARDS_MAX + 1)
    for reader, value in (
        (messages.read_offer, {"shards": many}),
        (messages.read_offer, {"shards": ["../../trust"]}),
        (messages.read_hello, {"versions": [1], "batch_id": "", "host": "", "slots": 1}),
        (messages.read_hello, {"versions": [1, 1], "batch_id": "x" * 201, "host": "", "slots": 1}),
        (messages.read_state, {"slots": 1, "free": 0, "shards": 0, "datasets": [], "tasks": [[0]]}),
    ):
        with pytest.raises(MessageRefused):
            reader(canonical.encode(value))  # type: ignore[operator]
    with pytest.raises(MessageRefused):
        messages.unpack(bytes(messages.FRAME_BYTES_MAX + 1))


def test_a_page_is_read_as_it_was_said() -> None:
    rows = (Seen(PilotRun(b"12345678"), "slurm:1", "node", 1, 2, b"state"),)
    frame = messages.page(rows, messages.NO_TICKET, last=True)
    assert messages.read_page(body(frame, Word.PAGE)) == (rows, True)


def test_a_word_of_a_later_version_is_no_word_and_no_error() -> None:
    frame = messages.pack(Word.BEAT, TICKET)
    assert messages.unpack(bytes((2,)) + frame[1:])[0] is None
    assert messages.unpack(frame[:1] + b"\xfa" + frame[2:])[0] is None


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: b"\x84" + b)))
def test_no_bytes_do_anything_but_be_refused(raw: bytes) -> None:
    for reader in READERS:
        try:
            reader(raw)
        except MessageRefused:
            continue
    try:
        messages.unpack(raw)
    except MessageRefused:
        assert len(raw) < messages.HEAD_BYTES
