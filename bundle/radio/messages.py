"""Messages between a relay and its pilots: one frame each, bounded, versioned. Pure.

A frame is version, word, ticket and a canonical body. The ticket is what the relay gave the
connection when it was welcomed: a frame that was meant for another connection does not pass for
one of this. Words that are not known are passed over, so a later version may say more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import (
    JOB_MAX,
    LEASE_ID_BYTES,
    STEP_MAX,
    DatasetId,
    LeaseId,
    MalformedId,
    PilotRun,
    parse_dataset_id,
)
from bundle.limits import ParseLimits
from bundle.spool.layout import ShardName

VERSION = 1  # that is spoken
VERSIONS = (1, 1)  # that are understood
HEAD_BYTES = 10
TICKET_BYTES = 8
NO_TICKET = bytes(TICKET_BYTES)
FRAME_BYTES_MAX = 96 << 10
PAGE_BYTES_MAX = 2 << 20  # of what the relay's own status reads
BODY_LIMITS = ParseLimits(FRAME_BYTES_MAX, 16_384, 4)
PAGE_LIMITS = ParseLimits(PAGE_BYTES_MAX, 65_536, 4)
TASKS_MAX = 1024  # of one state
SHARDS_MAX = 64  # of one offer
GONE_MAX = 1000  # datasets of one message
OFF_MAX = 2000  # leases of one message
PAGE_ROWS_MAX = 5000
TEXT_CHARS_MAX = 200


class MessageRefused(PulkError):
    """A message is no message of this protocol. It is dropped; whoever sent it is not answered."""

    code = "radio-message-refused"
    what = "not a message of the radio: {reason}"
    remedy = "nothing depends on it; use one version of Pulk at a site"


class Word(IntEnum):
    """What a message is for: below 16 a pilot's, below 32 the relay's, then the status's."""

    HELLO = 1
    STATE = 2
    WANT = 3
    TOOK = 4
    SEALED = 5
    BYE = 6
    WELCOME = 17
    OFFER = 18
    NEWS = 19
    BEAT = 20
    WHO = 21
    SORRY = 22
    LOOK = 33
    PAGE = 34


@dataclass(frozen=True, slots=True)
class Hello:
    """A pilot says who it is; the connection's key says whether that is so."""

    versions: tuple[int, int]
    batch_id: str
    host: str
    slots: int


@dataclass(frozen=True, slots=True)
class TaskNow:
    """A task that runs. `memory_mib` and `cpu_milli`: at the last look; 0 before the first."""

    dataset: DatasetId
    job: int
    step: int
    local: int
    age_ms: int
    cpu_milli: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class State:
    """What a pilot does now. `free` slots wait for a task; `left` shards are open."""

    slots: int
    free: int
    shards: int
    tasks: tuple[TaskNow, ...]


