"""Custody of what the site made: what to send, send again, set aside, delete.

A result is deleted only when central's signed receipt says *safe*. Reports and telemetry are lossy
by contract, so *merged* frees them too. An answer over HTTP is never a receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bundle.ids import BundleId, Epoch, StreamId
from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt
from bundle.wire.manifest import Kind

LOSSY = frozenset({Kind.REPORT, Kind.TELEMETRY})
NO_EPOCH = Epoch(0, b"")
PARKED_PATIENCE = 24  # times as long as without an answer


class Place(StrEnum):
    """In which folder of the spool a bundle lies."""

    OUT = "out"
    SENT = "sent"
    REJECTED = "rejected"


class Deed(StrEnum):
    """What to do with a bundle."""

    SEND = "send"
    RESEND = "resend"
    REJECT = "reject"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Held:
    """One bundle of this site. `sent_us` is UTC microseconds by this clock, 0 while unsent.

    `answered`: central itself seemed to take it, or nobody could answer (a stick); False where
    something on the way said yes in central's place.
    """

    id: BundleId
    kind: Kind
    stream: StreamId
    sequence: int
    place: Place
    sent_us: int = 0
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a receipt before sending again."""

    resend_after_ms: int
    resend_gap_after_ms: int  # where a later bundle of the stream is known to have arrived
    resend_unanswered_after_ms: int


@dataclass(frozen=True, slots=True)
class Step:
    """One deed on one bundle; `code` says why central refused it."""

    deed: Deed
    held: Held
    code: str = ""


@dataclass(frozen=True, slots=True)
class KnownReceipt:
    """All receipts of one stream so far, joined, with the epoch of central that they speak for."""

    receipt: StreamReceipt
    epoch: Epoch = NO_EPOCH


def join_receipt(known: KnownReceipt, news: StreamReceipt, epoch: Epoch) -> KnownReceipt:
    """Add a receipt; any order and repetition gives the same within an epoch.

    A new epoch is a central restored from a backup: what it had merely merged it has forgotten,
    so only *safe* outlives the change, and the rest is sent again.
    """
    old = known.receipt
    safe = old.safe | news.safe
    if epoch.counter < known.epoch.counter:
        return KnownReceipt(_with_safe(old, safe), known.epoch)
    if epoch.counter > known.epoch.counter:
        return KnownReceipt(_with_safe(news, safe), epoch)
    both = StreamReceipt(
        stream=old.stream,
        merged=old.merged | news.merged,
        parked=old.parked | news.parked,
        refused=tuple(sorted({*old.refused, *news.refused})),
    )
    return KnownReceipt(_with_safe(both, safe), max(epoch, known.epoch))


def plan_custody(
    held: Iterable[Held],
    receipts: Mapping[StreamId, StreamReceipt],
    now_us: int,
    patience: Patience,
) -> tuple[Step, ...]:
    """Return the deeds on all bundles: results first, then by stream and sequence."""
    steps = []
    for one in sorted(held, key=importance):
        receipt = receipts.get(one.stream, StreamReceipt(one.stream))
        step = _step(one, receipt, now_us, patience)
        if step is not None:
            steps.append(step)
    return tuple(steps)


def is_free(kind: Kind, sequence: int, receipt: StreamReceipt) -> bool:
    """Return whether the site need not keep the bundle any more."""
    return sequence in receipt.safe or (kind in LOSSY and sequence in receipt.merged)


def importance(held: Held) -> tuple[bool, bytes, int]:
    """Return what sorts bundles for sending: results first, then by stream and sequence."""
    return held.kind in LOSSY, held.stream, held.sequence


def _step(held: Held, receipt: StreamReceipt, now_us: int, patience: Patience) -> Step | None:
    if is_free(held.kind, held.sequence, receipt):
        return Step(Deed.DELETE, held)
    if held.place is Place.REJECTED:
        return None
    code = dict(receipt.refused).get(held.sequence)
    if code is not None:
        return Step(Deed.REJECT, held, code)
    if held.place is Place.OUT:
        return Step(Deed.SEND, held)
    arrived = receipt.arrived()
    if held.sequence in arrived and held.sequence not in receipt.parked:
        return None
    is_gap = bool(arrived.spans) and arrived.spans[-1][1] > held.sequence
    waited_ms = patience.resend_after_ms
    if not held.answered:
        waited_ms = min(waited_ms, patience.resend_unanswered_after_ms)
    if held.sequence in receipt.parked:  # it waits there; its file may have been damaged since
        waited_ms = patience.resend_after_ms * PARKED_PATIENCE
    elif is_gap:
        waited_ms = min(waited_ms, patience.resend_gap_after_ms)
    # A clock set back would postpone for as long as it was set back: then send at once.
    if not 0 <= now_us - held.sent_us < waited_ms * 1000:
        return Step(Deed.RESEND, held)
    return None


def _with_safe(receipt: StreamReceipt, safe: IntervalSet) -> StreamReceipt:
    merged = receipt.merged | safe
    return StreamReceipt(
        stream=receipt.stream,
        merged=merged,
        safe=safe,
        parked=receipt.parked - merged,
        refused=tuple(one for one in receipt.refused if one[0] not in merged),
    )
