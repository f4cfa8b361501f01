"""Custody on disk: `out/` waits, `sent/` was handed over, `rejected/` was refused by central.

Nothing leaves these folders but by a signed receipt. How often and when a bundle was handed over
is a sidecar, `streams/<stream>/<number>.sent`, never part of the bundle.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from bundle import canonical, shape
from bundle.errors import PulkError
from bundle.ids import BundleId, Epoch, StreamId
from bundle.limits import SMALL_LIMITS
from bundle.records import receipt as receipts
from bundle.records.receipt import StreamReceipt
from bundle.spool import publish
from bundle.spool.layout import Spool
from bundle.wire.manifest import Manifest
from relay import state, stream
from relay.carrier.contract import Answer, Carrier, Outgoing
from relay.core import custody
from relay.core.custody import LOSSY, NO_EPOCH, Deed, Held, KnownReceipt, Patience, Place, Step
from relay.home import Home, now_us
from relay.listing import names

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"([0-9]{8,19})-([0-9a-f]{64})\.pulk")


def every_held(spool: Spool) -> Iterator[Held]:
    """Yield every bundle of this site that is still here; files that it never numbered are not."""
    streams = stream.every(spool)
    for place in Place:
        for name in names(spool.folder(place)):
            if found := _NAME.fullmatch(name):
                held = _held(spool, streams, place, int(found[1]), BundleId(found[2]))
                if held is not None:
                    yield held


def tend(home: Home, carrier: Carrier | None) -> dict[Deed, int]:
    """Do what custody asks: delete what is safe, set aside what was refused, send, send again.

    Without a carrier what is to be sent again only moves back to `out/`. Raises CarryFailed
    after all that needs no carrier is done.
    """
    spool, done = home.spool, dict.fromkeys(Deed, 0)
    known = {one: read_receipt(spool, one).receipt for one in stream.every(spool)}
    steps = custody.plan_custody(every_held(spool), known, now_us(), _patience(home))
    for step in steps:
        match step.deed:
            case Deed.DELETE:
                _delete(spool, step.held)
            case Deed.REJECT:
                _reject(spool, step)
            case Deed.RESEND:
                _move(spool, step.held, Place.OUT)
            case Deed.SEND:
                continue
        done[step.deed] += 1
    if carrier is not None:
        for step in steps:
            if step.deed in (Deed.SEND, Deed.RESEND):
                done[Deed.SEND] += send(home, carrier, step.held)
    return done


def send(home: Home, carrier: Carrier, held: Held) -> bool:
    """Hand one bundle of `out/` over; False where it was not taken. Raises CarryFailed."""
    path = home.spool.folder(Place.OUT) / file_name(held)
    try:
        answer = carrier.send(Outgoing(held.id, path, again=held.sent_us != 0))
    except FileNotFoundError:
        return False  # another tick was first
    if answer is None:
        return False
    if held.kind in LOSSY and answer in (Answer.MERGED, Answer.REFUSED):
        # No receipt, but what is lossy may be lost: a report must not wait for one.
        publish.remove(path)
        _forget(home.spool, held)
        return True
    sidecar = canonical.encode({"at_us": now_us(), "answer": answer.value})
    publish.write_file(home.tmp, _sidecar(home.spool, held), sidecar)
    _move(home.spool, held, Place.SENT)
    return True


def in_order(spool: Spool) -> list[Held]:
    """Return every bundle that is still here in the order in which it should leave."""
    return sorted(every_held(spool), key=custody.importance)


def take_back(home: Home) -> None:
    """Move every bundle that no receipt covers back to `out/`, to be sent again at once."""
    for held in every_held(home.spool):
        arrived = read_receipt(home.spool, held.stream).receipt.arrived()
        if held.place is Place.SENT and held.sequence not in arrived:
            _move(home.spool, held, Place.OUT)


def file_name(held: Held) -> str:
    """Return a bundle's file name in the three folders."""
    return f"{held.sequence:08d}-{held.id}.pulk"


