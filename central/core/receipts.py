"""Receipts: what became of a stream's bundles, as interval sets that only grow."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt

REFUSED_MAX = 1000  # named by number in a receipt; older ones are only part of what arrived


class Outcome(StrEnum):
    """What became of a bundle."""

    MERGED = "merged"
    PARKED = "parked"
    REFUSED = "refused"


def note(
    receipt: StreamReceipt, sequence: int, outcome: Outcome, code: str = "", *, safe: bool = False
) -> StreamReceipt:
    """Return the receipt with one bundle's disposition joined; merged wins over the others."""
    one = IntervalSet(((sequence, sequence + 1),))
    match outcome:
        case Outcome.MERGED:
            return replace(
                receipt,
                merged=receipt.merged | one,
                safe=receipt.safe | one if safe else receipt.safe,
                parked=receipt.parked - one,
                refused=tuple(row for row in receipt.refused if row[0] != sequence),
            )
        case Outcome.PARKED if sequence not in receipt.merged:
            return replace(receipt, parked=receipt.parked | one)
        case Outcome.REFUSED if sequence not in receipt.merged:
            refused = tuple(sorted({*receipt.refused, (sequence, code)}))[-REFUSED_MAX:]
            return replace(receipt, refused=refused, parked=receipt.parked - one)
    return receipt
