"""Custody: what is deleted, sent again, set aside, whatever arrives in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import BundleId, Epoch, StreamId
from bundle.intervals import IntervalSet
from bundle.records.receipt import StreamReceipt
from bundle.wire.manifest import Kind
from relay.core.custody import (
    Deed,
    Held,
    KnownReceipt,
    Patience,
    Place,
    join_receipt,
    plan_custody,
)

STREAM = StreamId(bytes(16))
PATIENCE = Patience(1000, 100, 300)
numbers = st.frozensets(st.integers(0, 12), max_size=8)
kinds = st.sampled_from([Kind.RESULT, Kind.REPORT, Kind.TELEMETRY])


@st.composite
def receipts(draw: st.DrawFn) -> StreamReceipt:
    merged = draw(numbers)
    safe = draw(st.frozensets(st.sampled_from(sorted(merged)))) if merged else frozenset()
    parked = draw(numbers) - merged
    refused = draw(numbers) - merged - parked
    return StreamReceipt(
        STREAM,
        IntervalSet.of(merged),
        IntervalSet.of(safe),
        IntervalSet.of(parked),
        tuple((number, "stale") for number in sorted(refused)),
    )


@st.composite
def held(draw: st.DrawFn) -> Held:
    sequence = draw(st.integers(0, 12))
    return Held(
        BundleId(f"{sequence:064x}"),
        draw(kinds),
        STREAM,
        sequence,
        draw(st.sampled_from(Place)),
        draw(st.integers(0, 3_000_000)),
        draw(st.booleans()),
    )


def joined(news: list[tuple[StreamReceipt, Epoch]]) -> KnownReceipt:
    known = KnownReceipt(StreamReceipt(STREAM))
    for receipt, epoch in news:
        known = join_receipt(known, receipt, epoch)
    return known


@given(st.lists(held(), max_size=12), receipts(), st.integers(0, 4_000_000))
def test_a_result_is_deleted_only_when_it_is_safe(
    bundles: list[Held], receipt: StreamReceipt, now_us: int
) -> None:
    for step in plan_custody(bundles, {STREAM: receipt}, now_us, PATIENCE):
        if step.deed is Deed.DELETE and step.held.kind is Kind.RESULT:
            assert step.held.sequence in receipt.safe


@given(st.lists(held(), max_size=12), receipts(), st.integers(0, 4_000_000))
def test_every_bundle_is_kept_waited_for_or_dealt_with_once(
    bundles: list[Held], receipt: StreamReceipt, now_us: int
) -> None:
    steps = plan_custody(bundles, {STREAM: receipt}, now_us, PATIENCE)
    assert len(steps) <= len(bundles)
    for step in steps:
        arrived = step.held.sequence in receipt.arrived()
        if step.deed is Deed.RESEND:
            assert step.held.place is Place.SENT
            assert not arrived or step.held.sequence in receipt.parked
        if step.deed is Deed.REJECT:
            assert step.code == "stale"


@given(held())
def test_what_nobody_acknowledged_is_sent_again_in_the_end(bundle: Held) -> None:
    late = bundle.sent_us + 1_000_001
    steps = plan_custody([bundle], {}, late, PATIENCE)
    deeds = {Place.OUT: [Deed.SEND], Place.SENT: [Deed.RESEND], Place.REJECTED: []}
    assert [step.deed for step in steps] == deeds[bundle.place]


def test_a_gap_is_sent_again_sooner_than_silence() -> None:
    missing = Held(BundleId("a" * 64), Kind.RESULT, STREAM, 3, Place.SENT, sent_us=1_000_000)
    later = StreamReceipt(STREAM, merged=IntervalSet.of([4]))
    earlier = StreamReceipt(STREAM, merged=IntervalSet.of([2]))
    after = 1_000_000 + 150_000
    assert plan_custody([missing], {STREAM: later}, after, PATIENCE)[0].deed is Deed.RESEND
    assert plan_custody([missing], {STREAM: earlier}, after, PATIENCE) == ()


def test_what_is_parked_is_sent_again_when_it_stays_so_for_long() -> None:
    bundle = Held(BundleId("a" * 64), Kind.RESULT, STREAM, 3, Place.SENT, sent_us=1_000_000)
    receipt = {STREAM: StreamReceipt(STREAM, parked=IntervalSet.of([3, 4]))}
    soon, late = (PATIENCE.resend_after_ms * 1000 * times for times in (20, 25))
    assert plan_custody([bundle], receipt, soon, PATIENCE) == ()
    assert plan_custody([bundle], receipt, late, PATIENCE)[0].deed is Deed.RESEND


def test_what_only_somebody_on_the_way_took_is_sent_again_sooner() -> None:
    bundle = Held(BundleId("a" * 64), Kind.RESULT, STREAM, 3, Place.SENT, 1_000_000, False)
    after = 1_000_000 + 350_000
    assert plan_custody([bundle], {}, after, PATIENCE)[0].deed is Deed.RESEND


def test_a_clock_set_back_a_year_sends_again_at_once() -> None:
    year_us = 365 * 86_400 * 1_000_000
    bundle = Held(BundleId("a" * 64), Kind.RESULT, STREAM, 3, Place.SENT, sent_us=2 * year_us)
    assert plan_custody([bundle], {}, year_us, PATIENCE)[0].deed is Deed.RESEND


@given(st.lists(receipts(), max_size=6), st.randoms())
def test_receipts_of_one_epoch_join_to_the_same_in_any_order_and_repetition(
    news: list[StreamReceipt], random: object
) -> None:
    epoch = Epoch(1, bytes(16))
    told = [(one, epoch) for one in news]
    again = [*told, *told]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert joined(told).receipt == joined(again).receipt


@given(st.lists(st.tuples(receipts(), st.integers(1, 3)), max_size=6))
def test_safe_is_never_taken_back(news: list[tuple[StreamReceipt, int]]) -> None:
    told = [(one, Epoch(counter, bytes(16))) for one, counter in news]
    known = KnownReceipt(StreamReceipt(STREAM))
    for receipt, epoch in told:
        before = known.receipt.safe
        known = join_receipt(known, receipt, epoch)
        assert not len(before - known.receipt.safe)
        assert not len(receipt.safe - known.receipt.safe)


def test_a_central_restored_from_a_backup_gets_everything_again_that_is_not_safe() -> None:
    before = StreamReceipt(STREAM, IntervalSet.of(range(10)), IntervalSet.of(range(4)))
    restored = StreamReceipt(STREAM, IntervalSet.of(range(6)), IntervalSet.of(range(6)))
    known = joined([(before, Epoch(1, bytes(16))), (restored, Epoch(2, bytes(16)))]).receipt
    bundles = [
        Held(BundleId(f"{n:064x}"), Kind.RESULT, STREAM, n, Place.SENT, 1) for n in range(10)
    ]
    steps = plan_custody(bundles, {STREAM: known}, 2_000_000, PATIENCE)
    assert [s.held.sequence for s in steps if s.deed is Deed.DELETE] == list(range(6))
    assert [s.held.sequence for s in steps if s.deed is Deed.RESEND] == list(range(6, 10))
    late = join_receipt(KnownReceipt(known, Epoch(2, bytes(16))), before, Epoch(1, bytes(16)))
    assert late.receipt.merged == known.merged  # an old bundle that arrives late changes nothing


def test_results_leave_before_telemetry_and_reports() -> None:
    bundles = [
        Held(BundleId("a" * 64), Kind.REPORT, STREAM, 0, Place.OUT),
        Held(BundleId("b" * 64), Kind.TELEMETRY, STREAM, 1, Place.OUT),
        Held(BundleId("c" * 64), Kind.RESULT, STREAM, 2, Place.OUT),
    ]
    steps = plan_custody(bundles, {}, 0, PATIENCE)
    assert [step.held.sequence for step in steps] == [2, 0, 1]