def read_receipt(spool: Spool, number: StreamId) -> KnownReceipt:
    """Return all receipts of a stream so far, joined."""
    value = state.read_map(spool.stream(number) / "receipt")
    if value is None:
        return KnownReceipt(StreamReceipt(number))
    epoch = Epoch(value.count("epoch"), value.bytes("nonce"))
    return KnownReceipt(receipts.from_wire(value.reader("receipt")), epoch)


def apply_receipts(spool: Spool, manifest: Manifest) -> None:
    """Join the receipts of a verified work bundle; any order, any repetition, any loss is fine.

    Of a stream that it does not name, central has nothing: in a new epoch it was set back.
    """
    named = {one.stream: one for one in manifest.receipts}
    for number in stream.every(spool):
        old = read_receipt(spool, number)
        is_new = (manifest.epoch or NO_EPOCH).counter > old.epoch.counter
        if number not in named and not is_new:
            continue
        news = named.get(number, StreamReceipt(number))
        joined = custody.join_receipt(old, news, manifest.epoch or NO_EPOCH)
        if joined != old:
            value = {
                "receipt": receipts.to_wire(joined.receipt),
                "epoch": joined.epoch.counter,
                "nonce": joined.epoch.nonce,
            }
            state.write_map(spool, spool.stream(news.stream) / "receipt", value)
        arrived = news.arrived().spans
        if arrived and arrived[-1][1] - 1 > stream.head(spool, news.stream):
            # Central saw numbers that this spool never gave: it was restored from an old copy.
            stream.close(spool, news.stream)


def _held(
    spool: Spool, streams: list[StreamId], place: Place, sequence: int, bundle: BundleId
) -> Held | None:
    for number in streams:
        record = stream.read(spool, number, sequence)
        if record is not None and record.id == bundle:
            held = Held(bundle, record.kind, number, sequence, place)
            return _with_sidecar(spool, held) if place is Place.SENT else held
    return None


def _with_sidecar(spool: Spool, held: Held) -> Held:
    path = _sidecar(spool, held)
    with contextlib.suppress(OSError, PulkError):
        value = shape.Reader.of(canonical.decode(path.read_bytes(), SMALL_LIMITS), str(path))
        answered = value.text("answer") != Answer.CARRIED
        at_us = value.count("at_us")
        return Held(held.id, held.kind, held.stream, held.sequence, held.place, at_us, answered)
    return held  # sent at an unknown time: soon sent again


def _patience(home: Home) -> Patience:
    carry = home.config.carry
    return Patience(
        resend_after_ms=int(carry.resend_after_s * 1000),
        resend_gap_after_ms=int(carry.resend_gap_after_s * 1000),
        resend_unanswered_after_ms=int(carry.resend_unanswered_after_s * 1000),
    )


def _delete(spool: Spool, held: Held) -> None:
    publish.remove(spool.folder(held.place) / file_name(held))
    _forget(spool, held)


def _reject(spool: Spool, step: Step) -> None:
    _LOG.error("central refused a bundle", extra={"bundle": step.held.id, "code": step.code})
    record = stream.read(spool, step.held.stream, step.held.sequence)
    for work in record.works if record else ():
        stream.forget_told(spool, work)  # what it introduced must be said again
    _move(spool, step.held, Place.REJECTED)


def _forget(spool: Spool, held: Held) -> None:
    _sidecar(spool, held).unlink(missing_ok=True)
    record = stream.read(spool, held.stream, held.sequence)
    if record is not None:
        stream.prune(spool, [record])


def _move(spool: Spool, held: Held, to: Place) -> None:
    name = file_name(held)
    here = Place.OUT if to is Place.SENT else held.place
    publish.move(spool.folder(here) / name, spool.folder(to) / name)


def _sidecar(spool: Spool, held: Held) -> Path:
    return spool.stream(held.stream) / f"{held.sequence:08d}.sent"