@dataclass(frozen=True, slots=True)
class News:
    """What pilots should know at once: what nobody wants any more, and whether the site drains.

    `gone`: deleted datasets; `off`: leases that were called off.
    """

    gone: tuple[DatasetId, ...]
    drains: bool
    off: tuple[LeaseId, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A pilot as the radio knows it: for the relay's status."""

    pilot_run: PilotRun
    batch_id: str
    host: str
    silent_ms: int
    state_ms: int  # age of `state`
    state: bytes  # the body of its last state; empty before the first


def pack(word: Word, ticket: bytes = NO_TICKET, value: Any = None) -> bytes:
    """Return a frame."""
    body = b"" if value is None else canonical.encode(value)
    return bytes((VERSION, word)) + ticket + body


def unpack(frame: bytes, bytes_max: int = FRAME_BYTES_MAX) -> tuple[Word | None, bytes, bytes]:
    """Return word, ticket and body; no word where it is one of a later version.

    Raises MessageRefused.
    """
    if not HEAD_BYTES <= len(frame) <= bytes_max:
        raise MessageRefused(reason=f"{len(frame)} bytes")
    try:
        word = Word(frame[1]) if frame[0] == VERSION else None
    except ValueError:
        word = None
    return word, frame[2:HEAD_BYTES], frame[HEAD_BYTES:]


def hello(one: Hello, ticket: bytes = NO_TICKET) -> bytes:
    """Return the frame of a hello."""
    value: dict[str, Any] = {"versions": list(one.versions), "slots": one.slots}
    value |= {"batch_id": one.batch_id[:TEXT_CHARS_MAX], "host": one.host[:TEXT_CHARS_MAX]}
    return pack(Word.HELLO, ticket, value)


def read_hello(body: bytes) -> Hello:
    """Raises MessageRefused."""
    value = _reader(body)
    try:
        low, high = value.counts("versions")
        return Hello((low, high), _text(value, "batch_id"), _text(value, "host"), _slots(value))
    except (shape.WrongShape, ValueError) as error:
        raise MessageRefused(reason=str(error)) from error


def state(one: State, ticket: bytes) -> bytes:
    """Return the frame of a state; tasks beyond the bound are left out."""
    names = sorted({task.dataset for task in one.tasks[:TASKS_MAX]})
    place = {name: number for number, name in enumerate(names)}
    rows = [
        [place[t.dataset], t.job, t.step, t.local, t.age_ms, t.cpu_milli, t.memory_mib]
        for t in one.tasks[:TASKS_MAX]
    ]
    value = {"slots": one.slots, "free": one.free, "shards": one.shards}
    return pack(Word.STATE, ticket, value | {"datasets": names, "tasks": rows})


def read_state(body: bytes) -> State:
    """Raises MessageRefused."""
    value = _reader(body)
    try:
        names = tuple(parse_dataset_id(text) for text in value.texts("datasets"))
        rows = value.rows("tasks")
        if len(rows) > TASKS_MAX:
            raise MessageRefused(reason=f"{len(rows)} tasks")
        tasks = tuple(_task(row, names) for row in value.readers("tasks"))
        return State(_slots(value), value.count("free"), value.count("shards"), tasks)
    except (shape.WrongShape, MalformedId, IndexError) as error:
        raise MessageRefused(reason=str(error)) from error


def took(name: str, ticket: bytes, *, taken: bool) -> bytes:
    """Return the frame in which a pilot says what became of a shard that it was offered."""
    return pack(Word.TOOK, ticket, {"shard": name, "taken": taken})


def read_took(body: bytes) -> tuple[ShardName, bool]:
    """Return the shard, and whether the pilot took it. Raises MessageRefused."""
    value = _reader(body)
    try:
        return _shard(value.text("shard")), value.flag("taken")
    except shape.WrongShape as error:
        raise MessageRefused(reason=error.text()) from error


def offer(names: Iterable[str], ticket: bytes) -> bytes:
    """Return the frame of an offer: shards that were told to nobody else; perhaps none."""
    return pack(Word.OFFER, ticket, {"shards": list(names)[:SHARDS_MAX]})


def read_offer(body: bytes) -> tuple[ShardName, ...]:
    """Raises MessageRefused."""
    try:
        texts = _reader(body).texts("shards")
    except shape.WrongShape as error:
        raise MessageRefused(reason=error.text()) from error
    if len(texts) > SHARDS_MAX:
        raise MessageRefused(reason=f"{len(texts)} shards")
    return tuple(map(_shard, texts))


def news(one: News, ticket: bytes) -> bytes:
    """Return the frame of news; what is beyond the bounds is left to the spool."""
    value = {"gone": list(one.gone)[:GONE_MAX], "drains": one.drains}
    if one.off:
        value |= {"off": b"".join(one.off[:OFF_MAX])}
    return pack(Word.NEWS, ticket, value)


def read_news(body: bytes) -> News:
    """Raises MessageRefused."""
    value = _reader(body)
    try:
        texts = value.texts("gone")
        if len(texts) > GONE_MAX:
            raise MessageRefused(reason=f"{len(texts)} datasets")
        raw = value.bytes("off") if value.has("off") else b""
        rows = [raw[at : at + LEASE_ID_BYTES] for at in range(0, len(raw), LEASE_ID_BYTES)]
        if len(rows) > OFF_MAX or len(raw) % LEASE_ID_BYTES:
            raise MessageRefused(reason=f"{len(raw)} bytes of leases")
        gone = tuple(map(parse_dataset_id, texts))
        return News(gone, value.flag("drains"), tuple(map(LeaseId, rows)))
    except (shape.WrongShape, MalformedId) as error:
        raise MessageRefused(reason=error.text()) from error


def welcome(ticket: bytes, state_ms: int, beat_ms: int) -> bytes:
    """Return the frame that gives a connection its ticket.

    `state_ms`: how often the relay wants to hear; `beat_ms`: how often it is heard at least.
    """
    return pack(Word.WELCOME, ticket, {"state_ms": state_ms, "beat_ms": beat_ms})


def read_welcome(body: bytes) -> tuple[int, int]:
    """Return `state_ms` and `beat_ms`. Raises MessageRefused."""
    value = _reader(body)
    try:
        return value.count("state_ms"), value.count("beat_ms")
    except shape.WrongShape as error:
        raise MessageRefused(reason=error.text()) from error


def page(rows: Iterable[Seen], ticket: bytes, *, last: bool) -> bytes:
    """Return the frame in which the relay's own status reads what pilots said."""
    plain = [[s.pilot_run, s.batch_id, s.host, s.silent_ms, s.state_ms, s.state] for s in rows]
    return pack(Word.PAGE, ticket, {"rows": plain, "last": last})


def read_page(body: bytes) -> tuple[tuple[Seen, ...], bool]:
    """Return what pilots said, and whether that was all. Raises MessageRefused."""
    value = _reader(body, PAGE_LIMITS)
    try:
        rows = tuple(
            Seen(
                PilotRun(row.bytes(0, 8)), row.text(1), row.text(2),
                row.count(3), row.count(4), row.bytes(5),
            )
            for row in value.readers("rows")
        )  # fmt: skip
        return rows, value.flag("last")
    except shape.WrongShape as error:
        raise MessageRefused(reason=error.text()) from error


def read_look(body: bytes) -> bytes:
    """Return behind which pilot the status wants to read on. Raises MessageRefused."""
    try:
        return _reader(body).bytes("after")
    except shape.WrongShape as error:
        raise MessageRefused(reason=error.text()) from error


def _reader(body: bytes, limits: ParseLimits = BODY_LIMITS) -> shape.Reader:
    try:
        return shape.Reader.of(canonical.decode(body, limits), "message")
    except (canonical.NotCanonical, shape.WrongShape) as error:
        raise MessageRefused(reason=error.text()) from error


def _task(row: shape.Reader, names: tuple[DatasetId, ...]) -> TaskNow:
    job, step = row.count(1), row.count(2)
    if job > JOB_MAX or step > STEP_MAX:
        raise MessageRefused(reason=f"task {job}/{step}")
    rest = (row.count(3), row.count(4), row.count(5), row.count(6))
    return TaskNow(names[row.count(0)], job, step, *rest)


def _shard(text: str) -> ShardName:
    name = ShardName.parse(text)
    if name is None:
        raise MessageRefused(reason=f"{text[:TEXT_CHARS_MAX]!r} is no shard")
    return name


def _text(value: shape.Reader, key: str) -> str:
    text = value.text(key)
    if len(text) > TEXT_CHARS_MAX:
        raise MessageRefused(reason=f"{key} has {len(text)} characters")
    return text


def _slots(value: shape.Reader) -> int:
    return value.count("slots")
