"""Filling media and reading them back: nothing counts before it was read."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bundle.media import card as cards
from bundle.media import eject
from bundle.media.card import CARD, LABEL
from bundle.media.copy import clear_under_way
from bundle.media.errors import CustodyHeld, MediumFailed, NoCard
from bundle.media.fill import Filled, Filling, fill, forget
from bundle.media.goods import goods_in
from bundle.wire.manifest import Kind
from tests.media.made import Press


def filled(press: Press, medium: Path, size: int | None = None, part: int = 1 << 31) -> Filled:
    """Fill a medium as `pulk bundle export` does."""
    memory = press.goods / "pulk-carried"
    how = Filling(memory, "a test", once=True, size_bytes=size, part_bytes=part)
    return fill(goods_in(press.goods), medium, how)


def test_bundles_are_copied_labelled_and_read_back(press: Press, stick: Path) -> None:
    paths = [press.make(n, kind=Kind.WORK) for n in (3, 4, 7)]
    done = filled(press, stick)
    assert done.carried == {path.stem for path in paths}
    assert not done.left
    assert not done.bad
    for path in paths:
        assert (stick / path.name).read_bytes() == path.read_bytes()
    text = (stick / LABEL).read_bytes()
    assert text.decode("ascii").count("\r\n") == text.count(b"\n") > 10
    for word in ("a test", "3 work", "number 3-4, 7", "relay import"):
        assert word in text.decode()
    card = eject.read_card(stick)
    assert {row.name for row in card.rows} == {path.name for path in paths}
    assert cards.decode(cards.encode(card), where="") == card


def test_the_next_medium_goes_on_where_this_one_ended(press: Press, tmp_path: Path) -> None:
    paths = [press.make(n, chunks=4, chunk_bytes=30_000) for n in range(5)]
    sticks, carried = [], set()
    while len(carried) < len(paths):
        sticks.append(tmp_path / f"stick-{len(sticks)}")
        sticks[-1].mkdir()
        done = filled(press, sticks[-1], size=200_000, part=100_000)
        assert sum(path.stat().st_size for path in sticks[-1].iterdir()) <= 200_000
        carried |= done.carried
        assert len(sticks) < 10
    laid = [path.name for stick in sticks for path in stick.glob("*.pulk")]
    assert len(laid) == len(set(laid))
    text = (sticks[0] / LABEL).read_text()
    assert "Parts" in text
    assert "another medium must bring it" in text
    assert not filled(press, tmp_path / "stick-0").laid  # nothing is left to carry
    forget(press.goods / "pulk-carried")
    (tmp_path / "anew").mkdir()
    assert len(filled(press, tmp_path / "anew").carried) == len(paths)


def test_what_lies_on_the_medium_already_is_not_written_again(press: Press, stick: Path) -> None:
    path = press.make()
    filled(press, stick)
    before = (stick / path.name).stat().st_ino
    forget(press.goods / "pulk-carried")
    done = filled(press, stick)
    assert not done.laid
    assert done.carried == {path.stem}
    assert (stick / path.name).stat().st_ino == before
    (stick / path.name).write_bytes(b"damaged since")
    forget(press.goods / "pulk-carried")
    assert filled(press, stick).carried == {path.stem}
    assert (stick / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "link"])
def test_what_does_not_read_back_does_not_count(
    press: Press, stick: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    good, bad = press.make(0), press.make(1)
    real = eject.check

    def check(medium: Path, rows: list[cards.Row], progress: object) -> list[eject.Checked]:
        harm(medium / bad.name, damage)
        return real(medium, rows)

    monkeypatch.setattr("bundle.media.fill.check", check)
    done = filled(press, stick)
    assert done.carried == {good.stem}
    assert [one.row.name for one in done.bad] == [bad.name]
    monkeypatch.undo()
    (stick / bad.name).unlink(missing_ok=True)
    assert filled(press, stick).carried == {bad.stem}  # it is still to be carried


def harm(path: Path, damage: str) -> None:
    """Do one kind of damage to a file."""
    raw = path.read_bytes()
    match damage:
        case "flipped":
            path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        case "cut":
            path.write_bytes(raw[:-1])
        case "gone":
            path.unlink()
        case "link":
            path.rename(path.with_name("elsewhere"))
            path.symlink_to("elsewhere")


def test_a_medium_that_is_full_before_its_time_is_labelled_with_what_it_holds(
    press: Press, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundle.media import fill as filling

    paths = [press.make(n) for n in range(3)]
    real, count = filling.lay, [0]

    def lay(source: Path, target: Path, advance: object) -> bytes:
        count[0] += 1
        if count[0] > 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return real(source, target)

    monkeypatch.setattr(filling, "lay", lay)
    done = filled(press, stick)
    assert len(done.carried) == 1
    assert len(done.left) == len(paths) - 1
    assert len(eject.read_card(stick).rows) == 1
    monkeypatch.undo()
    assert len(filled(press, stick).carried) == len(paths) - 1


def test_any_other_failure_of_the_medium_is_named_and_counts_for_nothing(
    press: Press, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press.make()

    def lay(source: Path, target: Path, advance: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(target))

    monkeypatch.setattr("bundle.media.fill.lay", lay)
    with pytest.raises(MediumFailed) as failed:
        filled(press, stick)
    assert "Input/output error" in failed.value.text()
    assert failed.value.transient
    assert not (press.goods / "pulk-carried").exists()


def test_a_medium_that_is_not_there_is_not_made(press: Press, tmp_path: Path) -> None:
    with pytest.raises(MediumFailed):
        filled(press, tmp_path / "unmounted")
    assert not (tmp_path / "unmounted").exists()


def test_what_a_kill_left_under_way_is_removed_and_what_is_not_ours_stays(
    press: Press, stick: Path
) -> None:
    path = press.make()
    (stick / f".{path.name}.0a1b2c3d4e5f.part").write_bytes(b"torn")
    (stick / "film.part").write_bytes(b"not ours")
    assert clear_under_way(stick) == 1
    filled(press, stick)
    assert {one.name for one in stick.iterdir()} == {path.name, CARD, LABEL, "film.part"}


def test_eject_frees_what_is_whole_on_the_medium_and_nothing_else(
    press: Press, stick: Path
) -> None:
    whole, damaged, partly = press.make(0), press.make(1), press.make(2, chunks=8, chunk_bytes=9000)
    filled(press, stick, part=40_000)
    parts = sorted(stick.glob(f"{partly.stem}-p*.pulk"))
    assert len(parts) > 1
    harm(stick / damaged.name, "flipped")
    last, raw = parts[-1], parts[-1].read_bytes()
    last.unlink()
    checked = eject.check(stick, eject.read_card(stick).rows)
    assert {one.row.name for one in checked if one.problem} == {damaged.name, last.name}
    assert eject.free(stick, press.goods, checked) == [whole.stem]
    assert damaged.exists()
    assert partly.exists()
    last.write_bytes(raw)
    checked = eject.check(stick, eject.read_card(stick).rows)
    assert eject.free(stick, press.goods, checked) == [partly.stem]


def test_a_card_that_lies_frees_nothing(press: Press, stick: Path) -> None:
    kept, other = press.make(0), press.make(1)
    filled(press, stick)
    card = eject.read_card(stick)
    (row,) = [one for one in card.rows if one.facts.id == other.stem]
    facts = row.facts._replace(id=kept.stem)
    (stick / kept.name).unlink()
    (stick / CARD).write_bytes(cards.encode(card._replace(rows=(row._replace(facts=facts),))))
    checked = eject.check(stick, eject.read_card(stick).rows)
    assert not [one for one in checked if one.problem]
    assert eject.free(stick, press.goods, checked) == []
    assert kept.exists()


def test_a_card_names_files_of_its_own_folder_only(press: Press, stick: Path) -> None:
    press.make()
    filled(press, stick)
    card = eject.read_card(stick)
    for name in ("../goods/x", "/etc/passwd", ".hidden", ""):
        (stick / CARD).write_bytes(
            cards.encode(card._replace(rows=(card.rows[0]._replace(name=name),)))
        )
        with pytest.raises(NoCard):
            eject.read_card(stick)
    (stick / CARD).write_bytes(b"\x93 no card")
    with pytest.raises(NoCard):
        eject.read_card(stick)
    (stick / CARD).unlink()
    with pytest.raises(NoCard):
        eject.read_card(stick)


@pytest.mark.parametrize(("made", "below"), [(("streams", "claimed"), "out"), ((), "archive/ab")])
def test_a_programs_own_folder_is_freed_by_no_hand(
    press: Press, stick: Path, tmp_path: Path, made: tuple[str, ...], below: str
) -> None:
    path = press.make()
    filled(press, stick)
    home = tmp_path / "home"
    (home / below).mkdir(parents=True)
    for name in made:
        (home / name).mkdir()
    if not made:
        (home / "pulk.sqlite").touch()
    held = home / below / path.name
    path.rename(held)
    checked = eject.check(stick, eject.read_card(stick).rows)
    with pytest.raises(CustodyHeld):
        eject.free(stick, home / below, checked)
    assert held.exists()
