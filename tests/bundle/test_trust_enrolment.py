"""A site is enrolled with two files and one phone call, authenticated both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import canonical
from bundle.intervals import IntervalSet
from bundle.trust import certificate, enrolment, fingerprint, signed, trust_file
from bundle.trust.certificate import Certificate
from bundle.trust.errors import (
    CertificateRefused,
    EnrolmentRefused,
    KeyRevoked,
    MalformedTrust,
    RequestRefused,
    ThresholdNotMet,
    TrustRefused,
    UnknownRegistrar,
    WeakKey,
    WrongFingerprint,
)
from bundle.trust.keys import MemoryKey
from bundle.trust.request import check_request, sign_request
from bundle.trust.trust_file import Revocation
from bundle.wire.preauth import CERTIFICATE_TYPE, ENROLMENT_TYPE, TRUST_TYPE

MakeKey = Callable[[int], MemoryKey]
NOW_US = 1_700_000_000_000_000


def test_request_and_answer_make_the_round(cast: Any) -> None:
    request = enrolment.check_request(enrolment.make_request("north", cast.site, created_us=5))
    assert (request.site, request.key) == ("north", cast.site.public)
    assert request.fingerprint == fingerprint.of_key(cast.site.public)
    issued = certificate.issue(Certificate(request.site, request.key, 1, 6), cast.registrar)
    answer = enrolment.make_answer(issued, cast.trust_bytes)
    words = fingerprint.of_roots(cast.trust).upper().replace("-", "  ")
    accepted = enrolment.accept_answer(answer, words, cast.site.public, site="north")
    assert accepted.certificate == issued
    assert accepted.trust.raw == cast.trust_bytes


def test_every_bit_flip_of_a_request_or_an_answer_is_refused(cast: Any) -> None:
    request = enrolment.make_request("north", cast.site, created_us=5)
    answer = enrolment.make_answer(cast.certificate, cast.trust_bytes)
    words = fingerprint.of_roots(cast.trust)

    def accept(raw: bytes) -> None:
        enrolment.accept_answer(raw, words, cast.site.public)

    for raw, read in ((request, enrolment.check_request), (answer, accept)):
        for bit in range(8 * len(raw)):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(TrustRefused):
                read(bytes(flipped))
        for length in range(len(raw)):
            with pytest.raises(TrustRefused):
                read(raw[:length])


def test_a_request_must_be_signed_by_the_key_that_it_names(cast: Any) -> None:
    body = canonical.encode({"site": "north", "key": cast.site.public, "created_us": 5})
    for kind, signer in ((ENROLMENT_TYPE, cast.stranger), (CERTIFICATE_TYPE, cast.site)):
        with pytest.raises(EnrolmentRefused):
            enrolment.check_request(signed.encode(signed.sign(kind, body, [signer])))


def test_a_weak_key_or_a_reserved_name_is_not_enrolled(cast: Any) -> None:
    body = canonical.encode({"site": "north", "key": bytes(32), "created_us": 5})
    with pytest.raises(WeakKey):
        enrolment.check_request(signed.encode(signed.sign(ENROLMENT_TYPE, body, [cast.site])))
    for name in ("central", "North", "", "a/b", "x" * 64):
        with pytest.raises(CertificateRefused):
            enrolment.make_request(name, cast.site, created_us=5)
    with pytest.raises(WeakKey):
        certificate.issue(Certificate("north", bytes(32), 1, 1), cast.registrar)


def test_an_answer_with_other_roots_than_the_phone_calls_is_refused(
    cast: Any, make_key: MakeKey
) -> None:
    false_root, false_registrar = make_key(90), make_key(91)
    false = replace(cast.trust, roots=(false_root.public,), registrars=(false_registrar.public,))
    issued = certificate.issue(Certificate("north", cast.site.public, 1, 6), false_registrar)
    answer = enrolment.make_answer(issued, trust_file.encode(false, [false_root]))
    with pytest.raises(WrongFingerprint):
        enrolment.accept_answer(answer, fingerprint.of_roots(cast.trust), cast.site.public)
    unsigned = enrolment.make_answer(issued, trust_file.encode(cast.trust, [false_root]))
    with pytest.raises(ThresholdNotMet):
        enrolment.accept_answer(unsigned, fingerprint.of_roots(cast.trust), cast.site.public)
    mixed = enrolment.make_answer(issued, cast.trust_bytes)
    with pytest.raises(UnknownRegistrar):
        enrolment.accept_answer(mixed, fingerprint.of_roots(cast.trust), cast.site.public)


def test_an_answer_for_another_key_or_site_is_refused(cast: Any) -> None:
    answer = enrolment.make_answer(cast.certificate, cast.trust_bytes)
    words = fingerprint.of_roots(cast.trust)
    with pytest.raises(EnrolmentRefused):
        enrolment.accept_answer(answer, words, cast.other_site.public)
    with pytest.raises(EnrolmentRefused):
        enrolment.accept_answer(answer, words, cast.site.public, site="south")


def test_a_certificate_counts_under_its_own_type_only(cast: Any) -> None:
    body = signed.decode(cast.certificate, "x").body
    for kind in (TRUST_TYPE, ENROLMENT_TYPE):
        raw = signed.encode(signed.sign(kind, body, [cast.registrar]))
        with pytest.raises(CertificateRefused):
            certificate.verify(raw, cast.trust)
    with pytest.raises(UnknownRegistrar):
        raw = signed.encode(signed.sign(CERTIFICATE_TYPE, body, [cast.central]))
        certificate.verify(raw, cast.trust)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_fingerprints_are_six_words_that_tell_keys_apart(one: bytes, two: bytes) -> None:
    words = fingerprint.of_key(one)
    assert len(words.split("-")) == fingerprint.WORDS
    assert all(len(word) == 5 for word in words.split("-"))
    assert fingerprint.same(words.upper().replace("-", " "), words)
    assert fingerprint.same(fingerprint.of_key(two), words) == (one == two)


def test_the_roots_fingerprint_covers_keys_and_threshold_not_their_order(
    cast: Any, make_key: MakeKey
) -> None:
    one, two = make_key(1).public, make_key(2).public
    words = {
        fingerprint.of_roots(replace(cast.trust, roots=roots, threshold=threshold))
        for roots in ((one, two), (two, one))
        for threshold in (1, 2)
    }
    assert len(words) == 2


def ask(cast: Any, header: str | None, path: str = "/exchange/north/x", **how: Any) -> str:
    given = {"trust": cast.view, "method": "PUT", "now_us": NOW_US, "skew_max_us": 300_000_000}
    return str(check_request(header, path=path, **(given | how)))


def test_a_signed_request_names_its_site(cast: Any) -> None:
    header = sign_request(cast.site, cast.certificate, "PUT", "/exchange/north/x", NOW_US - 1)
    assert ask(cast, header) == "north"


def test_a_request_counts_for_its_method_path_and_time_only(cast: Any) -> None:
    header = sign_request(cast.site, cast.certificate, "PUT", "/exchange/north/x", NOW_US)
    for how in ({"method": "GET"}, {"path": "/exchange/south/x"}):
        with pytest.raises(RequestRefused, match="does not fit"):
            ask(cast, header, **how)
    for now_us in (NOW_US + 301_000_000, NOW_US - 301_000_000):
        with pytest.raises(RequestRefused, match="by this clock"):
            ask(cast, header, now_us=now_us)
    later = header.replace(str(NOW_US), str(NOW_US + 1))
    with pytest.raises(RequestRefused, match="does not fit"):
        ask(cast, later)


def test_a_request_by_another_key_or_a_revoked_one_is_refused(cast: Any) -> None:
    forged = sign_request(cast.stranger, cast.certificate, "PUT", "/exchange/north/x", NOW_US)
    with pytest.raises(RequestRefused):
        ask(cast, forged)
    header = sign_request(cast.site, cast.certificate, "PUT", "/exchange/north/x", NOW_US)
    revoked = replace(cast.trust, revocations=(Revocation(cast.site.public),))
    with pytest.raises(KeyRevoked):
        ask(cast, header, trust=replace(cast.view, trust=revoked))


@pytest.mark.parametrize(
    "header",
    [
        None, "", "PulkSite", "PulkSite ", "PulkSite a.b", "PulkSite a.b.c", "PulkSite !.1.!",
        "Bearer x", "PulkSite YQ==.1.YQ==", "PulkSite YQ==.-1.YQ==", "PulkSite YQ==.²6.YQ==",
        "PulkSite " + "a" * 9000 + ".1.YQ==", "PulkSite YQ==." + "9" * 30 + ".YQ==",
    ],
)  # fmt: skip
def test_a_malformed_header_is_refused(cast: Any, header: str | None) -> None:
    with pytest.raises((RequestRefused, CertificateRefused), match="Authorization"):
        ask(cast, header)


def test_what_is_kept_of_a_revoked_key_is_told_by_stream_and_number() -> None:
    kept = trust_file.Kept(b"s" * 16, IntervalSet(((2, 4),)), bytes(32))
    revocation = Revocation(b"k" * 32, (kept,))
    assert [revocation.keeps(b"s" * 16, n, bytes(32)) for n in range(5)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert not revocation.keeps(b"t" * 16, 2, bytes(32))


def test_a_malformed_answer_is_refused() -> None:
    for raw in (b"", b"\x80", canonical.encode({"certificate": b"", "trust": b""})):
        with pytest.raises(MalformedTrust):
            enrolment.accept_answer(raw, "x", bytes(32))
