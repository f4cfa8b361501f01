"""Bundles of signers that are not known: kept, within a bound that fills no disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from central import parking
from central.core.receipts import Outcome
from tests.central.site import Site, enrolled


@pytest.fixture
def stranger(tmp_path: Path) -> Site:
    """A site of another central."""
    folder = tmp_path / "other"
    folder.mkdir()
    return enrolled(folder)


def test_no_more_is_kept_of_strangers_than_the_bound_and_known_sites_are_heard_all_the_while(
    tmp_path: Path, stranger: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "STRANGERS_MAX", 2)
    site = enrolled(tmp_path)
    authority = site.authority()
    try:
        found = [authority.absorb(stranger.report(tmp_path, number)) for number in range(4)]
        assert [one.outcome for one in found] == [Outcome.PARKED] * 2 + [Outcome.REFUSED] * 2
        assert {one.code for one in found[2:]} == {"too-many-strangers"}
        assert len(list(site.home.parked.iterdir())) == 2
        assert not list(site.home.quarantine.iterdir())
        assert authority.absorb(site.report(tmp_path, 0)).outcome is Outcome.MERGED
    finally:
        authority.close()


def test_strangers_are_bounded_by_bytes_too_and_the_same_file_counts_once(
    tmp_path: Path, stranger: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = enrolled(tmp_path)
    authority = site.authority()
    first, second = (stranger.report(tmp_path, number) for number in range(2))
    size = first.stat().st_size
    monkeypatch.setattr(parking, "STRANGERS_BYTES_MAX", size + size // 2)
    try:
        assert authority.absorb(first).outcome is Outcome.PARKED
        assert authority.absorb(second).outcome is Outcome.REFUSED
        assert authority.absorb(first).outcome is Outcome.PARKED
        (kept,) = site.home.parked.iterdir()
        kept.unlink()
        assert authority.absorb(second).outcome is Outcome.PARKED
    finally:
        authority.close()
