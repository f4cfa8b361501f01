"""A courier's pass: what it lets its holder say, for whom, until when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.ids import SiteName
from bundle.trust import certificate, courier, quickstart
from bundle.trust.certificate import Certificate
from bundle.trust.courier import LIFETIME_US_MAX, Pass
from bundle.trust.errors import KeyRevoked, MalformedTrust, RequestRefused, TrustRefused
from bundle.trust.keys import MemoryKey
from bundle.trust.request import check_request, sign_request
from bundle.trust.trust_file import Revocation, TrustView

NOW_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
PATH = "/exchange/north/outbox"


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An authority, a site that it certified, a courier with the site's pass."""
    folder = tmp_path_factory.mktemp("cast")
    authority = quickstart.make_authority(folder / "root", folder / "central")
    site, other, carrier = (MemoryKey.generate() for _ in range(3))
    certified = [
        certificate.issue(Certificate(SiteName(name), key.public, 1, 1), authority.registrar)
        for name, key in (("north", site), ("south", other))
    ]
    given_pass = Pass(SiteName("north"), carrier.public, NOW_US - DAY_US, NOW_US + DAY_US)
    return {
        "trust": authority.trust, "site": site, "other": other, "carrier": carrier,
        "north": certified[0], "south": certified[1], "given": given_pass,
        "raw": courier.issue(given_pass, site),
    }  # fmt: skip


def ask(cast: dict[str, Any], raw: bytes, *, at_us: int = NOW_US, **changed: Any) -> str:
    signer = changed.get("signer", cast["carrier"])
    certified, trust = changed.get("certificate", cast["north"]), changed.get("trust")
    header = sign_request(signer, certified, "GET", PATH, at_us, raw)
    view = TrustView(trust or cast["trust"])
    return check_request(header, view, "GET", PATH, now_us=at_us, skew_max_us=DAY_US)


def test_a_courier_speaks_for_the_site_that_gave_the_pass(cast: dict[str, Any]) -> None:
    assert ask(cast, cast["raw"]) == "north"
    certified, raw = courier.unwrap(courier.wrap(cast["north"], cast["raw"]))
    assert (certified, raw) == (cast["north"], cast["raw"])
    assert courier.read(raw) == cast["given"]


def test_nobody_else_speaks_with_it(cast: dict[str, Any]) -> None:
    for changed in (
        {"signer": MemoryKey.generate()},
        {"signer": cast["site"]},  # the site has a way of its own
        {"certificate": cast["south"]},
    ):
        with pytest.raises(RequestRefused):
            ask(cast, cast["raw"], **changed)
    with pytest.raises(RequestRefused):
        ask(cast, b"")  # without the pass the courier's key is nobody's


def test_a_pass_that_another_site_or_nobody_signed_is_refused(cast: dict[str, Any]) -> None:
    for key in (cast["other"], cast["carrier"], MemoryKey.generate()):
        with pytest.raises(RequestRefused):
            ask(cast, courier.issue(cast["given"], key))
    foreign = replace(cast["given"], site=SiteName("south"))
    with pytest.raises(RequestRefused, match="south"):
        ask(cast, courier.issue(foreign, cast["site"]))


@pytest.mark.parametrize(("ends", "lasts"), [(0, 1), (-1, 1), (1, LIFETIME_US_MAX + 1)])
def test_a_pass_ends_and_none_lasts_for_ever(cast: dict[str, Any], ends: int, lasts: int) -> None:
    ends_us = NOW_US + ends
    given_pass = replace(cast["given"], issued_us=ends_us - lasts, ends_us=ends_us)
    with pytest.raises(RequestRefused, match="over"):
        ask(cast, courier.issue(given_pass, cast["site"]))


def test_a_revoked_key_of_site_or_courier_ends_it(cast: dict[str, Any]) -> None:
    for name in ("site", "carrier"):
        revoked = replace(cast["trust"], revocations=(Revocation(cast[name].public),))
        with pytest.raises(KeyRevoked):
            ask(cast, cast["raw"], trust=revoked)


@given(st.data())
def test_no_changed_pass_counts(cast: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(cast["raw"])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TrustRefused):
        ask(cast, bytes(raw))
    with pytest.raises(MalformedTrust):
        courier.unwrap(bytes(raw[: data.draw(st.integers(0, len(raw) - 1))]))
