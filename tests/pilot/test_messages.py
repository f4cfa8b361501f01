"""What pilot and slots say to each other: nothing said is left where nobody looks."""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core.fate import Stop
from pilot.core.holding import Holding, Isolation
from pilot.messages import Channel, pack
from pilot.slots import Slots
from tests.pilot.alone import alone

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


@pytest.mark.programs
def test_a_stop_for_a_task_that_waits_behind_another_is_heard_when_that_begins(
    tmp_path: Path,
) -> None:
    """Both are in one batch of one slot, and the stop comes before the first has ended."""
    alone(batch, str(tmp_path))


def batch(root: str) -> None:
    """What the test above plays in a process of its own: slots are its children.

    A slot that is held up hands back what waits, and the stop has no task: it is asked again.
    """
    places, data = Path(root) / "slots", Path(root) / "data"
    for path in (places, data):
        path.mkdir(mode=0o700)
    slots = Slots(places, data, (), 1)
    slots.hold(Holding(Isolation.PLAIN))
    slot = slots.all[0]
    assert "hello" in (slot.channel.receive() or {})
    about = {"walltime_ms": 50_000, "memory_mib": 64, "disk_bytes": 1 << 20, "outputs": []}
    for first in range(0, 300, 3):
        seconds = {first: "0.01", first + 1: "40", first + 2: "0"}
        tasks = [
            about | {"local": local, "env": {"PATH": "/bin"}, "argv": ["/bin/sleep", text]}
            for local, text in seconds.items()
        ]
        slot.send({"tasks": tasks})
        slot.send({"stop": str(Stop.CANCELLED), "evidence": "called off", "local": first + 1})
        ended: list[dict[str, Any]] = []
        back: list[int] = []
        while len(ended) + len(back) < len(tasks):
            message = slot.channel.receive()
            assert message is not None, "the slot died"
            ended += message.get("ended", [])
            back += message.get("back", [])
        assert "stop" not in ended[0]
        if len(ended) == 2:
            assert ended[1]["stop"] == str(Stop.CANCELLED) and back == [first + 2]
            slots.close()
            return
    raise AssertionError("it never came to the second one")
