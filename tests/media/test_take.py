"""Taking what lies on a medium: whatever it is called, whatever else lies there."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from bundle.media.errors import MediumFailed
from bundle.media.facts import Facts
from bundle.media.parts import split
from bundle.media.take import Became, Came, Reception, take
from bundle.trust.trust_file import TrustView
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from tests.media.made import Press

pytestmark = pytest.mark.sweeps


def reception(into: Path, **changes: object) -> Reception:
    """A folder where bundles land."""
    known: dict[str, object] = {
        "into": into,
        "parts": into / "parts",
        "quarantine": into / "quarantine",
        "known": lambda bundle: (into / f"{bundle}.pulk").exists(),
    }
    return Reception(**(known | changes))  # type: ignore[arg-type]


def taken(medium: Path, into: Path, **changes: object) -> dict[str, Came]:
    """Take a medium; return what became of each file."""
    came = list(take(medium, reception(into, **changes)))
    return {name: one for one in came for name in one.files}


def landed(into: Path) -> set[str]:
    """The bundles that landed."""
    return {path.stem for path in into.glob("*.pulk")}


def test_content_decides_never_the_name(press: Press, stick: Path, tmp_path: Path) -> None:
    bundles = [press.make(n) for n in range(6)]
    names = ["A.PULK", "ABCDEF~1.PUL", "deep/er/photo.jpg", ".hidden", "no ending", "x.part"]
    for path, name in zip(bundles, names, strict=True):
        (stick / name).parent.mkdir(parents=True, exist_ok=True)
        (stick / name).write_bytes(path.read_bytes())
    (stick / "copy of A.pulk").write_bytes(bundles[0].read_bytes())
    found = taken(stick, tmp_path / "into")
    assert landed(tmp_path / "into") == {path.stem for path in bundles}
    assert found["A.PULK"].files == ("A.PULK", "copy of A.pulk")  # twice there, once taken
    assert {one.became for one in taken(stick, tmp_path / "into").values()} == {Became.KNOWN}
    for path in bundles:
        assert (tmp_path / "into" / path.name).read_bytes() == path.read_bytes()


def test_what_is_no_bundle_is_told_and_harmless(press: Press, stick: Path, tmp_path: Path) -> None:
    path = press.make()
    (stick / "holiday.jpg").write_bytes(b"x")
    (stick / "._apple.pulk").write_bytes(b"\x00\x05\x16\x07")
    (stick / "PULK.TXT").write_text("a label")
    (stick / "link.pulk").symlink_to(path)
    (stick / "folder-link").symlink_to(press.goods)
    os.mkfifo(stick / "pipe.pulk")
    (stick / "empty.pulk").touch()
    (stick / "words.pulk").write_text("not a bundle")
    before = sorted(one.name for one in stick.iterdir())
    found = taken(stick, tmp_path / "into")
    assert {name: one.became for name, one in found.items()} == {
        "holiday.jpg": Became.FOREIGN,
        "._apple.pulk": Became.FOREIGN,
        "link.pulk": Became.FOREIGN,
        "folder-link": Became.FOREIGN,
        "pipe.pulk": Became.FOREIGN,
        "empty.pulk": Became.REFUSED,
        "words.pulk": Became.REFUSED,
    }
    assert not landed(tmp_path / "into")
    assert sorted(one.name for one in stick.iterdir()) == before
    kept = list((tmp_path / "into" / "quarantine").glob("*.pulk"))
    assert sorted(one.read_bytes() for one in kept) == [b"", b"not a bundle"]
    assert found["words.pulk"].is_refused
    taken(stick, tmp_path / "into")  # the same again keeps no second copy
    assert len(list((tmp_path / "into" / "quarantine").glob("*.pulk"))) == len(kept)


def test_parts_wait_for_the_rest_and_land_once(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=6)
    out, into = tmp_path / "out", tmp_path / "into"
    out.mkdir()
    parts = [part.path for part in split(whole, out, 2700)]
    random.Random(1).shuffle(parts)
    for number, part in enumerate(parts):
        medium = tmp_path / f"stick-{number}"
        medium.mkdir()
        (medium / "PART").write_bytes(part.read_bytes())
        came = taken(medium, into)["PART"]
        if number < len(parts) - 1:
            assert came.became is Became.KEPT
            assert came.missing.spans
            assert not came.is_refused
            assert len(list((into / "parts").glob("*.pulk"))) == 1
    assert came.became is Became.LANDED
    assert (into / whole.name).read_bytes() == whole.read_bytes()
    assert not list((into / "parts").iterdir())


def test_a_copy_that_was_cut_short_gives_what_it_still_holds(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=6)
    into, raw = tmp_path / "into", whole.read_bytes()
    for name, data in (("first", raw[:-1500]), ("second", raw[:-1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "torn.pulk").write_bytes(data)
    came = taken(tmp_path / "first", into)["torn.pulk"]
    assert (came.became, set(came.missing), came.is_refused) == (Became.KEPT, {4, 5}, True)
    came = taken(tmp_path / "second", into)["torn.pulk"]
    assert set(came.missing) == {5}
    (tmp_path / "third").mkdir()
    altered = bytearray(raw)
    altered[-5000] ^= 1  # in an earlier chunk, which is here already
    (tmp_path / "third" / "altered.pulk").write_bytes(altered + b"and more")
    assert taken(tmp_path / "third", into)["altered.pulk"].became is Became.LANDED
    assert (into / whole.name).read_bytes() == raw


def test_every_byte_of_a_damaged_file_lands_nothing_wrong(press: Press, tmp_path: Path) -> None:
    whole = press.make(chunks=2, chunk_bytes=40)
    raw = whole.read_bytes()
    for at in range(len(raw)):
        medium, into = tmp_path / f"m{at}", tmp_path / f"i{at}"
        medium.mkdir()
        (medium / "x.pulk").write_bytes(raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :])
        (came,) = taken(medium, into).values()
        assert came.is_refused or came.became is Became.LANDED
        for path in into.glob("*.pulk"):
            assert path.stem == whole.stem
            with open_bundle(path, press.trust(), audience=None, kinds=frozenset(Kind)) as bundle:
                bundle.check_all()


def test_a_signature_that_does_not_count_is_refused_with_trust(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    own = press.make()
    stranger = Press.at(tmp_path / "elsewhere").make(1)
    for path in (own, stranger):
        (stick / path.name).write_bytes(path.read_bytes())
    view: TrustView = press.trust()

    def judge(path: Path) -> None:
        open_bundle(path, view, audience=None, kinds=frozenset(Kind)).close()

    found = taken(stick, tmp_path / "into", judge=judge, is_strict=True)
    assert landed(tmp_path / "into") == {own.stem}
    assert found[stranger.name].code == "unknown-key"
    found = taken(stick, tmp_path / "lenient", judge=judge)
    assert found[stranger.name].became is Became.LANDED  # its receiver judges


def test_parts_are_bounded_in_bytes_with_a_clear_refusal(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    for number in range(2):
        whole = press.make(number, chunks=4)
        split(whole, stick, 3000)[-1].path.unlink()
    into = tmp_path / "into"
    found = taken(stick, into, parts_bytes_max=5000)
    refused = [one for one in found.values() if one.became is Became.REFUSED]
    assert {one.code for one in refused} == {"parts-full"}
    assert "5000" in refused[0].text
    assert sum(path.stat().st_size for path in (into / "parts").iterdir()) <= 5000


def test_what_is_meant_for_somebody_else_is_left_where_it_is(
    press: Press, stick: Path, tmp_path: Path
) -> None:
    path = press.make(kind=Kind.WORK)
    (stick / "x").write_bytes(path.read_bytes())

    def meant(facts: Facts) -> str:
        return f"for another: {facts.kind}"

    (came,) = taken(stick, tmp_path / "into", meant=meant).values()
    assert (came.became, came.is_refused) == (Became.ELSEWHERE, False)
    assert not landed(tmp_path / "into")


def test_a_torn_copy_under_way_is_no_refusal(press: Press, stick: Path, tmp_path: Path) -> None:
    raw = press.make().read_bytes()
    (stick / ".x.0a0a.part").write_bytes(raw[:200])
    (came,) = taken(stick, tmp_path / "into").values()
    assert (came.became, came.is_refused) == (Became.UNFINISHED, False)


def test_a_medium_may_hold_the_folder_that_it_is_taken_into(press: Press, stick: Path) -> None:
    path = press.make()
    (stick / path.name).write_bytes(path.read_bytes())
    assert taken(stick, stick / "into")[path.name].became is Became.LANDED
    assert taken(stick, stick / "into")[path.name].became is Became.KNOWN


def test_a_medium_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(MediumFailed):
        taken(tmp_path / "unmounted", tmp_path / "into")
    assert not (tmp_path / "into").exists()
