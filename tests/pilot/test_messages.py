"""What pilot and slots say to each other: nothing said is left where nobody looks."""

from __future__ import annotations

import select
import socket

from hypothesis import given
from hypothesis import strategies as st

from pilot.messages import Channel, pack

MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.binary(max_size=300)), min_size=1)


@given(MESSAGES, st.data())
def test_whatever_comes_together_is_seen_by_who_polls(
    messages: list[dict[str, object]], data: st.DataObject
) -> None:
    """A slot receives its tasks; the stop that came with them is not kept from its poll."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(theirs)
        ours.sendall(b"".join(map(pack, messages)))
        heard: list[dict[str, object] | None] = []
        while len(heard) < len(messages):
            assert select.select([theirs], [], [], 0)[0], "what came stays unheard"
            if data.draw(st.booleans(), "one"):
                heard.append(channel.receive())
            else:
                heard += channel.arrived() or []
        assert heard == messages
        ours.close()
        assert channel.receive() is None and channel.arrived() is None


@given(MESSAGES, st.lists(st.integers(1, 40)))
def test_a_message_that_comes_in_pieces_is_heard_once_it_is_whole(
    messages: list[dict[str, object]], sizes: list[int]
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel, raw = Channel(theirs), b"".join(map(pack, messages))
        heard: list[dict[str, object]] = []
        for size in [*sizes, len(raw)]:
            piece, raw = raw[:size], raw[size:]
            if piece:
                ours.sendall(piece)
                heard += channel.arrived() or []
        assert heard == messages
