"""Which of a site's words is its newest: by number inside a stream, by arrival across streams.

No clock of a site decides: one that was ten years ahead once must not silence it afterwards.
"""

from __future__ import annotations

from bundle.ids import StreamId

Marks = tuple[tuple[StreamId, int], ...]  # highest number heard of each stream, latest heard last

MARKS_MAX = 64  # streams of one site that are remembered; those heard longest ago go first


def heard(marks: Marks, stream: StreamId, sequence: int) -> Marks | None:
    """Return the marks after a word that is the newest; None where a later one was heard."""
    if sequence <= dict(marks).get(stream, -1):
        return None
    others = tuple(one for one in marks if one[0] != stream)
    return (*others, (stream, sequence))[-MARKS_MAX:]
