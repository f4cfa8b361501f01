"""docs/bundle-format.md states what the code does: numbers, orders and names."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bundle import limits
from bundle.fates import FATES
from bundle.records import segment, series, telemetry
from bundle.trust import fingerprint
from bundle.wire import codec, entries, header, manifest
from bundle.wire.preauth import (
    CERTIFICATE_TYPE,
    ENROLMENT_TYPE,
    PASS_TYPE,
    REQUEST_TYPE,
    TRUST_TYPE,
    bundle_type,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "bundle-format.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text()


def test_the_chapters_stand_in_the_agreed_order(text: str) -> None:
    chapters = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert chapters == ["Terms", "Bytes", "Limits", "Threat model", "Changes by version"]


@pytest.mark.parametrize(
    "line",
    [
        f"| a bundle | {limits.BUNDLE_BYTES_MAX} bytes",
        f"| manifest | {limits.MANIFEST_LIMITS.bytes_max} bytes, "
        f"{limits.MANIFEST_LIMITS.elements_max} elements |",
        f"| signatures | {limits.SIGNATURES_BYTES_MAX} bytes, {limits.SIGNATURES_MAX} signatures |",
        f"| chunks | {limits.CHUNKS_MAX} |",
        f"| a data chunk or a piece, raw | {limits.DATA_CHUNK_BYTES_MAX} bytes",
        f"| any other chunk, raw | {entries.RECORD_CHUNK_BYTES_MAX} bytes",
        f"| a chunk's name | {limits.NAME_CHARS_MAX} characters |",
        f"| {limits.RATIO_FREE_BYTES} + {limits.RATIO_MAX} x stored bytes |",
        f"| zstd window | {limits.ZSTD_WINDOW_BYTES_MAX} bytes |",
        f"| nesting | {limits.DEPTH_MAX} arrays",
        f"request, report | {limits.SMALL_LIMITS.bytes_max} bytes, "
        f"{limits.SMALL_LIMITS.elements_max} elements |",
        f"| dataset chunk | {limits.DOCUMENT_LIMITS.bytes_max} bytes, "
        f"{limits.DOCUMENT_LIMITS.elements_max} elements |",
        f"| lease chunk | {limits.LEASE_LIMITS.bytes_max} bytes, "
        f"{limits.LEASE_LIMITS.elements_max} elements |",
        f"| segment chunk | {limits.SEGMENT_LIMITS.bytes_max} bytes, "
        f"{limits.SEGMENT_LIMITS.elements_max} elements |",
        f"| telemetry chunk | {limits.TELEMETRY_LIMITS.bytes_max} bytes, "
        f"{limits.TELEMETRY_LIMITS.elements_max} elements |",
        f"| work-manifest chunk | {limits.ENVELOPE_LIMITS.bytes_max} bytes |",
        f"| attempts | {limits.ATTEMPTS_PER_SEGMENT_MAX} in a segment, "
        f"{limits.ATTEMPTS_PER_BUNDLE_MAX} in a result bundle |",
        f"| log of one attempt | {limits.LOG_BYTES_MAX} bytes |",
        f"| header | {header.HEADER_BYTES} |",
        f"| chunk table | {header.ROW_BYTES} for each chunk |",
        f"`{header.MAGIC.hex(' ').upper()}`",
        f"raw bytes / {codec.BLOCK_RAW_BYTES_MIN} + {codec.BLOCKS_FREE} blocks",
        f"Version {manifest.FORMAT}.",
    ],
)
def test_every_number_is_the_codes(text: str, line: str) -> None:
    assert line in text


def test_every_manifest_field_and_kind_is_described(text: str) -> None:
    for field in fields(manifest.Manifest):
        assert field.name == "unknown" or f"`{field.name}`" in text, field.name
    kinds = ", ".join(f"{place} {kind}" for place, kind in enumerate(manifest.KINDS))
    assert kinds in text


def test_every_column_of_the_records_is_described(text: str) -> None:
    assert " ".join(telemetry.FIELDS) in text
    assert f"`{' '.join(series.COLUMNS)}`" in text
    assert f"below {series.SERIES_BYTES_MAX} bytes" in text
    assert f"at most {series.POINTS_MAX};" in text
    assert ", ".join(FATES) in text
    columns = re.search(r"`columns` are `([^`]*)`", text)
    assert columns
    assert sorted(columns[1].split()) == sorted(segment.COLUMNS)
    assert ", ".join(segment.Host.__slots__) in text


def test_every_payload_type_is_described(text: str) -> None:
    for name in (CERTIFICATE_TYPE, ENROLMENT_TYPE, PASS_TYPE, REQUEST_TYPE, TRUST_TYPE):
        assert f"`{name}`" in text
    assert f"`{bundle_type('<kind>')}`" in text
    assert fingerprint._CONSONANTS in text
    assert fingerprint._VOWELS in text
