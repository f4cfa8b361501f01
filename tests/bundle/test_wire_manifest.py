"""A manifest has one form: it is read back whole, or refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.ids import DatasetId, Epoch, LeaseId, PilotRun, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import MANIFEST_LIMITS
from bundle.records.edit import Edit
from bundle.records.receipt import StreamReceipt
from bundle.wire import manifest
from bundle.wire.errors import MalformedManifest
from bundle.wire.manifest import ChunkEntry, Kind, Manifest, Rules, SegmentEntry

COUNTS = st.integers(0, 2**63 - 1)
DIGESTS = st.binary(min_size=32, max_size=32)
STREAMS = st.binary(min_size=16, max_size=16).map(StreamId)
NUMBERS = st.sets(st.integers(0, 200)).map(IntervalSet.of)
CHUNKS = st.builds(
    ChunkEntry,
    st.sampled_from(["lease", "document", "data"]),
    st.text(max_size=20),
    st.integers(0, 1 << 20),
    COUNTS,
    DIGESTS,
)
SEGMENTS = st.builds(
    SegmentEntry,
    DIGESTS,
    st.binary(min_size=8, max_size=8).map(PilotRun),
    DIGESTS,
    st.sampled_from([b"", b"s" * 64]),
    st.text(max_size=9),
    st.binary(min_size=16, max_size=16).map(LeaseId),
    DIGESTS.map(bytes.hex),
    st.booleans(),
)
RECEIPTS = st.builds(
    StreamReceipt,
    STREAMS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.lists(st.tuples(COUNTS, st.text(max_size=9)), max_size=3).map(tuple),
)
EDITS = st.builds(
    Edit,
    st.sampled_from([DatasetId("a" * 26), DatasetId("b" * 26)]),
    DIGESTS,
    st.builds(Epoch, COUNTS, STREAMS),
    COUNTS,
)
LATER = st.dictionaries(
    st.text(min_size=1, max_size=5).map("zz".__add__),
    st.one_of(st.integers(-5, 5), st.text(max_size=5), st.lists(st.binary(max_size=3))),
    max_size=3,
)


@st.composite
def manifests(draw: Any) -> Manifest:
    kind = draw(st.sampled_from(list(Kind)))
    sites_own = kind in manifest.SITES_OWN
    return Manifest(
        kind=kind,
        producer="north" if sites_own else "central",
        certificate=b"certificate" if sites_own else b"",
        stream=draw(STREAMS),
        sequence=draw(COUNTS),
        created_us=draw(COUNTS),
        previous=draw(st.sampled_from([b"", b"p" * 32])),
        epoch=draw(st.none() | st.builds(Epoch, COUNTS, STREAMS)),
        commit=draw(COUNTS),
        audience=draw(st.sampled_from(["", "central", "north"])),
        lifetime_ms=draw(COUNTS),
        segments=draw(st.lists(SEGMENTS, max_size=3).map(tuple)),
        introduces=draw(st.lists(DIGESTS, max_size=3).map(tuple)),
        refers=draw(st.lists(DIGESTS, max_size=3).map(tuple)),
        receipts=draw(st.lists(RECEIPTS, max_size=2).map(tuple)),
        rules=draw(st.none() | st.builds(Rules, st.sampled_from(["none", "any"]), COUNTS)),
        tombstones=draw(st.lists(st.just(DatasetId("a" * 26)), max_size=2).map(tuple)),
        trust=draw(st.binary(max_size=9)),
        received=draw(st.lists(st.tuples(STREAMS, NUMBERS), max_size=2).map(tuple)),
        withdrawn=draw(NUMBERS),
        called_off=draw(st.lists(st.just(LeaseId(b"l" * 16)), max_size=2).map(tuple)),
        edits=draw(st.lists(EDITS, max_size=2, unique_by=lambda one: one.dataset).map(tuple)),
        unknown=tuple(sorted(draw(LATER).items(), key=lambda one: one[0].encode())),
        chunks=draw(st.lists(CHUNKS, max_size=3).map(tuple)),
    )


@given(manifests())
def test_every_manifest_is_read_back_whole(whole: Manifest) -> None:
    raw = manifest.encode(whole)
    assert manifest.decode(raw) == whole
    assert manifest.encode(manifest.decode(raw)) == raw


@given(manifests(), st.integers(0, 10_000), st.integers(1, 255))
def test_altered_bytes_are_another_manifest_or_none(whole: Manifest, at: int, mask: int) -> None:
    raw = bytearray(manifest.encode(whole))
    raw[at % len(raw)] ^= mask
    try:
        other = manifest.decode(bytes(raw))
    except MalformedManifest:
        return
    assert other != whole
    assert manifest.encode(other) == raw


def plain(**fields: Any) -> dict[str, Any]:
    least = Manifest(
        kind=Kind.WORK, producer="central", stream=StreamId(b"s" * 16), sequence=1, created_us=1
    )
    return dict(canonical.decode(manifest.encode(least), MANIFEST_LIMITS)) | fields


CHUNK = ["lease", "a", 1, 1, b"d" * 32]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "gossip"}, r"manifest\.kind"),
        ({"kind": 1}, r"manifest\.kind"),
        ({"stream": b"short"}, r"manifest\.stream"),
        ({"sequence": -1}, r"manifest\.sequence"),
        ({"sequence": 2**63}, "sequence"),
        ({"sequence": True}, r"manifest\.sequence"),
        ({"format": 1, "reader_min": 2}, "reader_min"),
        ({"producer": "north"}, "producer"),
        ({"certificate": b"c"}, "certificate"),
        ({"kind": "result", "producer": "north"}, "certificate"),
        ({"chunks": [CHUNK[:4]]}, r"chunks\[0\]"),
        ({"chunks": [[*CHUNK, 1]]}, r"chunks\[0\]"),
        ({"chunks": [["No Kind", *CHUNK[1:]]]}, r"chunks\[0\]"),
        ({"chunks": [["lease", "n" * 256, *CHUNK[2:]]]}, r"chunks\[0\]"),
        ({"chunks": [["lease", "a", (192 << 20) + 1, 1, b"d" * 32]]}, r"chunks\[0\]"),
        ({"chunks": [["data", "a", (16 << 30) + 1, 1, b"d" * 32]]}, r"chunks\[0\]"),
        ({"rules": {"network": "some", "node_hours_max_milli": 0}}, r"manifest\.rules"),
        ({"rules": {"network": "none"}}, r"manifest\.rules"),
        ({"rules": {"network": "none", "node_hours_max_milli": 0, "x": 1}}, r"manifest\.rules"),
        ({"tombstones": ["not-an-id"]}, r"manifest\.tombstones"),
        ({"receipts": [[b"s" * 16, [[1, 0]], [], [], []]]}, r"receipts\[0\]"),
        ({"receipts": [[b"s" * 16, [[5, 1], [1, 1]], [], [], []]]}, r"receipts\[0\]"),
        ({"receipts": [[b"s" * 16, [[1, 1], [2, 1]], [], [], []]]}, r"receipts\[0\]"),
        ({"received": [[b"s" * 16, [[2**63 - 1, 2**63]]]]}, r"received\[0\]"),
        ({"audience": ""}, "empty"),
        ({"segments": []}, "empty"),
        ({"commit": 0}, "empty"),
        ({"epoch": [1, b"n" * 16, 3]}, "holds more"),
    ],
)
def test_a_wrong_field_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(MalformedManifest, match=named):
        manifest.decode(canonical.encode(plain(**fields)), where="x.pulk")


@pytest.mark.parametrize("field", sorted(plain()))
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    value = plain()
    del value[field]
    with pytest.raises(MalformedManifest, match=field):
        manifest.decode(canonical.encode(value))


@pytest.mark.parametrize("raw", [b"", b"\x90", b"\x01", b"\xc1", b"\x80"])
def test_bytes_that_are_no_map_of_fields_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedManifest):
        manifest.decode(raw)


def test_more_chunks_than_the_limit_are_refused() -> None:
    with pytest.raises(MalformedManifest, match="at most 65536"):
        manifest.decode(canonical.encode(plain(chunks=[CHUNK] * 65_537)))
